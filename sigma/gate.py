"""Who asks a web process, as far as memory tells, and how much an API key may ask of it in a minute
and a tenant at once: decided in front of the threads and the database, so that it holds while the
broker is away.

A key is whatever stands in the header, right or wrong; only its digest is kept.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote
from uuid import UUID

from django.conf import settings

from lib.requests import Headers, Scope
from lib.ttl import TtlCache
from messaging.media import ExpiredLink, InvalidLink, tenant_of_link
from workspaces.access import digest_api_key, key_in, last_seen_with
from workspaces.sessions import was_good

KEY_HEADERS = (b"authorization", b"x-api-key")
FILE, TOKEN = re.compile(r"/media/([0-9a-f-]{36})"), re.compile(rb"(?:^|&)token=([^&]{0,200})")
# Looked for in the receiver's loop, where a parser of cookies would let strangers spend its time.
SESSION = re.compile(
    rb"(?:^|;) *" + settings.SESSION_COOKIE_NAME.encode() + rb"=([a-z0-9]{32})(?:;|$)"
)
MINUTE = 60.0
# How long a key that is not used is remembered; a bucket is full again by then.
REMEMBERED_SECONDS, MOST_KEYS = 2 * MINUTE, 20_000
# Requests of a tenant that wait for their turn; beyond that they are refused.
MOST_WAITING = 64


@dataclass(slots=True)
class _Turns:
    """The places of a tenant, and how many requests hold one or wait for one."""

    places: asyncio.Semaphore
    here: int = 0


class Busy(Exception):
    """The key asks too much; ``seconds`` from now it may ask again."""

    def __init__(self, seconds: float) -> None:
        super().__init__("Too much at once with this API key.")
        self.seconds = max(1, round(seconds + 0.5))


class Asker(NamedTuple):
    """Who sends a request: the digest of the API key that it shows (empty: none), the tenant whose
    key was good a while ago or whose link to a file it shows, and whether it shows a session that
    was good lately.
    """

    key: bytes
    tenant_id: UUID | None
    has_session: bool

    @property
    def is_known(self) -> bool:
        """Whether this is no stranger."""
        return self.has_session or self.tenant_id is not None


def asker_of(scope: Scope, headers: Headers) -> Asker:
    """Return who sends a request, without asking the database: fit for sharing out, not for letting
    in.
    """
    clear = key_in(*(headers.get(name, b"").decode("latin-1") for name in KEY_HEADERS))
    key = digest_api_key(clear) if clear else b""
    session = SESSION.search(headers.get(b"cookie", b""))
    return Asker(
        key,
        last_seen_with(key) or _tenant_of_link(scope),
        session is not None and was_good(session[1].decode()),
    )


def _tenant_of_link(scope: Scope) -> UUID | None:
    file = FILE.fullmatch(scope["path"])
    tokens = TOKEN.findall(scope["query_string"]) if file else []
    if not file or not tokens:
        return None
    try:  # of several the last counts, as for Django
        return tenant_of_link(unquote(tokens[-1].decode("latin-1")), UUID(file[1]))
    except (ExpiredLink, InvalidLink, ValueError):
        return None


class Gate:
    """Lets requests through: ``rate`` a minute for each key; ``at_once`` side by side for each
    tenant, while ``most_waiting`` wait for their turn.
    """

    def __init__(self, *, rate: int, at_once: int, most_waiting: int = MOST_WAITING) -> None:
        self._gap, self._at_once, self._most_waiting = MINUTE / rate, at_once, most_waiting
        # When each key's bucket is full again.
        self._full_at: TtlCache[bytes, float] = TtlCache(seconds=REMEMBERED_SECONDS, size=MOST_KEYS)
        self._rows: dict[object, _Turns] = {}

    @asynccontextmanager
    async def admitted(self, asker: Asker) -> AsyncIterator[None]:
        """Wait for a place, and hold it; who shows neither a key nor a link needs none.

        Raises:
            Busy: too many were asked for in a minute, or wait.
        """
        if asker.key:
            self._charge(asker.key)
        # Whose key was never here, by the time its body is, is nobody's yet, and stands in a row of
        # their own.
        owner = asker.tenant_id or last_seen_with(asker.key) or asker.key
        if not owner:
            yield
            return
        row = self._rows.setdefault(owner, _Turns(asyncio.Semaphore(self._at_once)))
        if row.here >= self._at_once + self._most_waiting:
            raise Busy(1)
        row.here += 1
        try:
            async with row.places:
                yield
        finally:
            row.here -= 1
            if not row.here:
                self._rows.pop(owner, None)

    def _charge(self, digest: bytes) -> None:
        """Count a request: a minute's worth at once, then evenly (GCRA)."""
        now = time.monotonic()
        full_at = max(self._full_at.get(digest) or 0.0, now) + self._gap
        if full_at > now + MINUTE:
            raise Busy(full_at - now - MINUTE)
        self._full_at.put(digest, full_at)
