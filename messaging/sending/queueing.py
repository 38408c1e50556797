"""Queue messages: what passes every check becomes a row of ``messages`` and a sealed, pending send
in the caller's transaction.

Nothing here touches the network. The same key and the same request have their effect once, however
many come at a time: the row's unique key decides.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import transaction

from lib.envelope import Cipher, associated_data
from lib.ids import uuid7
from lib.sql import select
from messaging import conversations, sealed_values, transitions, uploads
from messaging.conversations import Touch
from messaging.delivery.queues import SENDS
from messaging.events import Source, is_typed
from messaging.sealed_values import SEALED_VALUES, Separator
from messaging.sending.checks import Draft, check, shaped
from messaging.sending.content import Body, envelope
from messaging.sending.parties import ContactCache, SenderNumber, find_sender
from messaging.sending.refusals import SendErrorCode, UnableToSend, together
from messaging.sending.requests import SendRequest
from messaging.states import State
from messaging.transitions import SEALED_REQUEST, NewSend
from workspaces import keys


class Queued(NamedTuple):
    """A message that was queued: now, or (``is_repeat``) when it was first asked for."""

    message_id: UUID
    status: str
    is_repeat: bool = False


Outcome = Queued | UnableToSend


class _Answered(NamedTuple):
    client_reference: str
    request_digest: bytes
    id: UUID
    status: str


class _Status(NamedTuple):
    status: str


FIND = """
SELECT client_reference, request_digest, id, status FROM messages
WHERE tenant_id = %s AND workspace_id = %s AND client_reference = ANY(%s)
"""
STATUS = "SELECT status FROM messages WHERE tenant_id = %s AND id = %s AND source = 'API'"


def queue(*, tenant_id: UUID, request: SendRequest, now: datetime) -> Queued:
    """Queue one message.

    Raises:
        UnableToSend: it was refused; nothing was stored.
    """
    (outcome,) = queue_many(
        tenant_id=tenant_id, workspace_id=request.workspace_id, requests=[request], now=now
    )
    if isinstance(outcome, UnableToSend):
        raise outcome
    return outcome


def queue_many(
    *, tenant_id: UUID, workspace_id: UUID, requests: Sequence[SendRequest], now: datetime
) -> list[Outcome]:
    """Queue messages of one workspace; return what became of each, in their order."""
    try:
        sender = find_sender(tenant_id=tenant_id, workspace_id=workspace_id)
    except UnableToSend as refusal:
        return [UnableToSend(refusal.code, refusal.field, refusal.message) for _ in requests]
    drafts = [shaped(request) for request in requests]
    outcomes = answered([draft for draft in drafts if not draft.reasons], sender)
    _queue_drafts([d for d in drafts if d not in outcomes], sender, outcomes, now)
    return [outcomes[draft] for draft in drafts]


def answered(drafts: Sequence[Draft], sender: SenderNumber) -> dict[Draft, Outcome]:
    """Return what was answered before to those well-formed drafts whose keys were used, as it
    stands now: the same again, or that the requests differ.
    """
    salt = keys.salt(sender.tenant_id)
    for draft in drafts:
        if key := draft.request.idempotency_key:
            draft.reference, draft.digest = reference_of(key, salt), digest_of(draft, salt)
    asked = [draft for draft in drafts if draft.reference is not None]
    references = list({draft.reference for draft in asked})
    parameters = [sender.tenant_id, sender.workspace.id, references]
    known = select(_Answered, FIND, parameters) if asked else []
    by_reference = {row.client_reference: row for row in known}
    return {
        draft: _answer(draft, row)
        for draft in asked
        if (row := by_reference.get(draft.reference or ""))
    }


def _answer(draft: Draft, known: _Answered) -> Outcome:
    if hmac.compare_digest(draft.digest or b"", bytes(known.request_digest)):
        return Queued(known.id, known.status, is_repeat=True)
    return UnableToSend(
        SendErrorCode.IDEMPOTENCY_CONFLICT,
        "idempotency_key",
        "This key was used for another request to this workspace; use a new one.",
    )


def digest_of(draft: Draft, salt: bytes) -> bytes:
    """Return what tells two requests apart: keyed, since it covers a phone number.

    Who writes a number or a time in another way asks for the same; ``force`` changes nothing in
    what is sent.
    """
    request = msgspec.structs.replace(
        draft.request, recipient=draft.asked, idempotency_key=None, force=False
    )
    kind = type(request.content).__name__
    canonical = msgspec.json.encode([kind, request], order="sorted")
    return hmac.digest(salt, b"request:" + canonical, "sha256")


def reference_of(key: str, salt: bytes) -> str:
    """Return what is kept of a key: callers may make theirs of a phone number."""
    return hmac.digest(salt, b"key:" + key.encode("utf-8", "replace"), "sha256").hex()


def _queue_drafts(
    drafts: Sequence[Draft], sender: SenderNumber, outcomes: dict[Draft, Outcome], now: datetime
) -> None:
    """Check drafts, store those without a reason against them, and say what became of each."""
    cache = ContactCache(sender.tenant_id)
    check(drafts, sender, cache, now=now)
    outcomes.update((draft, together(draft.reasons)) for draft in drafts if draft.reasons)
    fit = [draft for draft in drafts if not draft.reasons]
    if not fit:
        return
    cache.add([draft.recipient for draft in fit if draft.recipient])
    for draft in fit:
        draft.contact_id = cache.contact_of(draft.recipient)
    # In whole seconds, as Meta's are: the order of arrival decides between messages of one second.
    # With more, an answer that arrives within the same second would stand before what it answers.
    listed_at = now.replace(microsecond=0)
    message_ids = _insert(fit, sender, listed_at, now)
    outcomes.update((draft, Queued(key, State.QUEUED)) for draft, key in message_ids.items())
    # In the way of the others was a row that is there by now.
    if beaten := [draft for draft in fit if draft not in message_ids]:
        outcomes.update(answered(beaten, sender))
    _use_files(message_ids, sender.tenant_id)
    conversations.touch(
        Touch(sender.tenant_id, sender.workspace.id, draft.contact_id, key, listed_at, False)
        for draft, key in message_ids.items()
        if draft.contact_id
    )
    transaction.on_commit(SENDS.notify, robust=True)


def _use_files(drafts: Iterable[Draft], tenant_id: UUID) -> None:
    """Keep the files that messages name while those may be sent."""
    until: dict[datetime, set[UUID]] = {}
    for draft in drafts:
        if draft.files and draft.times:
            until.setdefault(draft.times.expires or draft.times.due, set()).update(draft.files)
    for moment, ids in until.items():
        uploads.use(tenant_id=tenant_id, upload_ids=ids, until=moment)


def _insert(
    drafts: Sequence[Draft], sender: SenderNumber, listed_at: datetime, now: datetime
) -> dict[Draft, UUID]:
    """Store messages; return the ids of those whose key nobody had taken.

    Whoever takes the same key at this moment is waited for.
    """
    ids = {draft: uuid7() for draft in drafts}  # in the caller's order, by which they are listed
    # Sorted, or two callers with the same keys could wait for one another.
    ordered = sorted(drafts, key=lambda draft: draft.request.idempotency_key or "")
    cipher = keys.field_cipher(sender.tenant_id)
    rows = [_row(draft, ids[draft], sender, cipher, listed_at, now) for draft in ordered]
    fresh = transitions.queue(rows)
    return {draft: message_id for draft, message_id in ids.items() if message_id in fresh}


def _row(
    draft: Draft,
    message_id: UUID,
    sender: SenderNumber,
    cipher: Cipher,
    listed_at: datetime,
    now: datetime,
) -> NewSend:
    request, times = draft.request, draft.times
    assert draft.recipient and times  # noqa: S101 - or there would be a reason against it
    body = draft.body()
    wire = envelope(body, draft.recipient, reference=str(message_id), quoted=draft.quoted)
    text, content, sealed = _kept(body, draft, message_id, sender, now)
    delivery = {"queued_at": now.isoformat()}
    if times.due > now:
        delivery["scheduled_at"] = times.due.isoformat()
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
        timestamp_utc=listed_at,
        delivery=msgspec.json.encode(delivery).decode(),
        client_reference=draft.reference,
        request_digest=draft.digest,
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
    kept = {**body.kept, "files": list(map(str, draft.files))} if draft.files else body.kept
    content = separator.separate(kept)
    text = body.text if is_typed(body.type, Source.API) else separator.separate(body.text)
    if not separator.taken:
        return text, sealed_values.encode(content), None
    day = now.astimezone(UTC).date()
    sealed = separator.seal(
        keys.day_cipher(sender.tenant_id, day),
        tenant_id=sender.tenant_id,
        place=SEALED_VALUES,
        row=message_id,
    )
    return text, sealed_values.encode(content), sealed


def cancel(*, tenant_id: UUID, message_id: UUID, now: datetime) -> Queued:
    """Take back a message that waits to be sent; taking it back again is a repeat.

    Raises:
        UnableToSend: there is no such message of ours, or somebody is sending it already.
    """
    if transitions.cancel(tenant_id=tenant_id, message_id=message_id, now=now):
        return Queued(message_id, State.CANCELLED)
    found = select(_Status, STATUS, [tenant_id, message_id])
    if not found:
        raise UnableToSend(
            SendErrorCode.MESSAGE_NOT_FOUND,
            "message_id",
            "Your tenant has sent no message with this id through this API.",
        )
    (status,) = found[0]
    if status != State.CANCELLED:
        raise UnableToSend(
            SendErrorCode.NOT_CANCELLABLE,
            "message_id",
            f"Only a queued message can be cancelled; this one is {status}.",
        )
    return Queued(message_id, status, is_repeat=True)
