"""The plain project as a WSGI application, and behind a2wsgi as an ASGI one."""

from __future__ import annotations

import os

from a2wsgi import WSGIMiddleware
from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.plain.settings"
# Before the first task is sent: shared_task uses the application made last.
from benchmarks.plain.queue import app

application = get_wsgi_application()
asgi = WSGIMiddleware(application, workers=8)

__all__ = ["app", "application", "asgi"]
