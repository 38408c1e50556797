"""The web process with everything but the store: what the receiver itself costs."""

from __future__ import annotations

from connectors.webhooks.inbox import Received
from sigma.asgi import Application


class NothingStored:
    """An inbox that says "stored" at once and does nothing."""

    async def store(self, received: Received) -> None:
        """Return."""

    async def close(self) -> None:
        """Return."""


application = Application()
application._receiver._inbox = NothingStored()  # type: ignore[assignment]
