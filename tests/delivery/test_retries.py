"""When a message is tried again, and when it is given up: the one clock there is, on values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.ids import uuid7
from messaging.attempts import Attempt, Transition, facts_of, transition_of, wait_after
from workspaces.channel_errors import (
    ChannelError,
    OutcomeUnknown,
    Reach,
    Rejected,
    Throttled,
    Unavailable,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
AWAY = Unavailable("Away.")
TOO_FAST = Throttled(code=131056, reach=Reach.RECIPIENT)


class Highest(Random):
    """The longest that chance may make a wait."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Lowest(Random):
    """The shortest that chance may make a wait."""

    def uniform(self, a: float, b: float) -> float:
        return a


def after(
    result: ChannelError,
    *,
    number: int = 1,
    most: int = 5,
    life: timedelta | None = None,
    chance: Random | None = None,
) -> Transition:
    """Return what becomes of a message that has so long to live."""
    expires_at = None if life is None else NOW + life
    attempt = Attempt(uuid7(), uuid7(), uuid7(), None, None, number, expires_at)
    return transition_of(result, attempt, now=NOW, most_attempts=most, chance=chance or Highest())


@pytest.mark.parametrize(
    ("number", "cap"), [(1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (10, 300), (60, 300)]
)
def test_a_wait_is_below_a_cap_that_doubles_up_to_five_minutes(number: int, cap: float) -> None:
    assert wait_after(AWAY, number, Highest()) == cap
    assert wait_after(AWAY, number, Lowest()) == 0
    assert wait_after(Throttled(), number, Highest()) == cap


@pytest.mark.parametrize(("number", "base"), [(1, 1), (2, 4), (3, 16), (4, 64), (5, 256), (9, 256)])
def test_one_person_is_left_alone_four_times_as_long_each_time(number: int, base: float) -> None:
    assert wait_after(TOO_FAST, number, Lowest()) == base
    assert wait_after(TOO_FAST, number, Highest()) == base * 1.25
    for other in (Throttled(reach=Reach.NUMBER), Unavailable("Away.", reach=Reach.RECIPIENT)):
        assert wait_after(other, number, Lowest()) == 0


@given(st.floats(0, 3600), st.integers(1, 70), st.integers(0, 99))
def test_the_platforms_own_wait_is_never_cut_short(asked: float, number: int, seed: int) -> None:
    wait = wait_after(Throttled(asked), number, Random(seed))

    assert asked <= wait <= asked + 300


@pytest.mark.parametrize(
    ("error", "most", "last"),
    [
        (AWAY, 5, 5),
        (Throttled(), 1, 1),
        (Unavailable("Away.", most_attempts=2), 5, 2),
        (Unavailable("Away.", most_attempts=9), 5, 5),
    ],
)
def test_the_last_attempt_is_the_last(error: ChannelError, most: int, last: int) -> None:
    found = [after(error, number=number, most=most).status for number in range(1, last + 2)]

    assert found == ["queued"] * (last - 1) + ["failed"] * 2


@pytest.mark.parametrize(
    ("life", "status"),
    [(None, "queued"), (2.001, "queued"), (2, "failed"), (1, "failed"), (-1, "failed")],
)
def test_what_would_expire_in_its_wait_is_given_up_at_once(life: float | None, status: str) -> None:
    span = None if life is None else timedelta(seconds=life)
    found = after(AWAY, life=span)

    assert found == Transition(status, 2.0 if status == "queued" else 0.0, AWAY)


@pytest.mark.parametrize(
    ("reach", "stops", "status"),
    [
        (Reach.NUMBER, True, "queued"),
        (Reach.ACCOUNT, True, "queued"),
        (Reach.TENANT, True, "queued"),
        (Reach.TENANT, False, "failed"),
        (Reach.RECIPIENT, True, "failed"),
        (Reach.TEMPLATE, True, "failed"),
        (Reach.MESSAGE, True, "failed"),
    ],
)
def test_a_refusal_of_more_than_a_message_lets_it_wait(
    reach: Reach, stops: bool, status: str
) -> None:
    error = Rejected(131031, "Locked.", stops=stops, reach=reach)

    assert after(error, number=99) == Transition(status, 0.0, error)


def test_a_paused_template_waits_ten_minutes() -> None:
    error = Rejected(132015, "Paused.", reach=Reach.TEMPLATE)

    assert after(error) == Transition("queued", 600.0, error)


@pytest.mark.parametrize("error", [OutcomeUnknown("?"), ChannelError("Of a later version.")])
def test_what_may_have_left_is_never_tried_again(error: ChannelError) -> None:
    assert after(error, number=1, most=99) == Transition("unknown", 0.0, error)


def test_an_error_is_kept_with_what_is_known_of_it() -> None:
    whole = Rejected(131026, "No.", details="Why.", trace_id="T1")

    assert facts_of(whole) == {
        "code": 131026,
        "title": "No.",
        "details": "Why.",
        "trace_id": "T1",
    }
    assert facts_of(OutcomeUnknown("Who knows.")) == {"code": 0, "title": "Who knows."}
