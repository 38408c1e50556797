"""The pace of a person, played on a clock that nobody waits for."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.linked_device import delivering
from connectors.linked_device.delivering import Pace, typing_seconds

texts = st.lists(st.text(max_size=400), min_size=2, max_size=20)
lenient = settings(max_examples=50, deadline=None, database=None)


def played(pace: Pace, *sends: tuple[object, str], at: float = 0.0) -> list[float]:
    """Return when each text leaves, every one asked for as soon as the one before has left."""
    moments = []
    for contact_id, text in sends:
        at = pace.next_at(contact_id=contact_id, text=text, at=at)
        pace.sent(contact_id=contact_id, at=at)
        moments.append(at)
    return moments


@lenient
@given(texts, st.integers())
def test_it_leaves_a_pause_between_any_two_and_time_to_type(sent: list[str], seed: int) -> None:
    moments = played(Pace(chance=Random(seed), at=0.0), *((uuid4(), text) for text in sent))
    gaps = [
        after - before - typing_seconds(text)
        for (before, after), text in zip(pairwise([0.0, *moments]), sent, strict=True)
    ]
    assert min(gaps) >= 1.0 - 1e-9
    assert max(gaps) <= 3.0 + 1e-9


@lenient
@given(st.integers())
def test_it_leaves_a_longer_pause_before_the_same_person(seed: int) -> None:
    anna = uuid4()
    first, second = played(Pace(chance=Random(seed), at=0.0), (anna, ""), (anna, ""))
    assert 3.0 <= second - first <= 5.0


def test_it_never_repeats_itself() -> None:
    moments = played(Pace(chance=Random(1), at=0.0), *((uuid4(), "Hi") for _ in range(50)))
    assert len({b - a for a, b in pairwise(moments)}) == 49


def test_it_sends_at_once_after_a_break() -> None:
    assert Pace(chance=Random(1), at=0.0).next_at(contact_id=None, text="Hi" * 999, at=60.0) == 60.0


def test_it_begins_with_a_pause_for_whoever_sent_before_it() -> None:
    assert Pace(chance=Random(1), at=100.0).next_at(contact_id=None, text="", at=100.0) >= 101.0


@pytest.mark.parametrize(("letters", "seconds"), [(0, 0.0), (50, 2.0), (150, 6.0), (4096, 6.0)])
def test_it_types_long_texts_for_longer_but_not_for_ever(letters: int, seconds: float) -> None:
    assert typing_seconds("x" * letters) == seconds


def test_it_waits_longer_each_time_and_not_for_ever() -> None:
    asked = [delivering.throttled_seconds(times) for times in (1, 2, 3, 50)]
    assert asked == [60.0, 120.0, 240.0, 3600.0]
    assert [delivering.away_seconds(times) for times in (1, 2, 50)] == [5.0, 10.0, 60.0]


def test_it_forgets_people_it_need_not_remember() -> None:
    pace = Pace(chance=Random(1), at=0.0)
    played(pace, *((uuid4(), "") for _ in range(100)))
    assert len(pace._people) <= 6
