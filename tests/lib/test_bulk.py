"""Rows with names: the types of their fields are those of the columns."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import pytest

from lib import bulk


class Row(NamedTuple):
    """One field of every kind."""

    id: UUID
    number: int
    attempt: bulk.Small
    share: float
    is_new: bool
    text: str | None
    facts: bulk.Json
    more: bulk.Json | None
    sealed: bytes
    day: date
    at: datetime


class Strange(NamedTuple):
    """No column holds it."""

    moments: list[datetime]


def test_it_names_and_types_the_columns_of_a_row() -> None:
    assert bulk.columns(Row) == (
        "id uuid",
        "number int8",
        "attempt int2",
        "share float8",
        "is_new bool",
        "text text",
        "facts jsonb",
        "more jsonb",
        "sealed bytea",
        "day date",
        "at timestamptz",
    )


def test_it_knows_what_no_column_can_hold() -> None:
    with pytest.raises(KeyError):
        bulk.columns(Strange)
