"""Whether a conversation is to be answered, later or no more. Pure: what a step leads to."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

FURTHEST = timedelta(days=366)


class ConversationState(StrEnum):
    """Where a conversation stands; what a person writes opens it, whatever it was."""

    OPEN = "OPEN"
    SNOOZED = "SNOOZED"
    CLOSED = "CLOSED"


class Standing(NamedTuple):
    """A state, and until when it lasts: a time exactly where it is ``SNOOZED``."""

    state: ConversationState
    until: datetime | None = None


OPEN = Standing(ConversationState.OPEN)


class BadTime(ValueError):
    """The time does not go with the state; the message says what would."""


def set_to(state: ConversationState, until: datetime | None, *, now: datetime) -> Standing:
    """Return where a conversation stands that somebody of the business puts into a state.

    Raises:
        BadTime: snoozed without a time, or with one that is past or too far, or another state with
            a time.
    """
    if state != ConversationState.SNOOZED:
        if until is not None:
            raise BadTime(f"Only SNOOZED has a time; leave it out where the state is {state}.")
        return Standing(state)
    if until is None:
        raise BadTime("SNOOZED needs the time at which the conversation comes back.")
    if not now < until <= now + FURTHEST:
        raise BadTime(f"The time must be in the future, at most {FURTHEST.days} days from now.")
    return Standing(state, until)


def at(standing: Standing, *, now: datetime) -> Standing:
    """Return where a conversation stands once the clock was looked at."""
    return OPEN if standing.until is not None and standing.until <= now else standing


def joined(standings: Collection[Standing]) -> Standing:
    """Return where the one conversation stands that several turned out to be: what is to be done
    soonest, so that nothing is forgotten.
    """
    if any(one.state == ConversationState.OPEN for one in standings):
        return OPEN
    times = [one.until for one in standings if one.until is not None]
    if times:
        return Standing(ConversationState.SNOOZED, min(times))
    return Standing(ConversationState.CLOSED)
