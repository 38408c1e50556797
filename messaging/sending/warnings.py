"""What may keep an accepted message from arriving, or arriving soon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from lib.numbering import may_be_in_united_states
from messaging import numbers
from messaging.models import SendingPause
from messaging.sending import portfolio
from messaging.sending.drafts import Draft
from messaging.sending.places import Place
from workspaces import token_checks

# The share of the messaging limit from which on a warning is worth it.
NEARLY = 0.8


class WarningCode(StrEnum):
    """What may keep an accepted message from arriving, or arriving soon."""

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


def of_place(place: Place, held: Sequence[SendingPause], now: datetime) -> Iterator[Warned]:
    """Yield what is to be said of the workspace; ``held`` are its open pauses."""
    for pause in held:
        until = f"until {pause.until:%Y-%m-%d %H:%M} UTC" if pause.until else "until it is lifted"
        yield Warned(
            WarningCode.SENDING_PAUSED, f"Sending is paused {until}: {pause.reason}",
            pause.code or None,
        )  # fmt: skip
    number = place.number
    if number is not None and not numbers.is_sendable(number):
        words = ", ".join(word for word in (number.status, number.can_send) if word)
        yield Warned(WarningCode.NUMBER_CANNOT_SEND, f"The platform says of the number: {words}.")
    if number is not None and number.quality_rating == "RED":
        yield Warned(
            WarningCode.QUALITY_RED, "The number's quality is RED: its limit may be lowered."
        )
    yield from _of_token(place.tenant_id, now)


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


def of_draft(draft: Draft, place: Place, now: datetime) -> Iterator[Warned]:
    """Yield what is to be said of a template to this person."""
    template, recipient = draft.template, draft.recipient
    if template is None:
        return
    phone = recipient.phone if recipient else None
    if template.is_marketing and phone and may_be_in_united_states(phone):
        yield Warned(
            WarningCode.MARKETING_TO_UNITED_STATES,
            "Meta delivers no marketing templates to numbers of the United States.", 131049,
        )  # fmt: skip
    if template.row is not None and template.row.stale_at is not None:
        yield Warned(
            WarningCode.TEMPLATE_STALE,
            "Meta refused this template lately; what is known of it here may be out of date.",
        )
    if not draft.is_open:
        yield from _of_limit(draft, place, now)


def _of_limit(draft: Draft, place: Place, now: datetime) -> Iterator[Warned]:
    counted = portfolio.used(place, now=now)
    if draft.room_at is not None:
        yield Warned(
            WarningCode.LIMIT_REACHED,
            "The messaging limit is reached; the message would wait until "
            f"{draft.room_at:%Y-%m-%d %H:%M} UTC at least.",
        )
    elif counted is not None and counted[0] >= NEARLY * counted[1]:
        yield Warned(
            WarningCode.LIMIT_NEARLY_REACHED,
            f"{counted[0]} of {counted[1]} people were written to first in the last 24 hours.",
        )
