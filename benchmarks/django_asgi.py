"""The web process with Django behind its own ASGI handler instead of behind threads."""

from __future__ import annotations

from django.core.asgi import get_asgi_application

from lib.requests import Receive, Scope, Send
from sigma.asgi import ASGI, HEALTH, Application

DJANGO = get_asgi_application()


class DjangoByItself(Application):
    """Hand pages straight to Django's handler, which reads bodies and watches callers itself."""

    async def _serve(self, behind: ASGI, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == HEALTH:
            await super()._serve(behind, scope, receive, send)
        else:
            await DJANGO(scope, receive, send)


application = DjangoByItself()
