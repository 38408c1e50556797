"""The web process: the webhook receiver in front, Django's WSGI application behind it in threads.

Django's own ASGI handler runs synchronous views one at a time; in threads behind a2wsgi they run
side by side (``docs/adr/0004``). The receiver shares the process but neither its middleware nor
its threads.
"""

from __future__ import annotations

# First, because it sets Django up; what follows needs Django's apps.
from sigma.wsgi import application as django_application

# isort: split
import gc
import sys
from collections.abc import Awaitable, Callable

from a2wsgi import WSGIMiddleware
from django.conf import settings

from connectors.webhooks.app import Webhooks
from connectors.webhooks.receiver import PATH
from connectors.webhooks.requests import Receive, Scope, Send

# The receiver's loop waits at most this long for a thread that computes a page (Python's default is
# 5 ms). Measured by `make bench`: "callbacks p99, everybody reads".
SWITCH_SECONDS = 0.0005

ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]


class Application:
    """Dispatch by path, and tie the receiver's life to the server's."""

    def __init__(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        # What is loaded by now stays; collections are for what comes, and it leaves few cycles.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 1_000)
        self._webhooks = Webhooks()
        self._receiver = self._webhooks.receiver
        self._django: ASGI = WSGIMiddleware(  # type: ignore[assignment]
            django_application,  # type: ignore[arg-type]
            workers=settings.SIGMA_WEB_THREADS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path = scope["path"]
        if path.startswith(PATH) and path[len(PATH) : len(PATH) + 1] in ("", "/"):
            await self._receiver(scope, receive, send)
            return
        await self._django(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._webhooks.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._webhooks.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


application = Application()
