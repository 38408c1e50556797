"""What would become of a request: every reason against it, and what else is good to know.

Nothing is written: no message, no contact, no key is used up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from lib.numbering import may_be_in_united_states
from messaging import conversations, numbers, portfolios
from messaging.delivery import pauses
from messaging.models import SendingPause
from messaging.sending.checks import Draft, check, shaped
from messaging.sending.parties import ContactCache, SenderNumber, find_sender
from messaging.sending.queueing import Queued, answered
from messaging.sending.refusals import UnableToSend
from messaging.sending.requests import SendRequest, TemplateContent
from templates_wa.models import Template
from templates_wa.rendering import Preview
from workspaces import token_checks

# The share of the messaging limit from which on a warning is worth it.
NEARLY = 0.8


class Would(StrEnum):
    """What a request would come to."""

    QUEUE = "QUEUE"
    REPEAT = "REPEAT"
    REFUSE = "REFUSE"


class WarningCode(StrEnum):
    """What may keep a queued message from arriving, or arriving soon."""

    SENDING_PAUSED = "SENDING_PAUSED"
    NUMBER_CANNOT_SEND = "NUMBER_CANNOT_SEND"
    QUALITY_RED = "QUALITY_RED"
    LIMIT_NEARLY_REACHED = "LIMIT_NEARLY_REACHED"
    LIMIT_REACHED = "LIMIT_REACHED"
    MARKETING_TO_UNITED_STATES = "MARKETING_TO_UNITED_STATES"
    TEMPLATE_STALE = "TEMPLATE_STALE"
    TOKEN_INVALID = "TOKEN_INVALID"  # noqa: S105
    TOKEN_EXPIRES = "TOKEN_EXPIRES"  # noqa: S105


DESCRIPTIONS: Mapping[WarningCode, str] = MappingProxyType(
    {
        WarningCode.SENDING_PAUSED: "Sending is paused; the message would wait.",
        WarningCode.NUMBER_CANNOT_SEND: "The platform says that the number may not send now.",
        WarningCode.QUALITY_RED: "The number's quality is low; its limit may be lowered.",
        WarningCode.LIMIT_NEARLY_REACHED: "Most of the messaging limit of 24 hours is used.",
        WarningCode.LIMIT_REACHED: "The messaging limit is reached; the message would wait.",
        WarningCode.MARKETING_TO_UNITED_STATES: "Meta delivers no marketing to the United States.",
        WarningCode.TEMPLATE_STALE: "Meta refused this template lately.",
        WarningCode.TOKEN_INVALID: "The platform does not accept the access token.",
        WarningCode.TOKEN_EXPIRES: "The access token expires within a week.",
    }
)


@dataclass(frozen=True, slots=True)
class Warned:
    """Something to know; ``platform_code`` is what Meta would say to it."""

    code: WarningCode
    message: str
    platform_code: int | None = None


@dataclass(frozen=True, slots=True)
class Preflight:
    """What would happen. ``earliest_at`` is when it could be sent at best."""

    would: Would
    problems: tuple[UnableToSend, ...] = ()
    warnings: tuple[Warned, ...] = ()
    message_id: UUID | None = None
    window_open_until: datetime | None = None
    template: Template | None = None
    preview: Preview | None = None
    sender: SenderNumber | None = field(default=None, repr=False)
    earliest_at: datetime | None = None


def preflight(*, tenant_id: UUID, request: SendRequest, now: datetime) -> Preflight:
    """Return what would become of a request, were it made now."""
    draft = shaped(request)
    try:
        sender = find_sender(tenant_id=tenant_id, workspace_id=request.workspace_id)
    except UnableToSend as refusal:
        return refused(refusal, *draft.reasons)
    answer = None if draft.reasons else answered([draft], sender).get(draft)
    check([draft], sender, ContactCache(tenant_id), now=now)
    found = _described(draft, sender, now)
    if isinstance(answer, Queued):
        return replace(found, would=Would.REPEAT, message_id=answer.message_id, problems=())
    problems = (*draft.reasons, *([answer] if answer else []))
    return replace(found, would=Would.REFUSE if problems else Would.QUEUE, problems=problems)


def refused(*problems: UnableToSend) -> Preflight:
    """Return the answer to a request that nothing can be said about."""
    return Preflight(Would.REFUSE, problems)


def _described(draft: Draft, sender: SenderNumber, now: datetime) -> Preflight:
    content, template, ends = draft.request.content, draft.template, draft.window_ends
    open_pauses = list(
        pauses.open_pauses(tenant_id=sender.tenant_id, workspace_id=sender.workspace.id, now=now)
    )
    return Preflight(
        Would.QUEUE,
        warnings=(*_of_sender(sender, open_pauses, now), *_of_draft(draft, sender, now)),
        window_open_until=conversations.still_open(ends, now=now),
        template=template.row if template else None,
        preview=template.preview(content)
        if template and isinstance(content, TemplateContent)
        else None,
        sender=sender,
        earliest_at=_earliest(draft, open_pauses),
    )


def _earliest(draft: Draft, open_pauses: list[SendingPause]) -> datetime | None:
    """Return when it could be sent at best; ``None``: nobody knows, or never."""
    if draft.reasons or draft.times is None or any(pause.until is None for pause in open_pauses):
        return None
    ends = [pause.until for pause in open_pauses if pause.until]
    return max([draft.times.due, *ends, *([draft.room_at] if draft.room_at else [])])


def _of_sender(
    sender: SenderNumber, open_pauses: Sequence[SendingPause], now: datetime
) -> Iterator[Warned]:
    """Yield the warnings about the workspace and its pauses."""
    for pause in open_pauses:
        until = f"until {pause.until:%Y-%m-%d %H:%M} UTC" if pause.until else "until it is lifted"
        reason = f"Sending is paused {until}: {pause.reason}"
        yield Warned(WarningCode.SENDING_PAUSED, reason, pause.code or None)
    number = sender.number
    if number is not None and not numbers.is_sendable(number):
        words = ", ".join(word for word in (number.status, number.can_send) if word)
        yield Warned(WarningCode.NUMBER_CANNOT_SEND, f"The platform says of the number: {words}.")
    if number is not None and number.quality_rating == "RED":
        yield Warned(
            WarningCode.QUALITY_RED, "The number's quality is RED: its limit may be lowered."
        )
    yield from _of_token(sender.tenant_id, now)


def _of_token(tenant_id: UUID, now: datetime) -> Iterator[Warned]:
    # What was said about older tokens is nothing to go by: channels use the newest.
    token = token_checks.latest(tenant_id)
    if token is None:
        return
    if not token.is_valid:
        yield Warned(
            WarningCode.TOKEN_INVALID, "The platform does not accept the access token.", 190
        )
    elif token.expires_at is not None and token.expires_at <= now + token_checks.WARN_BEFORE:
        yield Warned(
            WarningCode.TOKEN_EXPIRES,
            f"The access token expires at {token.expires_at:%Y-%m-%d %H:%M} UTC.",
        )


def _of_draft(draft: Draft, sender: SenderNumber, now: datetime) -> Iterator[Warned]:
    """Yield the warnings about a template to this person."""
    template, recipient = draft.template, draft.recipient
    if template is None:
        return
    phone = recipient.phone if recipient else None
    if template.is_marketing and phone and may_be_in_united_states(phone):
        yield Warned(
            WarningCode.MARKETING_TO_UNITED_STATES,
            "Meta delivers no marketing templates to numbers of the United States.",
            131049,
        )
    if template.row is not None and template.row.stale_at is not None:
        yield Warned(
            WarningCode.TEMPLATE_STALE,
            "Meta refused this template lately; what is known of it here may be out of date.",
        )
    if not draft.is_open:
        yield from _of_limit(draft, sender, now)


def _of_limit(draft: Draft, sender: SenderNumber, now: datetime) -> Iterator[Warned]:
    number, limit = sender.number, numbers.limit_of(sender.number)
    if draft.room_at is not None:
        yield Warned(
            WarningCode.LIMIT_REACHED,
            "The messaging limit is reached; the message would wait until "
            f"{draft.room_at:%Y-%m-%d %H:%M} UTC at least.",
        )
    elif number is not None and limit is not None:
        used = portfolios.used(tenant_id=sender.tenant_id, portfolio=number.portfolio_id, now=now)
        if used >= NEARLY * limit:
            yield Warned(
                WarningCode.LIMIT_NEARLY_REACHED,
                f"{used} of {limit} people were written to first in the last 24 hours.",
            )
