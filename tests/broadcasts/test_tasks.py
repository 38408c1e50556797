"""What the worker calls, and what tenants' apps hear of it."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.db import OperationalError

from connectors.events.models import EventSubscription, OutgoingEvent
from lib import work
from messaging.broadcasts import lifecycle, tasks, tending
from messaging.delivery.queues import BROADCASTS
from messaging.models import Broadcast, PendingSend
from tests.broadcasts.conftest import draft, ids, people, template
from tests.conftest import Cast


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The slots that a turn was called for."""
    slots: list[int] = []
    monkeypatch.setattr(
        type(BROADCASTS), "notify", lambda wake_up, slot=0: slots.append(slot) is None
    )
    return slots


@pytest.fixture
def checking(acme: Cast, now: datetime) -> Broadcast:
    template(acme)
    broadcast = draft(acme, people(3))
    lifecycle.start(**ids(broadcast), now=now)
    return broadcast


def test_it_comes_again_while_there_is_something_to_look_after(
    checking: Broadcast, called: list[int], now: datetime
) -> None:
    tasks.sweep()
    tasks.tend()
    checking.refresh_from_db()
    assert (called, checking.state) == ([0], "RUNNING")
    lifecycle.pause(**ids(checking), now=now)
    tasks.sweep()

    assert called == [0]
    PendingSend.objects.update(due_at=now)  # it came back to be tried again
    tasks.sweep()
    assert called == [0, 0]


def test_a_round_that_takes_long_calls_another_process(
    checking: Broadcast, called: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tending, "LONG_SECONDS", 0.0)
    tasks.tend()

    assert set(called) == {1}


def test_it_waits_for_a_database_that_is_away(
    checking: Broadcast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError

    monkeypatch.setattr(tending, "select", away)
    monkeypatch.setattr(tasks.retention, "purge", away)
    monkeypatch.setattr(work.connection, "close", lambda: None)

    tasks.tend()
    tasks.sweep()
    tasks.purge_lists()

    assert caplog.text.count("deferred") == 3


def test_it_tells_of_every_change_of_state(acme: Cast, now: datetime) -> None:
    EventSubscription.objects.create(
        tenant_id=acme.tenant.id, url="https://example.org", sealed_secrets=b""
    )
    template(acme)
    broadcast = draft(acme, people(1))
    lifecycle.start(**ids(broadcast), now=now)
    tasks.tend()
    lifecycle.pause(**ids(broadcast), now=now)

    told = OutgoingEvent.objects.filter(type="broadcast.updated").order_by("id")

    assert [event.data["state"] for event in told] == ["CHECKING", "RUNNING", "PAUSED"]
    assert told[0].data["broadcast_id"] == str(broadcast.id)
