"""The web process with Django behind its own ASGI handler instead of behind threads."""

from __future__ import annotations

from django.core.asgi import get_asgi_application

from sigma.asgi import Application

application = Application()
application._django = get_asgi_application()
