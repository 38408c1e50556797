"""What the worker calls, and what tenants' apps hear of it."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.db import OperationalError

from lib import work
from messaging.broadcasts import lifecycle, tasks
from messaging.delivery.queues import BROADCASTS
from messaging.models import Broadcast
from tests.broadcasts.conftest import draft, ids, people, template
from tests.conftest import Cast
from workspaces.models import EventSubscription, OutgoingEvent


@pytest.fixture
def checking(acme: Cast, now: datetime) -> Broadcast:
    template(acme)
    broadcast = draft(acme, people(3))
    lifecycle.start(**ids(broadcast), now=now)
    return broadcast


def test_it_comes_again_at_once_while_there_is_more(
    checking: Broadcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[bool] = []
    monkeypatch.setattr(
        type(BROADCASTS), "notify", lambda wake_up, slot=0: woken.append(True) or True
    )

    tasks.tend_broadcasts()
    assert not woken
    monkeypatch.setattr(tasks, "tend", lambda *, clock: True)
    tasks.tend_broadcasts()

    assert woken
    checking.refresh_from_db()
    assert checking.state == "RUNNING"


def test_it_waits_for_a_database_that_is_away(
    checking: Broadcast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(**_: object) -> None:
        raise OperationalError

    monkeypatch.setattr(tasks, "tend", away)
    monkeypatch.setattr(tasks.retention, "purge", away)
    monkeypatch.setattr(work.connection, "close", lambda: None)

    tasks.tend_broadcasts()
    tasks.purge_lists()

    assert caplog.text.count("put off") == 2


def test_it_tells_of_every_change_of_state(acme: Cast, now: datetime) -> None:
    EventSubscription.objects.create(
        tenant_id=acme.tenant.id, url="https://example.org", sealed_secrets=b""
    )
    template(acme)
    broadcast = draft(acme, people(1))
    lifecycle.start(**ids(broadcast), now=now)
    tasks.tend_broadcasts()
    lifecycle.pause(**ids(broadcast), now=now)

    told = OutgoingEvent.objects.filter(type="broadcast.updated").order_by("id")

    assert [event.data["state"] for event in told] == ["CHECKING", "RUNNING", "PAUSED"]
    assert told[0].data["broadcast_id"] == str(broadcast.id)
