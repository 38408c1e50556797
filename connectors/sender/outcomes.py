"""What became of messages, and the wait for it: however many wait, one query asks about all.

Nothing is promised by waiting: the message goes its way whoever waits, and a caller whose time is
over learns how far it is by then.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from connectors.linked_device import logs
from connectors.sender.errors import ServiceError
from lib.masking import mask
from lib.numbering import international
from messaging.sealed_values import is_placeholder
from messaging.sending.refusals import PLATFORM_CODES
from messaging.states import State
from workspaces.models import HOSTED

logger = logging.getLogger("sigma.whatsapp.sender")

PENDING = frozenset({State.QUEUED, State.SENDING})
# Of whatever tenant: who waits was shown their message when it was queued. Most are still queued,
# which they were when the wait began.
FIND = """
SELECT m.tenant_id, m.id, m.status,
       CASE WHEN m.status = 'failed' THEN m.delivery::text ELSE '{}' END, w.transport
FROM unnest(%s::uuid[], %s::uuid[]) AS asked (tenant_id, id)
JOIN messages m ON m.tenant_id = asked.tenant_id AND m.id = asked.id
JOIN workspaces w ON w.tenant_id = m.tenant_id AND w.id = m.workspace_id
WHERE m.status <> 'queued'
"""
# A message that is asked about: its tenant and id.
Asked = tuple[UUID, UUID]
# Our codes for the platform's; whatever has none was REJECTED.
CODES: Mapping[object, str] = {
    **{number: code.value for code, number in PLATFORM_CODES.items()},
    131026: "NOT_ON_WHATSAPP",
    "EXPIRED": "EXPIRED",
}
MAY_BE_SENT = (
    "The message may or may not have been sent; it is not sent again by itself. Look at the phone, "
    "or ask for the message later, before you send it anew."
)
TAKEN_BACK = "The message was taken back before it was sent."
PAUSE_SECONDS = 0.1
# Who comes when so many wait is answered at once: their message is queued.
MOST_WAITING = 5_000


class DeliveryStatus(NamedTuple):
    """How far a message is; once that is final, what is known of its way and its transport."""

    status: str
    delivery: Mapping[str, Any] = MappingProxyType({})
    transport: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the sender has done its part, or has given up."""
        return self.status not in PENDING


def find(keys: Collection[Asked]) -> dict[Asked, DeliveryStatus]:
    """Return how far some messages are, but for those that are queued; blocks."""
    with connection.cursor() as cursor:
        cursor.execute(FIND, [[tenant_id for tenant_id, _ in keys], [one for _, one in keys]])
        return {
            (row[0], row[1]): DeliveryStatus(row[2], json.loads(row[3]), row[4]) for row in cursor
        }


def failure_of(status: DeliveryStatus, message_id: UUID) -> ServiceError | None:
    """Return what went wrong with a message, if anything did."""
    if status.status == State.UNKNOWN:
        return ServiceError(504, "OUTCOME_UNKNOWN", MAY_BE_SENT, message_id=message_id)
    if status.status == State.CANCELLED:
        return ServiceError(409, "CANCELLED", TAKEN_BACK, message_id=message_id)
    if status.status != State.FAILED:
        return None
    errors = status.delivery.get("errors") or [{}]
    first = errors[0] if isinstance(errors[0], Mapping) else {}
    code = first.get("code")
    words = [first[name] for name in ("title", "details") if first.get(name)]
    parts = [str(one).strip() for one in words if not is_placeholder(one)]
    message = mask(" ".join(dict.fromkeys(parts))) or "WhatsApp refused the message."
    shown = f"{message} (code {code})" if isinstance(code, int) else message
    return ServiceError(502, CODES.get(code, "REJECTED"), shown, message_id=message_id)


def log(status: DeliveryStatus, *, message_id: UUID, workspace_id: UUID, phone: str) -> None:
    """Log a final outcome, unless a session process did so where it sent the message."""
    if not status.is_final or status.transport in HOSTED:
        return
    ids = {"message_id": message_id, "workspace_id": workspace_id}
    number, failure = international(phone), failure_of(status, message_id)
    if failure is None:
        logs.sent(**ids, number=number, transport=status.transport)
    else:
        logs.failed(**ids, number=number, code=failure.code, message=failure.message)


class _Watched:
    """A message that somebody waits for, and the last that was seen of it."""

    __slots__ = ("callers", "is_over", "status")

    def __init__(self, status: DeliveryStatus) -> None:
        self.status, self.callers, self.is_over = status, 0, asyncio.Event()


class OutcomePoller:
    """The wait for outcomes in one process; ``find`` asks how far some messages are, every
    ``pause`` seconds (``None``: as often as callers want to know).
    """

    def __init__(
        self,
        find: Callable[[Collection[Asked]], Awaitable[Mapping[Asked, DeliveryStatus]]],
        *,
        pause: float | None = None,
    ) -> None:
        self._find, self._pause = find, pause
        self._watched: dict[Asked, _Watched] = {}
        self._callers, self._is_closed = 0, False
        self._polling: asyncio.Task[None] | None = None

    async def wait(self, key: Asked, known: DeliveryStatus, *, seconds: float) -> DeliveryStatus:
        """Return what became of a message, or how far it is after so many seconds."""
        if known.is_final or seconds <= 0 or self._is_closed or self._callers >= MOST_WAITING:
            return known
        watched = self._watched.setdefault(key, _Watched(known))
        watched.callers += 1
        self._callers += 1
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(watched.is_over.wait(), seconds)
        finally:
            self._callers -= 1
            watched.callers -= 1
            if not watched.callers:
                del self._watched[key]
        return watched.status

    def end(self) -> None:
        """End every wait, and begin no other: the server is about to stop."""
        self._is_closed = True
        for watched in self._watched.values():
            watched.is_over.set()

    async def _poll(self) -> None:
        is_away = False
        while self._watched:
            await asyncio.sleep(self._pause or PAUSE_SECONDS)
            try:
                self._publish(await self._find(tuple(self._watched)))
                is_away = False
            except Exception as error:  # whatever it was, the next round tries again
                if not is_away:
                    extra = {"error": type(error).__name__}
                    logger.warning("whatsapp sender cannot ask for outcomes", extra=extra)
                is_away = True
        self._polling = None

    def _publish(self, found: Mapping[Asked, DeliveryStatus]) -> None:
        for key in found.keys() & self._watched.keys():
            watched = self._watched[key]
            watched.status = found[key]
            if watched.status.is_final:
                watched.is_over.set()
