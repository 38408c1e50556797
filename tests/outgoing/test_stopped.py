"""What hits every event stops the deliverer: none is given up, all arrive once it is mended."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test import Client

from connectors.outgoing import claims
from connectors.outgoing.delivering import deliver
from tests.conftest import Cast
from tests.outgoing.conftest import Endpoint, Subscribe
from tests.outgoing.test_delivering import SOON, Emit
from workspaces import brake
from workspaces.models import EventDelivery

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between trials."""
    monkeypatch.setattr(brake, "FIRST_PAUSE", 0.0)


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(statement)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("column", ["last_status", "attempts"])
def test_it_gives_nothing_up_while_a_column_is_missing(
    acme: Cast, globex: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime,
    column: str,
) -> None:  # fmt: skip
    for cast in (acme, globex):
        subscribe(cast)
        emit(cast, 6)

    run(f"ALTER TABLE event_deliveries RENAME {column} TO elsewhere")
    for n in range(3):
        deliver(clock=lambda n=n: now + SOON + n * 2 * claims.LEASE, linger=0)
    assert Client().get("/healthz").json()["stopped"]["events"].endswith("UndefinedColumn")
    run(f"ALTER TABLE event_deliveries RENAME elsewhere TO {column}")
    assert not EventDelivery.objects.exclude(dead_at=None).exists()

    deliver(clock=lambda: now + timedelta(hours=1), linger=0)

    assert not EventDelivery.objects.filter(delivered_at=None).exists()
    assert {got.headers["webhook-id"] for got in endpoint.got} == {
        str(one) for one in EventDelivery.objects.values_list("event_id", flat=True)
    }


def test_it_notes_a_poisonous_result_as_a_failure_and_the_others_as_they_are(
    acme: Cast, globex: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    endpoint.answers["/poison"] = 418
    subscribe(acme, path="/poison")
    subscribe(globex)
    emit(acme)
    emit(globex, 3)
    run("ALTER TABLE event_deliveries ADD CONSTRAINT poison CHECK (last_status <> 418) NOT VALID")

    deliver(clock=lambda: now + SOON, linger=0)

    poison = EventDelivery.objects.get(tenant_id=acme.tenant.id)
    assert poison.last_error == "The result could not be noted: IntegrityError"
    assert poison.next_attempt_at is not None
    assert not EventDelivery.objects.filter(tenant_id=globex.tenant.id, delivered_at=None).exists()
