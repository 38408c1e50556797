"""The list of a broadcast: taken whole, each person once, sealed."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.db import connection

from lib.envelope import CannotOpen
from messaging.broadcasts import audience, lifecycle
from messaging.broadcasts.recipients import Sealer
from messaging.broadcasts.refusals import UnableToBroadcast
from messaging.broadcasts.rows import RowCode, RowProblem, make
from messaging.models import BroadcastRecipient
from templates_wa.parameters import TemplateParameters
from tests.broadcasts.conftest import draft, fill, ids, people, phone, start, template
from tests.conftest import Cast


@pytest.fixture(autouse=True)
def _template(acme: Cast) -> None:
    template(acme)


def row(position: int, number: str = "", user_id: str = ""):
    return make(
        position,
        phone=number,
        user_id=user_id,
        reference="",
        parameters=TemplateParameters(positional=("x",)),
    )


def test_it_keeps_each_person_once_and_names_the_lines_of_both(acme: Cast) -> None:
    content = f"phone,1\n{phone(1)},a\n{phone(2)},b\n{phone(1)},c\n{phone(1)},d\n".encode()

    report = fill(draft(acme), content)

    assert (report.added, report.total, report.duplicate_count) == (2, 2, 2)
    assert [(d.position, d.first) for d in report.duplicates] == [(4, 2), (5, 2)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+5511987654321", "+551187654321"),
        ("+5215512345678", "+525512345678"),
        ("+5491123456789", "+541123456789"),
    ],
)
def test_it_knows_both_spellings_of_a_number_as_one_person(
    acme: Cast, one: str, other: str
) -> None:
    assert fill(draft(acme), f"phone,1\n{one},a\n{other},b\n".encode()).duplicate_count == 1


def test_it_finds_duplicates_across_chunks(acme: Cast) -> None:
    content = people(2_500) + f"{phone(3)},again,x\n".encode()

    report = fill(draft(acme), content)

    assert (report.added, report.duplicate_count) == (2_500, 1)
    assert report.duplicates[0].first == 5


def test_it_takes_nothing_of_a_list_with_a_bad_line_unless_asked(acme: Cast) -> None:
    broadcast = draft(acme, people(3))
    content = people(4) + b"0821234567,r,x\n"

    with pytest.raises(audience.UnusableRows, match="Row 6: phone: The number is national") as told:
        fill(broadcast, content)
    assert BroadcastRecipient.objects.count() == 3
    assert told.value.report.problems[0].code == RowCode.INVALID_PHONE

    report = fill(broadcast, content, skip_invalid=True)
    assert (report.added, report.problem_count) == (4, 1)
    assert BroadcastRecipient.objects.count() == 4


def test_it_lists_a_hundred_problems_and_counts_all(acme: Cast) -> None:
    with pytest.raises(audience.UnusableRows, match="150 rows cannot be taken") as told:
        fill(draft(acme), b"phone,1\n" + b"x,y\n" * 150)

    assert len(told.value.report.problems) == 100


def test_it_adds_rows_of_the_api_behind_those_it_has(acme: Cast) -> None:
    broadcast = draft(acme, people(3))
    rows = [row(1, phone(2)), row(2, phone(7)), row(3, user_id="GB.7")]

    report = audience.append(**ids(broadcast), rows=rows)

    assert (report.added, report.total) == (2, 5)
    assert [(d.position, d.first) for d in report.duplicates] == [(1, 4)]
    positions = BroadcastRecipient.objects.order_by("position").values_list("position", flat=True)
    assert list(positions) == [2, 3, 4, 6, 7]


def test_it_adds_none_of_the_rows_if_one_is_wrong(acme: Cast) -> None:
    problem = RowProblem(2, RowCode.INVALID_PHONE, "phone: …")

    with pytest.raises(audience.UnusableRows):
        audience.append(**ids(draft(acme)), rows=[row(1, phone(1)), problem])

    assert not BroadcastRecipient.objects.exists()


@pytest.mark.parametrize("count", [0, 1_001])
def test_it_adds_one_to_a_thousand_rows_at_a_time(acme: Cast, count: int) -> None:
    with pytest.raises(UnableToBroadcast, match="1 to 1000 recipients are expected"):
        audience.append(**ids(draft(acme)), rows=[row(1, phone(1))] * count)


def test_it_refuses_more_than_the_settings_allow(acme: Cast, settings) -> None:
    settings.SIGMA_BROADCAST_MAX_RECIPIENTS, settings.SIGMA_BROADCAST_MAX_BYTES = 2, 500

    with pytest.raises(UnableToBroadcast, match="at most 2 people"):
        fill(draft(acme), people(3))
    with pytest.raises(UnableToBroadcast, match="at most 500 bytes"):
        fill(draft(acme), people(100))

    assert not BroadcastRecipient.objects.exists()


def test_it_takes_no_rows_once_it_was_started(acme: Cast, now: datetime) -> None:
    broadcast = draft(acme, people(2))
    start(broadcast, now)

    with pytest.raises(UnableToBroadcast, match="has to be DRAFT, REFUSED"):
        fill(broadcast, people(3))


def test_it_is_nothing_to_another_tenant(acme: Cast, globex: Cast) -> None:
    broadcast = draft(acme, people(2))

    for act in (lifecycle.cancel, lifecycle.start):
        with pytest.raises(UnableToBroadcast, match="no broadcast with this id"):
            act(tenant_id=globex.tenant.id, broadcast_id=broadcast.id, now=broadcast.created_at)
    with pytest.raises(UnableToBroadcast, match="no broadcast with this id"):
        audience.replace(tenant_id=globex.tenant.id, broadcast_id=broadcast.id, content=people(1))


def test_a_row_does_not_open_in_the_place_of_another(acme: Cast) -> None:
    broadcast = draft(acme, people(2))
    one, other = BroadcastRecipient.objects.order_by("position")

    sealer = Sealer(broadcast.tenant_id, broadcast.id)

    assert sealer.open(one.position, bytes(one.sealed)).phone == phone(0)[1:]
    with pytest.raises(CannotOpen):
        sealer.open(one.position, bytes(other.sealed))


def test_no_number_and_no_parameter_is_in_the_clear_in_any_table(acme: Cast, now: datetime) -> None:
    broadcast = draft(acme, b"phone,1\n+999831234567,Wolfgang Xylander\n")
    start(broadcast, now)

    for table in ("broadcasts", "broadcast_recipients", "contact_identities", "contacts"):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT t::text FROM {table} t")  # noqa: S608 - names of ours
            text = " ".join(value for (value,) in cursor.fetchall())
        assert "831234567" not in text
        assert "Xylander" not in text
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM messages t")
        assert "831234567" not in cursor.fetchone()[0]
