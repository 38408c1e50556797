"""What hits every row stops the broadcasts: no row is given up for it."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.db import connection
from django.test import Client

from lib import brake
from messaging.models import Broadcast, BroadcastRecipient
from tests.broadcasts.conftest import deliver_all, draft, people, start, template, tend
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between trials."""
    monkeypatch.setattr(brake, "FIRST_PAUSE", 0.0)


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(statement)


def states(broadcast: Broadcast) -> set[str]:
    rows = BroadcastRecipient.objects.filter(broadcast_id=broadcast.id)
    return set(rows.values_list("state", flat=True))


def test_it_refuses_no_row_while_a_column_is_missing(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    for cast in (acme, globex):
        template(cast)
    mine, theirs = (draft(cast, people(8)) for cast in (acme, globex))

    run("ALTER TABLE outbox RENAME sealed_request TO elsewhere")
    for broadcast in (mine, theirs):
        assert start(broadcast, now).state == "RUNNING"
        assert states(broadcast) == {"PENDING"}
    assert Client().get("/healthz").json()["stopped"]["broadcasts"].endswith("UndefinedColumn")
    run("ALTER TABLE outbox RENAME elsewhere TO sealed_request")

    for broadcast in (mine, theirs):
        tend(broadcast, now)
        assert states(broadcast) == {"QUEUED"}
    assert "stopped" not in Client().get("/healthz").json()


def test_a_broadcast_whose_rows_all_fail_alike_stops_no_other(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    for cast in (acme, globex):
        template(cast)
    mine, theirs = (draft(cast, people(8)) for cast in (acme, globex))
    run(f"ALTER TABLE messages ADD CONSTRAINT poison CHECK (tenant_id <> '{acme.tenant.id}')")

    start(mine, now)
    assert (
        Client().get("/healthz").json()["stopped"]["broadcasts"] == "IntegrityError: CheckViolation"
    )
    start(theirs, now)

    assert (mine.state, states(mine), states(theirs)) == ("RUNNING", {"PENDING"}, {"QUEUED"})
    run("ALTER TABLE messages DROP CONSTRAINT poison")
    tend(mine, now)
    assert states(mine) == {"QUEUED"}


def test_it_refuses_a_poisonous_row_alone(acme: Cast, globex: Cast, now: datetime) -> None:
    for cast in (acme, globex):
        template(cast)
    mine, theirs = (draft(cast, people(8)) for cast in (acme, globex))
    run("ALTER TABLE messages ADD CONSTRAINT poison CHECK (text <> 'Hello Person 3!') NOT VALID")

    for broadcast in (mine, theirs):
        start(broadcast, now)
        refused = BroadcastRecipient.objects.filter(broadcast_id=broadcast.id, state="REFUSED")
        assert [row.code for row in refused] == ["INTERNAL"]
        deliver_all(broadcast)
        assert tend(broadcast, now).state == "COMPLETED"
