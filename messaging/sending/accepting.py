"""Accept messages: what passes every check becomes a pending row, in the caller's transaction.

Nothing here touches the network. The same key and the same request have their effect once, however
many come at a time: the row's unique key decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from messaging import conversations, transitions
from messaging.conversations import Touch
from messaging.delivery.queues import SENDS
from messaging.sending import rows, sender_numbers
from messaging.sending.answers import Answers, Queued
from messaging.sending.checks import check
from messaging.sending.drafts import Draft, shaped
from messaging.sending.recipients import ContactCache
from messaging.sending.refusals import SendErrorCode, UnableToSend, together
from messaging.sending.requests import Recipient, SendRequest
from messaging.sending.sender_numbers import SenderNumber
from messaging.states import State

__all__ = ["Queued", "cancel", "queue", "queue_many"]

Outcome = Queued | UnableToSend


def queue(*, tenant_id: UUID, request: SendRequest, now: datetime) -> Queued:
    """Accept one message.

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
    """Accept messages of one workspace; return what became of each, in their order."""
    try:
        sender = sender_numbers.find(tenant_id=tenant_id, workspace_id=workspace_id)
    except UnableToSend as refusal:
        return [UnableToSend(refusal.code, refusal.field, refusal.message) for _ in requests]
    drafts = [shaped(request) for request in requests]
    answers = Answers(tenant_id=tenant_id, workspace_id=workspace_id)
    well_formed = [draft for draft in drafts if not draft.reasons]
    answers.load(well_formed)
    outcomes: dict[Draft, Outcome] = {
        draft: answer for draft in well_formed if (answer := answers.answer(draft)) is not None
    }
    _accept([d for d in drafts if d not in outcomes], sender, answers, outcomes, now)
    return [outcomes[draft] for draft in drafts]


def cancel(*, tenant_id: UUID, message_id: UUID, now: datetime) -> Queued:
    """Take back a message that waits to be sent; taking it back again is a repeat.

    Raises:
        UnableToSend: there is no such message of ours, or somebody is sending it already.
    """
    if transitions.cancel(tenant_id=tenant_id, message_id=message_id, now=now):
        return Queued(message_id, State.CANCELLED)
    status = rows.status_of(tenant_id=tenant_id, message_id=message_id)
    if status is None:
        raise UnableToSend(
            SendErrorCode.MESSAGE_NOT_FOUND, "message_id",
            "Your tenant has sent no message with this id through this API.",
        )  # fmt: skip
    if status != State.CANCELLED:
        raise UnableToSend(
            SendErrorCode.NOT_CANCELLABLE, "message_id",
            f"Only a queued message can be cancelled; this one is {status}.",
        )  # fmt: skip
    return Queued(message_id, status, is_repeat=True)


def _accept(
    drafts: Sequence[Draft],
    sender: SenderNumber,
    answers: Answers,
    outcomes: dict[Draft, Outcome],
    now: datetime,
) -> None:
    """Check drafts, store those without a reason against them, and say what became of each."""
    cache = ContactCache(sender.tenant_id)
    check(drafts, sender, cache, now=now)
    outcomes.update((draft, together(draft.reasons)) for draft in drafts if draft.reasons)
    accepted = [draft for draft in drafts if not draft.reasons]
    if not accepted:
        return
    cache.add(_recipients(accepted))
    for draft in accepted:
        draft.contact_id = cache.contact_of(draft.recipient)
    message_ids = rows.insert(accepted, sender=sender, answers=answers, now=now)
    outcomes.update((draft, Queued(key, State.QUEUED)) for draft, key in message_ids.items())
    beaten = [draft for draft in accepted if draft not in message_ids]
    answers.load(beaten)
    for draft in beaten:
        answer = answers.answer(draft)
        assert answer is not None  # noqa: S101 - somebody's row was in the way
        outcomes[draft] = answer
    conversations.touch(_touches(message_ids, sender, now))
    transaction.on_commit(SENDS.notify, robust=True)


def _recipients(drafts: Sequence[Draft]) -> list[Recipient]:
    return [draft.recipient for draft in drafts if draft.recipient]


def _touches(message_ids: dict[Draft, UUID], sender: SenderNumber, now: datetime) -> list[Touch]:
    at = rows.listed_at(now)
    return [
        Touch(sender.tenant_id, sender.workspace.id, draft.contact_id, message_id, at, False)
        for draft, message_id in message_ids.items()
        if draft.contact_id
    ]
