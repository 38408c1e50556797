"""The web process with Django behind its own ASGI handler instead of behind threads."""

from __future__ import annotations

from functools import partial

from django.core.asgi import get_asgi_application

from lib.requests import Deliver, Receive, Scope
from sigma.asgi import Application
from sigma.threads import HEALTH

DJANGO = get_asgi_application()


class DjangoByItself(Application):
    """Hand pages straight to Django's handler, which reads bodies and watches callers itself."""

    async def _work(self, scope: Scope, receive: Receive) -> Deliver:
        if scope["path"] == HEALTH:
            return await super()._work(scope, receive)
        return partial(DJANGO, scope, receive)


application = DjangoByItself()
