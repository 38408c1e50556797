"""The rows of accepted messages: what is to be sent, sealed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from django.db import connection
from msgspec import json

from lib.envelope import Cipher, associated_data
from lib.ids import uuid7
from messaging import sealed_values, transitions
from messaging.events import Source, is_typed
from messaging.sealed_values import SEALED_VALUES, Separator
from messaging.sending.answers import Answers
from messaging.sending.content import Body, envelope
from messaging.sending.drafts import Draft
from messaging.sending.sender_numbers import SenderNumber
from messaging.transitions import SEALED_REQUEST, NewSend
from workspaces import keys

STATUS = "SELECT status FROM messages WHERE tenant_id = %s AND id = %s AND source = 'API'"


def listed_at(now: datetime) -> datetime:
    """Return the time of a message that is accepted ``now``: in whole seconds, as Meta's are.

    The order of arrival decides between messages of one second. With more than seconds, an answer
    that arrives within the same second would stand before what it answers.
    """
    return now.replace(microsecond=0)


def insert(
    drafts: Sequence[Draft], *, sender: SenderNumber, answers: Answers, now: datetime
) -> dict[Draft, UUID]:
    """Store messages; return the ids of those whose key nobody had taken.

    Whoever takes the same key at this moment is waited for.
    """
    ids = {draft: uuid7() for draft in drafts}  # in the caller's order, by which they are listed
    # Sorted, or two callers with the same keys could wait for one another.
    ordered = sorted(drafts, key=lambda draft: draft.request.idempotency_key or "")
    cipher = keys.field_cipher(sender.tenant_id)
    values = [_values(draft, ids[draft], sender, cipher, answers, now) for draft in ordered]
    fresh = transitions.queue(values)
    return {draft: message_id for draft, message_id in ids.items() if message_id in fresh}


def _values(
    draft: Draft,
    message_id: UUID,
    sender: SenderNumber,
    cipher: Cipher,
    answers: Answers,
    now: datetime,
) -> NewSend:
    request, times = draft.request, draft.times
    assert draft.recipient and times  # noqa: S101 - or there would be a reason against it
    body = draft.body()
    wire = envelope(body, draft.recipient, reference=str(message_id), quoted=draft.quoted)
    text, content, sealed = _kept(body, draft, message_id, sender, now)
    # A forced template is not looked at again: the platform decides.
    template = draft.template.row if draft.template and not request.force else None
    return NewSend(
        id=message_id,
        tenant_id=sender.tenant_id,
        workspace_id=sender.workspace.id,
        contact_id=draft.contact_id,
        type=body.type,
        text=text,
        content=content,
        reply_to=draft.target and draft.target.platform_message_id,
        timestamp_utc=listed_at(now),
        delivery=json.encode(_delivery(draft, now)).decode(),
        client_reference=answers.reference(draft),
        request_digest=answers.digest(draft),
        sealed_values=sealed,
        template_id=None if template is None else template.id,
        broadcast_id=request.broadcast_id,
        due_at=times.due,
        expires_at=times.expires,
        sealed_request=cipher.seal(
            wire, associated_data(sender.tenant_id, SEALED_REQUEST, message_id)
        ),
    )


def _kept(
    body: Body, draft: Draft, message_id: UUID, sender: SenderNumber, now: datetime
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
        keys.day_cipher(sender.tenant_id, day),
        tenant_id=sender.tenant_id, place=SEALED_VALUES, row=message_id,
    )  # fmt: skip
    return text, sealed_values.encode(content), sealed


def _delivery(draft: Draft, now: datetime) -> dict[str, str]:
    delivery = {"queued_at": now.isoformat()}
    if draft.times is not None and draft.times.due > now:
        delivery["scheduled_at"] = draft.times.due.isoformat()
    return delivery


def status_of(*, tenant_id: UUID, message_id: UUID) -> str | None:
    """Return how far a message that was sent through this API got; ``None``: there is none."""
    with connection.cursor() as cursor:
        cursor.execute(STATUS, [tenant_id, message_id])
        row = cursor.fetchone()
    return None if row is None else str(row[0])
