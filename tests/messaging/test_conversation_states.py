"""A conversation is open, snoozed or closed: whatever happens in whatever order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.conversation_states import (
    FURTHEST,
    OPEN,
    BadTime,
    ConversationState,
    Standing,
    at,
    joined,
    set_to,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SNOOZED, CLOSED = ConversationState.SNOOZED, ConversationState.CLOSED
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from(ConversationState), st.integers(-9, 9)),
        st.tuples(st.just("wait"), st.just(None), st.integers(0, 9)),
        st.tuples(st.just("write"), st.just(None), st.just(0)),
    )
)
STANDINGS = st.one_of(
    st.just(OPEN),
    st.just(Standing(CLOSED)),
    st.integers(1, 99).map(lambda n: Standing(SNOOZED, NOW + timedelta(hours=n))),
)


@given(STEPS)
def test_it_has_a_time_exactly_while_it_is_snoozed_and_never_one_that_is_past(steps) -> None:
    standing, now = OPEN, NOW
    for what, state, hours in steps:
        if what == "wait":
            now += timedelta(hours=hours)
        elif what == "write":
            standing = OPEN
        else:
            before = standing
            until = now + timedelta(hours=hours) if hours else None
            try:
                standing = set_to(state, until, now=now)
            except BadTime:
                assert standing == before
                assert hours < 0 or (state == SNOOZED) != (hours > 0)
            else:
                assert (standing.state, standing.until) == (state, until)
        standing = at(standing, now=now)
        assert (standing.until is not None) == (standing.state == SNOOZED)
        assert standing.until is None or standing.until > now


@given(st.lists(STANDINGS, min_size=1))
def test_of_several_that_become_one_nothing_is_forgotten_and_their_order_does_not_matter(
    standings: list[Standing],
) -> None:
    found = joined(standings)

    assert found in standings
    assert found == joined(standings[::-1])
    assert (found == OPEN) == (OPEN in standings)
    assert (found.state == CLOSED) == ({one.state for one in standings} == {CLOSED})
    assert joined([found, *standings]) == found


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(seconds=-1), FURTHEST * 2])
def test_it_is_snoozed_until_a_time_that_comes(ahead: timedelta) -> None:
    with pytest.raises(BadTime, match="in the future"):
        set_to(SNOOZED, NOW + ahead, now=NOW)
