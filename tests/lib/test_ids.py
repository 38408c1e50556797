"""Ids sort by time: those made here after all made before, what arrived by its arrival."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from lib.ids import arrival_uuid7, first_uuid7_at, uuid7

AT = datetime(2026, 11, 21, 12, 30, 15, 123_456, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def arrived(at: datetime = AT, sequence: int = 7, tail: int = 9) -> UUID:
    return arrival_uuid7(at, sequence=sequence, tail=tail)


def test_it_makes_ids_of_version_7_by_the_clock() -> None:
    made = uuid7()

    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert abs((made.int >> 80) - time.time() * 1000) < 5_000


def test_it_makes_later_ids_also_while_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [uuid7() for _ in range(100)]
    monkeypatch.setattr("lib.ids.time.time_ns", lambda: 0)
    made = [*before, *(uuid7() for _ in range(100))]

    assert sorted(made) == made
    assert len(set(made)) == len(made)


def test_it_makes_the_same_id_of_the_same_arrival_and_no_other() -> None:
    others = [arrived(AT + MICROSECOND), arrived(sequence=8), arrived(tail=10)]

    assert arrived() == arrived()
    assert len({arrived(), *others}) == 4


def test_arrivals_sort_by_time_then_by_sequence() -> None:
    in_order = [
        arrived(AT - MICROSECOND, sequence=2**42 - 1),
        arrived(AT, sequence=1, tail=2**20 - 1),
        arrived(AT, sequence=2, tail=0),
        arrived(AT + MICROSECOND, sequence=0, tail=0),
    ]

    assert sorted(in_order) == in_order


def test_the_first_id_of_a_moment_parts_what_came_before_from_what_came_since() -> None:
    moment = AT.replace(microsecond=123_000)

    assert arrived(moment - MICROSECOND) < first_uuid7_at(moment) <= arrived(moment, 0, 0)
