"""Messages as the sender service handles them: accepted like everywhere else, and looked up."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection
from redis.exceptions import RedisError

from connectors.sender import quota
from connectors.sender.asking import Wanted
from connectors.sender.callers import Caller
from connectors.sender.outcomes import Seen, failure_of
from connectors.sender.refusals import Refused, of_sending, unavailable
from messaging import queries
from messaging.events import Source
from messaging.sending import accepting
from messaging.sending.refusals import UnableToSend
from messaging.sending.requests import Recipient, SendRequest, TextContent
from workspaces.scope import tenant_scope

# Of whatever tenant: who waits was shown his message when it was accepted. Most are still queued,
# which they were when the wait began.
HOW_FAR = """
SELECT m.id, m.status, CASE WHEN m.status = 'failed' THEN m.delivery::text ELSE '{}' END,
       w.transport
FROM messages m JOIN workspaces w ON w.id = m.workspace_id
WHERE m.id = ANY(%s) AND m.status <> 'queued'
"""
# What a message went through, in its ``delivery``; when it is due is no such thing.
STEPS = ("queued", "accepted", "held", "sent", "delivered", "read", "played")
TIMES = [f"{step}_at" for step in (*STEPS, "failed", "unknown", "cancelled")]


class Accepted(NamedTuple):
    """A message that was accepted, now or (``is_repeat``) before, and how far it is."""

    message_id: UUID
    seen: Seen
    is_repeat: bool


def accept(
    caller: Caller, wanted: Wanted, *, idempotency_key: str | None, now: datetime
) -> Accepted:
    """Accept a message for the caller's workspace, within his rate; blocks.

    Raises:
        Refused: too fast, or there is a reason against it; nothing was stored.
    """
    _charge(caller)
    request = SendRequest(
        workspace_id=caller.workspace_id, recipient=Recipient(phone=wanted.phone),
        content=TextContent(wanted.message), idempotency_key=idempotency_key,
    )  # fmt: skip
    try:
        with tenant_scope(caller.tenant_id, timeout_ms=settings.SIGMA_GRAPHQL_TIMEOUT_MS):
            queued = accepting.queue(tenant_id=caller.tenant_id, request=request, now=now)
    except UnableToSend as error:
        raise of_sending(error) from None
    seen = Seen(queued.status)
    if queued.is_repeat and seen.is_settled:
        seen = how_far([queued.message_id]).get(queued.message_id, seen)
    return Accepted(queued.message_id, seen, queued.is_repeat)


def how_far(message_ids: Collection[UUID]) -> dict[UUID, Seen]:
    """Return how far some messages are, but for those that are queued; blocks."""
    with connection.cursor() as cursor:
        cursor.execute(HOW_FAR, [list(message_ids)])
        return {row[0]: Seen(row[1], json.loads(row[2]), row[3]) for row in cursor.fetchall()}


def describe(caller: Caller, message_id: UUID) -> dict[str, object]:
    """Return what is known of a message that was sent from the caller's workspace; blocks.

    Raises:
        Refused: there is none.
    """
    with tenant_scope(caller.tenant_id, timeout_ms=settings.SIGMA_GRAPHQL_TIMEOUT_MS):
        row = queries.find(tenant_id=caller.tenant_id, message_id=message_id)
    if row is None or row.workspace_id != caller.workspace_id or row.source != Source.API:
        raise not_found()
    delivery: dict[str, Any] = json.loads(row.delivery)
    failure = failure_of(Seen(row.status or "", delivery), row.id)
    times = [delivery[name] for name in TIMES if name in delivery]
    return {
        "success": True, "message_id": str(row.id), "status": row.status,
        "queued_at": delivery.get("queued_at") or row.timestamp_utc.isoformat(),
        "updated_at": max(times, key=datetime.fromisoformat, default=None),
        "error": failure and failure.body()["error"],
    }  # fmt: skip


def not_found() -> Refused:
    """Return the refusal of a message that is not there, or not the caller's."""
    return Refused(404, "MESSAGE_NOT_FOUND", "This workspace sent no message with this id.")


def _charge(caller: Caller) -> None:
    try:
        wait = quota.take(caller.bucket, rate=settings.SIGMA_SENDER_RATE)
    except RedisError:
        raise unavailable("The broker cannot be reached; nothing was sent. Try again.") from None
    if wait:
        seconds = int(wait) + 1
        raise Refused(
            429, "RATE_LIMITED",
            f"This key may send {settings.SIGMA_SENDER_RATE} messages a minute; try again in "
            f"{seconds} s.",
            retryable=True, headers=(("retry-after", str(seconds)),),
        )  # fmt: skip
