"""What becomes of a message after an attempt: the one place that knows when to try again. Pure.

Rules: the table of Meta's error codes decides which error it is (the channel); here is how often
and when. Nothing whose request may have left is ever tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import NamedTuple
from uuid import UUID

from workspaces.channel_errors import ChannelError, Reach, Rejected, Throttled, Unavailable
from workspaces.channel_facts import AcceptedSend

# Full jitter below a cap that doubles; https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
FIRST_CAP, LAST_CAP = 2.0, 300.0
# Meta, "Throughput": after 131056 wait 4^X seconds, X = 0, 1, 2 …
PAIR_BASE, PAIR_MOST = 4.0, 4
# A refused template is not tried again before somebody had time to look at it.
TEMPLATE_SECONDS = 600.0
HELD = "held_for_quality_assessment"
# Whatever the platform would refuse as a whole says nothing against this message: it waits.
WIDE = frozenset({Reach.NUMBER, Reach.ACCOUNT, Reach.TENANT})
PAUSED_TEMPLATE = 132015


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The message was claimed and not sent: there was no time left, or sending has stopped."""


Result = AcceptedSend | ChannelError | GivenBack


class Attempt(NamedTuple):
    """One claim of a message: its number (the first is 1), and until when it is worth sending."""

    message_id: UUID
    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID | None
    template_id: UUID | None
    number: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Transition:
    """The state a message goes into; ``wait`` is in seconds, for one that is queued again."""

    status: str
    wait: float = 0.0
    error: ChannelError | None = None


def transition_of(
    result: Result, attempt: Attempt, *, now: datetime, most_attempts: int, chance: Random
) -> Transition:
    """Return what becomes of a message after this attempt."""
    if isinstance(result, AcceptedSend):
        return Transition("held" if result.state == HELD else "accepted")
    if isinstance(result, GivenBack):
        return Transition("queued")
    if isinstance(result, Rejected):
        return _refused(result)
    if isinstance(result, Throttled | Unavailable):
        return _again(result, attempt, now, most_attempts, chance)
    # Whatever else it is called: the request may have left.
    return Transition("unknown", error=result)


def _refused(error: Rejected) -> Transition:
    if error.stops and error.reach in WIDE:
        return Transition("queued", error=error)
    if error.code == PAUSED_TEMPLATE:
        return Transition("queued", TEMPLATE_SECONDS, error)
    return Transition("failed", error=error)


def _again(
    error: Throttled | Unavailable, attempt: Attempt, now: datetime, most: int, chance: Random
) -> Transition:
    limit = getattr(error, "most_attempts", None) or most
    wait = wait_after(error, attempt.number, chance)
    left = (attempt.expires_at - now).total_seconds() if attempt.expires_at else None
    if attempt.number >= min(limit, most) or (left is not None and left <= wait):
        return Transition("failed", error=error)
    return Transition("queued", wait, error)


def wait_after(error: Throttled | Unavailable, number: int, chance: Random) -> float:
    """Return the seconds to wait after attempt ``number`` ended so."""
    if isinstance(error, Throttled) and error.reach == Reach.RECIPIENT:
        return pair_wait(number) * chance.uniform(1, 1.25)
    cap = min(LAST_CAP, FIRST_CAP * 2 ** (number - 1))
    least = getattr(error, "retry_after", None) or 0.0
    return float(least) + chance.uniform(0, cap)


def pair_wait(number: int) -> float:
    """Return for how many seconds nothing goes to whom attempt ``number`` wrote too fast."""
    return float(PAIR_BASE ** min(number - 1, PAIR_MOST))


def facts_of(error: ChannelError) -> dict[str, object]:
    """Return an error as it is kept with the message, in the shape of those of receipts."""
    facts = {
        "code": error.code,
        "title": error.message,
        "details": error.details,
        "trace_id": error.trace_id,
    }
    return {key: value for key, value in facts.items() if value not in ("", None)}
