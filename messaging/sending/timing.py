"""When a message is due, and until when it is worth sending. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.sending.requests import SendRequest

# What waits longer (a number paused, a token expired) is better not sent at all.
DEFAULT_LIFE = timedelta(hours=24)
# A one-time password is void by then; it is Meta's own default too ("Time-to-live").
SECRET_LIFE = timedelta(minutes=10)
# The number of the recipient is kept (sealed) until the message is sent; so this is bounded.
FURTHEST = timedelta(days=30)
# Clocks differ, and requests take time.
GRACE = timedelta(minutes=5)


class Times(NamedTuple):
    """When a message is due; ``expires`` is ``None`` where its broadcast decides."""

    due: datetime
    expires: datetime | None


def times_of(
    request: SendRequest, *, is_secret: bool, now: datetime
) -> tuple[Times | None, list[UnableToSend]]:
    """Return the times of a request, or why it has none."""
    due, reasons = _due(request.scheduled_at, now)
    if due is None:
        return None, reasons
    if request.expires_at is not None:
        reasons = _check_expiry(request.expires_at, due)
        return (None if reasons else Times(due, request.expires_at.astimezone(UTC))), reasons
    if request.broadcast_id is not None:
        return Times(due, None), []
    return Times(due, due + (SECRET_LIFE if is_secret else DEFAULT_LIFE)), []


def _due(wanted: datetime | None, now: datetime) -> tuple[datetime | None, list[UnableToSend]]:
    if wanted is None:
        return now, []
    if wanted.tzinfo is None:
        return None, [_invalid("scheduled_at", "The time needs an offset, such as Z or +02:00.")]
    if wanted < now - GRACE:
        return None, [_invalid("scheduled_at", "The time is in the past.")]
    if wanted > now + FURTHEST:
        return None, [_invalid("scheduled_at", f"This is over {FURTHEST.days} days ahead.")]
    return max(wanted.astimezone(UTC), now), []


def _check_expiry(wanted: datetime, due: datetime) -> list[UnableToSend]:
    if wanted.tzinfo is None:
        return [_invalid("expires_at", "The time needs an offset, such as Z or +02:00.")]
    if wanted <= due:
        return [_invalid("expires_at", "The message would expire before it is due.")]
    if wanted > due + FURTHEST:
        return [_invalid("expires_at", f"This is over {FURTHEST.days} days after it is due.")]
    return []


def _invalid(field: str, message: str) -> UnableToSend:
    return UnableToSend(SendErrorCode.INVALID_INPUT, field, message)
