"""The web process with everything but the store: what the receiver itself costs."""

from __future__ import annotations

# First, because it sets Django up; what follows needs Django's apps.
from sigma.asgi import Application

# isort: split
from connectors.whatsapp.inbox import VerifiedCallback


class NothingStored:
    """An inbox that says "stored" at once and does nothing."""

    async def store(self, received: VerifiedCallback) -> None:
        """Return."""

    async def close(self) -> None:
        """Return."""


application = Application()
application._receiver._inbox = NothingStored()  # type: ignore[assignment]
