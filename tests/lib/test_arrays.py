"""Arrays as PostgreSQL reads them: every value comes back as it went."""

from __future__ import annotations

from datetime import UTC, date, datetime

import psycopg
import pytest
from django.db import DataError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib import bulk

pytestmark = pytest.mark.django_db

letters = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
# What Python can tell, which PostgreSQL can as well.
moments = st.datetimes(timezones=st.just(UTC))
VALUES: dict[str, st.SearchStrategy] = {
    "bool": st.booleans(),
    "bytea": st.binary(max_size=20),
    "date": st.dates(date(1, 1, 1)),
    "float8": st.floats(allow_nan=False),
    "int2": st.integers(-(2**15), 2**15 - 1),
    "int4": st.integers(-(2**31), 2**31 - 1),
    "int8": st.integers(-(2**63), 2**63 - 1),
    "jsonb": st.sampled_from(('{"a": 1}', "null", '"é"', "[]")),
    "text": letters,
    "timestamptz": moments,
    "uuid": st.uuids(),
}


def test_every_type_is_tried() -> None:
    assert VALUES.keys() == bulk.KINDS.keys()


@pytest.mark.parametrize("kind", sorted(bulk.KINDS))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_values_come_back_as_they_went(kind: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[kind], min_size=1, max_size=5))
    read = "value::text" if kind == "jsonb" else "value"

    statement = f"SELECT {read} FROM {{rows}}"  # noqa: S608 - one of two
    rows = bulk.run(statement, [f"value {kind}"], [(v,) for v in values])

    assert [value for (value,) in rows] == values


def test_a_text_that_the_database_cannot_hold_is_its_refusal() -> None:
    with pytest.raises(DataError), transaction.atomic():
        bulk.run("SELECT value FROM {rows}", ["value text"], [("a\0b",)])


def test_a_moment_without_a_zone_is_none() -> None:
    with pytest.raises(TypeError):
        bulk.pack("timestamptz", [datetime(2026, 1, 1)])  # noqa: DTZ001


def test_the_driver_is_left_as_it_was(transactional_db: None) -> None:
    bulk.run("SELECT value FROM {rows}", ["value int4"], [(1,)])

    assert bulk.Array not in psycopg.adapters._dumpers[psycopg.adapt.PyFormat.BINARY]
