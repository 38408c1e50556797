"""What hits every send stops the sending: no message is lost for it, none is sent twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Thread
from threading import enumerate as enumerate_threads
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from django.test import Client

from lib import brake
from messaging import transitions
from messaging.delivery.queues import SENDS_BRAKE
from messaging.delivery.sender import Sender
from messaging.models import Message, PendingSend
from tests.conftest import Cast
from tests.delivery.outgoing import Platform, accept, queue
from workspaces.channel_facts import AcceptedSend


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between trials."""
    monkeypatch.setattr(brake, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(brake, "LONGEST_PAUSE", 0.01)


@contextmanager
def renamed(table: str, column: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME {column} TO elsewhere")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE {table} RENAME elsewhere TO {column}")


def statuses() -> set[str]:
    return set(Message.objects.values_list("status", flat=True))


def ends(sender: Sender, *, seconds: float) -> bool:
    """Close a sender in a thread; tell whether it has ended after so long."""
    closing = Thread(target=sender.close, daemon=True)
    closing.start()
    closing.join(seconds)
    return not closing.is_alive()


def work_until_accepted(sender: Sender, wait_for) -> None:
    def is_done() -> bool:
        sender.work()
        return statuses() == {"accepted"}

    wait_for(is_done)
    sender.settle()


# What the claim needs, what the mark needs, what only the outcome needs.
@pytest.mark.parametrize(
    ("table", "column"),
    [("outbox", "expires_at"), ("outbox", "lease_until"), ("messages", "delivery_day")],
)
def test_it_loses_no_message_while_a_column_is_missing(
    acme: Cast,
    globex: Cast,
    now: datetime,
    platform: Platform,
    sender: Sender,
    wait_for,
    table: str,
    column: str,
) -> None:
    ids = [queue(cast, now).id for cast in (acme, globex) for _ in range(6)]

    with renamed(table, column):
        for _ in range(3):
            sender.work()
        assert statuses() <= {"queued", "sending"}
        # Marks and outcomes are written by threads of their own.
        wait_for(lambda: "stopped" in Client().get("/healthz").json())
        stopped = Client().get("/healthz").json()["stopped"]
        assert stopped == {"sends": "ProgrammingError: UndefinedColumn"}

    work_until_accepted(sender, wait_for)
    assert sorted(map(UUID, platform.ids)) == sorted(ids)


def test_it_stops_where_every_send_fails_in_a_way_nobody_thought_of(
    acme: Cast, globex: Cast, now: datetime, platform: Platform, sender: Sender, wait_for
) -> None:
    for cast in (acme, globex):
        for _ in range(20):
            queue(cast, now)
    platform.answer = lambda _: TypeError("a bug")

    sender.work()
    sender.settle()

    lost = Message.objects.filter(status="unknown")
    assert 5 <= lost.count() <= 12  # the request may have left, so these are not repeated
    assert Message.objects.filter(status="queued").count() == 40 - lost.count()
    assert SENDS_BRAKE.is_on
    lost.delete()
    platform.answer = accept
    work_until_accepted(sender, wait_for)
    assert not SENDS_BRAKE.is_on


@pytest.mark.parametrize(
    ("table", "column"), [("outbox", "lease_until"), ("messages", "delivery_day")]
)
def test_a_sender_that_can_write_nothing_down_ends_all_the_same(
    acme: Cast,
    globex: Cast,
    now: datetime,
    platform: Platform,
    sender: Sender,
    wait_for,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    table: str,
    column: str,
) -> None:
    monkeypatch.setattr("messaging.delivery.sender.CLOSE_SECONDS", 0.3)
    for cast in (acme, globex):
        for _ in range(6):
            queue(cast, now)
    ending = Sender()
    with renamed(table, column):
        ending.work()
        has_ended = ends(ending, seconds=20)
    assert has_ended
    assert "whatsapp sends left without an outcome" in caplog.text

    assert_none_is_posted_twice(now, platform, sender, wait_for)


def test_a_sender_ends_while_the_database_answers_nothing(
    acme: Cast,
    globex: Cast,
    now: datetime,
    platform: Platform,
    sender: Sender,
    wait_for,
    monkeypatch: pytest.MonkeyPatch,
    settings,
) -> None:
    monkeypatch.setattr("lib.work.TURN_SECONDS", 0.5)
    for name in ("CLOSE", "THREADS"):
        monkeypatch.setattr(f"messaging.delivery.sender.{name}_SECONDS", 0.3)
    settings.SIGMA_SEND_CONCURRENCY = 12  # the turn claims no more while these wait
    for cast in (acme, globex):
        for _ in range(6):
            queue(cast, now)
    ending = Sender()
    known = {**connection.get_connection_params(), "cursor_factory": None}
    wanted = {key: known.get(key) for key in ("host", "port", "user", "password", "dbname")}
    with psycopg.connect(**wanted) as other:

        def lock(request: dict) -> AcceptedSend:
            other.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
            return accept(request)

        platform.answer = lock
        ending.work()
        has_ended = ends(ending, seconds=10)
    assert has_ended
    assert platform.ids

    platform.answer = accept
    wait_for(lambda: "ending" not in {thread.name for thread in enumerate_threads()})
    assert_none_is_posted_twice(now, platform, sender, wait_for)


def test_a_sender_ends_where_the_last_outcome_comes_at_the_last_moment(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sender, "settle", lambda _, *, seconds: 1)
    Sender().close()


def assert_none_is_posted_twice(
    now: datetime, platform: Platform, sender: Sender, wait_for
) -> None:
    """Let others go on where a sender left its messages."""
    SENDS_BRAKE.forget()
    leased = PendingSend.objects.filter(lease_until__isnull=False)
    leased.update(lease_until=now)  # their leases are over
    transitions.expire(now=now)
    PendingSend.objects.update(due_at=now)

    def is_over() -> bool:
        sender.work()
        return statuses() <= {"accepted", "unknown"}

    wait_for(is_over)
    sender.settle()
    posted = set(map(UUID, platform.ids))
    assert len(posted) == len(platform.ids)  # none twice
    lost = Message.objects.exclude(pk__in=posted)
    assert set(lost.values_list("status", flat=True)) <= {"unknown"}
