"""The buckets in the broker: against a model, at times of our choosing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import wakeups
from lib.ids import uuid7
from messaging.delivery import pacing

CLOCK = "redis.call('TIME')"
AHEAD = round(pacing.AHEAD_SECONDS * 1_000_000)
START = 1_790_000_000_000_000


@pytest.fixture
def number() -> UUID:
    """A number that has sent nothing yet."""
    return uuid7()


@dataclass
class Model:
    """A number's slots as they should be; times in microseconds."""

    gap: int
    due: int = 0

    def take(self, want: int, now: int) -> list[int]:
        """Return the moments that are given out."""
        first = max(self.due, now)
        count = max(0, min(want, math.ceil((now + AHEAD - first) / self.gap)))
        self.due = first + count * self.gap
        return [first + n * self.gap for n in range(count)]


def at(script: str, now: int, keys: list[str], args: list[object]) -> list[list[int]]:
    """Run a script of the product's as if the broker's clock showed ``now``."""
    assert CLOCK in script
    frozen = script.replace(CLOCK, f"{{0, {now}}}")
    return wakeups.broker().eval(frozen, len(keys), *keys, *args)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 1_000),
    st.lists(st.tuples(st.integers(0, 400_000), st.integers(1, 200)), min_size=1, max_size=25),
)
def test_it_gives_out_slots_as_the_model_does_and_never_more_than_the_rate(
    rate: int, calls: list[tuple[int, int]]
) -> None:
    key, now, gap = f"sigma:pace:{uuid7()}", START, math.ceil(1_000_000 / rate)
    model, slots = Model(gap), []
    for passed, want in calls:
        now += passed
        args = [AHEAD, 1, 30_000_000, want, gap]
        ((count, wait, spacing),) = at(pacing.SLOTS, now, [key], args)
        given_out = [now + wait + n * spacing for n in range(count)]
        assert given_out == model.take(want, now)
        slots += given_out
    seconds = ([s for s in slots if first <= s < first + 1_000_000] for first in slots)
    assert max(map(len, seconds), default=0) <= rate


def test_it_halves_a_pace_once_per_burst_and_recovers(number: UUID) -> None:
    def rate() -> float:
        return 1 / pacing.slots({number: (1, 100)}, taking=True)[number].gap

    assert rate() == pytest.approx(95, rel=0.01)
    assert [pacing.slow_down(number) for _ in range(5)] == [True, False, False, False, False]
    assert rate() == pytest.approx(47.5, rel=0.02)
    key = f"sigma:pace:{number}"
    wakeups.broker().hincrby(key, "since", -15_000_000)
    assert rate() == pytest.approx(47.5 * 2**0.5, rel=0.02)
    wakeups.broker().hincrby(key, "since", -60_000_000)
    assert rate() == pytest.approx(95, rel=0.01)


def test_it_lets_45_messages_to_a_person_go_at_once(number: UUID) -> None:
    ann, ben = (number, uuid7()), (number, uuid7())

    waits = pacing.take_pairs([ann] * 47 + [ben])

    assert waits[:45] + waits[47:] == [0] * 46
    assert waits[45:47] == pytest.approx([6, 12], abs=0.1)
    pacing.hold_pair(ben, 64)
    assert pacing.take_pairs([ben])[0] == pytest.approx(64, abs=0.1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(0, round(pacing.PAIR_SLACK * 1e6)))
def test_those_who_wait_for_a_person_come_back_once_and_in_their_order(
    count: int, early: int
) -> None:
    key, args = f"sigma:pair:{uuid7()}", [6_000_000, 5, round(pacing.PAIR_SLACK * 1e6)]
    waits = at(pacing.PAIRS, START, [key] * count, args)
    again = [at(pacing.PAIRS, START + wait - early, [key], args)[0] for wait in waits[5:]]

    assert waits == [0] * min(5, count) + [6_000_000 * n for n in range(1, count - 4)]
    assert set(again) <= {0}


def test_it_shares_a_number_between_workers_without_giving_a_slot_twice(number: UUID) -> None:
    first, second = (pacing.slots({number: (3, 80)}, taking=True)[number] for _ in range(2))

    assert (first.count, second.count) == (3, 3)
    assert second.wait >= first.wait + 2 * first.gap
    assert pacing.slots({number: (100, 80)}, taking=False)[number].count <= 2
