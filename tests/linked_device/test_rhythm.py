"""Deaf or only quiet: a number is measured against its own silences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connectors.linked_device import rhythm
from connectors.linked_device.rhythm import Rhythm

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
Spell = tuple[datetime, datetime, int]


def spells(*hours: float) -> list[Spell]:
    """Return single sounds so many hours ago."""
    moments = [NOW - timedelta(hours=hour) for hour in hours]
    return [(moment, moment, 1) for moment in moments]


def test_it_finds_the_longest_silence_and_the_last_sound() -> None:
    found = rhythm.of(spells(30, 20, 18, 5))
    assert found == Rhythm(4, timedelta(hours=13), NOW - timedelta(hours=5))


def test_a_spell_counts_all_that_was_heard_in_it() -> None:
    minute = timedelta(minutes=1)
    found = rhythm.of([(NOW - minute, NOW, 40)])
    assert found == Rhythm(40, minute, NOW)


def test_who_heard_nothing_has_no_rhythm() -> None:
    assert rhythm.of([]) == Rhythm(0, timedelta(), None)
    assert rhythm.of([]).patience is None


@pytest.mark.parametrize(
    ("heard", "longest", "patience"),
    [
        (19, timedelta(hours=10), None),
        (20, timedelta(hours=10), timedelta(hours=15)),
        (500, timedelta(minutes=5), timedelta(hours=1)),
    ],
)
def test_its_patience_follows_from_its_habits(
    heard: int, longest: timedelta, patience: timedelta | None
) -> None:
    assert Rhythm(heard, longest, NOW).patience == patience


@pytest.mark.parametrize(("hours", "deaf"), [(15, False), (15.1, True)])
def test_it_is_deaf_after_its_patience(hours: float, deaf: bool) -> None:
    habit = Rhythm(20, timedelta(hours=10), NOW)
    since = NOW - timedelta(hours=hours)
    assert rhythm.is_deaf(habit, silent_since=since, now=NOW) is deaf
