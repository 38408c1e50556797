"""The receiver's day ciphers: in memory for at most 30 s, renewed before that while in use."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

from lib.envelope import Cipher
from workspaces import keys
from workspaces.daykeys import Pair

logger = logging.getLogger("sigma.whatsapp.webhooks")

# What is in use is loaded anew this often, away from the commits.
RENEW_SECONDS = 10.0
# A tenant without a key is not asked about by every batch.
TROUBLE_SECONDS = 0.5

Loaded = tuple[dict[Pair, Cipher], dict[Pair, Exception]]
RunSync = Callable[[Callable[[], Loaded]], Awaitable[Loaded]]


class DayCiphers:
    """Ciphers by tenant and day; one tenant's trouble is not another's."""

    def __init__(self, *, run_sync: RunSync) -> None:
        self._run_sync = run_sync
        self._known: dict[Pair, tuple[float, Cipher]] = {}
        self._used: set[Pair] = set()
        self._renewed_at = time.monotonic()
        self._renewal: asyncio.Task[None] | None = None
        # Until when a pair counts as having none; the tenants whose trouble was logged.
        self._without: dict[Pair, float] = {}
        self._troubled: set[UUID] = set()

    async def of(self, wanted: set[Pair]) -> dict[Pair, Cipher]:
        """Return the ciphers of those who have one, making keys on first use."""
        now, known = time.monotonic(), self._known
        self._used |= wanted
        stale = [pair for pair in wanted if pair not in known or known[pair][0] < now]
        if stale and (missing := [p for p in stale if self._without.get(p, 0.0) < now]):
            await self._load(missing)
        elif now - self._renewed_at > RENEW_SECONDS and self._renewal is None:
            self._renewal = asyncio.create_task(self._renew())
        return {pair: known[pair][1] for pair in wanted if known.get(pair, (0.0,))[0] >= now}

    async def _renew(self) -> None:
        """Load what was used since the last time; forget what has expired."""
        now = self._renewed_at = time.monotonic()
        used, self._used = self._used & self._known.keys(), set()
        try:
            await self._load([pair for pair in used if self._known[pair][0] >= now])
        except Exception as error:  # the ciphers at hand are good for a while yet
            logger.warning("whatsapp keys not renewed", extra={"error": type(error).__name__})
        finally:
            self._renewal = None
        now = time.monotonic()
        for pair in [pair for pair, (until, _) in self._known.items() if until < now]:
            del self._known[pair]
        self._without = {pair: until for pair, until in self._without.items() if until >= now}

    async def _load(self, pairs: list[Pair]) -> None:
        now = time.monotonic()  # before the question: a key may be destroyed while it is answered
        ciphers, troubles = await self._run_sync(lambda: keys.day_ciphers(pairs))
        for pair, cipher in ciphers.items():
            self._known[pair] = (now + keys.CACHE_SECONDS, cipher)
            self._troubled.discard(pair[0])
        for pair, error in troubles.items():
            self._known.pop(pair, None)
            self._without[pair] = time.monotonic() + TROUBLE_SECONDS
            self._complain(pair[0], error)

    def _complain(self, tenant_id: UUID, error: Exception) -> None:
        """Log a tenant's trouble once until it is over."""
        if tenant_id in self._troubled:
            return
        self._troubled.add(tenant_id)
        logger.error(
            "whatsapp callbacks of one tenant cannot be sealed, answering 503",
            extra={"tenant": tenant_id, "error": type(error).__name__},
        )
