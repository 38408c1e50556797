"""The rows of accepted messages: what is owed, sealed, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from django.db import connection
from msgspec import json

from lib import bulk
from lib.envelope import Cipher, associated_data
from lib.ids import uuid7
from messaging import notices, sealed_values
from messaging.events import Direction, Source, is_typed
from messaging.notices import Change
from messaging.sealed_values import SEALED_VALUES, Separator
from messaging.sending.answers import Answers
from messaging.sending.content import Body, envelope
from messaging.sending.drafts import Draft
from messaging.sending.places import Place
from workspaces import keys

QUEUED, CANCELLED = "queued", "cancelled"
SEALED_REQUEST = "messages.sealed_request"

COLUMNS = (
    "id uuid", "tenant_id uuid", "workspace_id uuid", "contact_id uuid", "direction text",
    "source text", "type text", "text text", "content jsonb", "reply_to text",
    "timestamp_utc timestamptz", "status text", "delivery jsonb", "client_reference text",
    "request_digest bytea", "sealed_request bytea", "sealed_values bytea", "template_id uuid",
    "broadcast_id uuid",
    "next_attempt_at timestamptz", "expires_at timestamptz",
)  # fmt: skip
NAMES = ", ".join(column.split(" ", 1)[0] for column in COLUMNS)
INSERT = f"""
INSERT INTO messages ({NAMES}) SELECT {NAMES} FROM {{rows}}
ON CONFLICT (workspace_id, client_reference) WHERE client_reference IS NOT NULL DO NOTHING
RETURNING id
"""  # noqa: S608 - names of ours

# Whoever is sending it has changed the status already: then this finds nothing.
CANCEL = """
UPDATE messages SET status = %s, next_attempt_at = NULL, sealed_request = NULL,
       delivery = delivery || jsonb_build_object('cancelled_at', %s::text)
WHERE tenant_id = %s AND id = %s AND source = 'API' AND status = %s RETURNING workspace_id
"""
STATUS = "SELECT status FROM messages WHERE tenant_id = %s AND id = %s AND source = 'API'"


def listed_at(now: datetime) -> datetime:
    """Return the time of a message that is accepted ``now``: in whole seconds, as Meta's are.

    The order of arrival decides between messages of one second. With more than seconds, an answer
    that arrives within the same second would stand before what it answers.
    """
    return now.replace(microsecond=0)


def insert(
    drafts: Sequence[Draft], *, place: Place, answers: Answers, now: datetime
) -> dict[Draft, UUID]:
    """Store messages; return the ids of those whose key nobody had taken.

    Whoever takes the same key at this moment is waited for.
    """
    ids = {draft: uuid7() for draft in drafts}  # in the caller's order, by which they are listed
    # Sorted, or two callers with the same keys could wait for one another.
    ordered = sorted(drafts, key=lambda draft: draft.request.idempotency_key or "")
    cipher = keys.field_cipher(place.tenant_id)
    values = [_values(draft, ids[draft], place, cipher, answers, now) for draft in ordered]
    fresh = {row[0] for row in bulk.run(INSERT, COLUMNS, values)}
    return {draft: message_id for draft, message_id in ids.items() if message_id in fresh}


def _values(
    draft: Draft, message_id: UUID, place: Place, cipher: Cipher, answers: Answers, now: datetime
) -> tuple[object, ...]:
    request, times = draft.request, draft.times
    assert draft.recipient and times  # noqa: S101 - or there would be a reason against it
    body = draft.body()
    wire = envelope(body, draft.recipient, reference=str(message_id), quoted=draft.quoted)
    place_of_it = associated_data(place.tenant_id, SEALED_REQUEST, message_id)
    text, content, sealed = _kept(body, draft, message_id, place, now)
    # A forced template is not looked at again: the platform decides.
    template = draft.template.row if draft.template and not request.force else None
    return (
        message_id, place.tenant_id, place.workspace.id, draft.contact_id,
        Direction.OUTBOUND.value, Source.API.value, body.type, text, content,
        draft.target and draft.target.platform_message_id,
        listed_at(now), QUEUED, json.encode(_delivery(draft, now)).decode(),
        answers.reference(draft), answers.digest(draft), cipher.seal(wire, place_of_it),
        sealed, template and template.id, request.broadcast_id, times.due, times.expires,
    )  # fmt: skip


def _kept(
    body: Body, draft: Draft, message_id: UUID, place: Place, now: datetime
) -> tuple[str | None, str, bytes | None]:
    """Return text, content and sealed values of a message; what the business wrote stays as it is.

    Values that give a number away are sealed under the key of the day, as of received messages.
    """
    separator = Separator([draft.recipient.phone if draft.recipient else None])
    content = separator.separate(body.kept)
    text = body.text if is_typed(body.type, Source.API) else separator.separate(body.text)
    if not separator.taken:
        return text, sealed_values.encode(content), None
    day = now.astimezone(UTC).date()
    sealed = separator.seal(
        keys.day_cipher(place.tenant_id, day),
        tenant_id=place.tenant_id, place=SEALED_VALUES, row=message_id,
    )  # fmt: skip
    return text, sealed_values.encode(content), sealed


def _delivery(draft: Draft, now: datetime) -> dict[str, str]:
    delivery = {"queued_at": now.isoformat()}
    if draft.times is not None and draft.times.due > now:
        delivery["scheduled_at"] = draft.times.due.isoformat()
    return delivery


def cancel(*, tenant_id: UUID, message_id: UUID, now: datetime) -> bool:
    """Cancel a message if it is still queued, and tell who subscribed; return whether it was."""
    with connection.cursor() as cursor:
        at = now.isoformat()
        cursor.execute(CANCEL, [CANCELLED, at, tenant_id, message_id, QUEUED])
        row = cursor.fetchone()
    if row is None:
        return False
    notices.changed([Change(message_id, tenant_id, row[0], CANCELLED)], now=now)
    return True


def status_of(*, tenant_id: UUID, message_id: UUID) -> str | None:
    """Return how far a message that was sent through this API got; ``None``: there is none."""
    with connection.cursor() as cursor:
        cursor.execute(STATUS, [tenant_id, message_id])
        row = cursor.fetchone()
    return None if row is None else str(row[0])
