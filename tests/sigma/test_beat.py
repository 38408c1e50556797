"""The schedule goes on whatever a host's clock says, and every process is heard of."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

import pytest
from celery import Task
from django.db import connection
from django.test import Client

from connectors.events import tasks as events
from connectors.whatsapp import tasks as callbacks
from connectors.whatsapp.models import WebhookDelivery
from lib import clock, heartbeat
from lib.heartbeat import LATE_SECONDS, ProcessHeartbeat
from lib.wakeups import broker
from messaging import tasks as numbers
from messaging.broadcasts import tasks as lists
from sigma import beat
from sigma import health as health_view
from sigma.beat import MOST_WAITING, SteadyScheduler
from sigma.celery import app
from sigma.health import REQUIRED
from tests.conftest import Cast
from tests.whatsapp.conftest import Web, web
from workspaces.models import ApiKey

__all__ = ["web"]

pytestmark = pytest.mark.django_db

QUEUES = ("ingest", "send", "broadcast", "events", "maintenance")


class Ahead(datetime):
    """A host's clock that is forty days ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        """Return the wrong time."""
        return datetime.now(tz) + timedelta(days=40)


@pytest.fixture
def scheduler() -> Iterator[SteadyScheduler]:
    """Return a scheduler that has just begun, beside empty queues."""
    broker().delete(*QUEUES)
    yield SteadyScheduler(app=app, lazy=False)
    broker().delete(*QUEUES)


def queued() -> list[dict]:
    return [json.loads(one) for queue in QUEUES for one in broker().lrange(queue, 0, -1)]


def names() -> list[str]:
    return sorted(one["headers"]["task"] for one in queued())


def test_it_sends_everything_at_once_and_nothing_that_expires(scheduler: SteadyScheduler) -> None:
    pause = scheduler.tick()

    assert names() == sorted(entry["task"] for entry in app.conf.beat_schedule.values())
    assert {one["headers"]["expires"] for one in queued()} == {None}
    assert pause <= 1.0


def test_it_goes_on_though_the_clock_came_back(
    scheduler: SteadyScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beat.time, "monotonic", lambda: 1_000.0)
    with monkeypatch.context() as ahead:
        ahead.setattr("celery.app.base.datetime", Ahead)
        ahead.setattr("celery.beat.datetime", Ahead, raising=False)
        scheduler.tick()
    broker().delete(*QUEUES)

    monkeypatch.setattr(beat.time, "monotonic", lambda: 1_001.5)
    scheduler.tick()

    assert names() == ["broadcast.sweep", "send.sweep"]


def test_it_adds_nothing_to_a_queue_that_nobody_empties(scheduler: SteadyScheduler) -> None:
    broker().rpush("ingest", *(["{}"] * MOST_WAITING))

    scheduler.tick()

    assert broker().llen("ingest") == MOST_WAITING
    assert broker().llen("maintenance") > 0


def test_it_says_once_that_the_broker_is_away(
    scheduler: SteadyScheduler, settings, monkeypatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    broker.cache_clear()
    for _ in range(3):
        scheduler._due.clear()
        scheduler.tick()
    broker.cache_clear()

    lines = [r.getMessage() for r in caplog.records if r.name == "sigma.whatsapp.beat"]
    assert lines == ["whatsapp schedule: tasks are not sent"]


def health() -> dict:
    return Client().get("/healthz").json()


@pytest.fixture
def all_heard() -> None:
    for role in REQUIRED:
        ProcessHeartbeat(role).beat()


def make_silent(role: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE heartbeats SET heard_at = clock_timestamp() - make_interval(secs => %s) "
            "WHERE role = %s",
            [LATE_SECONDS + 1, role],
        )


def test_it_is_healthy_while_every_process_is_heard_of(all_heard: None) -> None:
    answer = health()

    assert (answer["status"], set(answer["processes"])) == ("healthy", set(REQUIRED))
    assert answer["processes"]["beat"][0]["status"] == "ok"


@pytest.mark.parametrize("role", REQUIRED)
def test_it_is_degraded_where_one_is_silent(all_heard: None, role: str) -> None:
    make_silent(role)

    answer = health()

    assert answer["status"] == "degraded"
    assert answer["processes"][role][0]["status"] == "late"


def test_it_is_degraded_where_one_was_never_heard_of() -> None:
    ProcessHeartbeat("web").beat()

    answer = health()

    assert (answer["status"], answer["processes"]["beat"]) == ("degraded", [])


@pytest.mark.parametrize("hangs", [False, True])
def test_its_stop_waits_for_a_beat_and_not_for_a_database_that_hangs(
    monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    beats, begun, over = ProcessHeartbeat("web"), threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def beat() -> None:
        threads.append(threading.current_thread())
        begun.set()
        over.wait(None if hangs else 0.2)

    monkeypatch.setattr(beats, "_beat", beat)
    if hangs:
        monkeypatch.setattr(heartbeat, "LAST_BEAT_SECONDS", 0.1)
    beats.start()
    begun.wait()
    beats.stop()

    assert [thread.is_alive() for thread in threads] == [hangs]
    over.set()
    threads[0].join()


def test_it_hears_of_beat_while_it_ticks(scheduler: SteadyScheduler) -> None:
    scheduler.tick()

    assert [one["status"] for one in health()["processes"]["beat"]] == ["ok"]


def test_it_reports_a_clock_that_is_wrong(
    all_heard: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(clock, "datetime", Ahead)
    with caplog.at_level(logging.ERROR):
        ProcessHeartbeat("sending").beat()

    answer = health()

    assert answer["status"] == "degraded"
    assert answer["processes"]["sending"][0]["clock_ahead"] == pytest.approx(40 * 86_400, abs=5)
    assert "clocks of this host and of the database differ" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_it_files_callbacks_under_the_right_day_whatever_the_hosts_clock_says(
    acme: Cast, globex: Cast, web: Web, no_wake_ups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "datetime", Ahead)
    clock.host_ahead()

    for cast in (acme, globex):
        assert web.post(cast, b"{}").status_code == 200

    moments = WebhookDelivery.objects.values_list("received_at", flat=True)
    assert len(moments) == 2
    assert all(abs(moment - clock.database_now()) < timedelta(hours=1) for moment in moments)


@pytest.fixture
def host_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host forty days ahead, which knows it."""
    monkeypatch.setattr(clock, "datetime", Ahead)
    monkeypatch.setattr("django.utils.timezone.now", lambda: Ahead.now(UTC))
    clock.host_ahead()


def test_a_process_knows_its_clock_once_it_meets_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock, "datetime", Ahead)

    def meet() -> None:
        connection.ensure_connection()
        connection.close()

    thread = threading.Thread(target=meet)
    thread.start()
    thread.join()

    assert abs(clock.now() - clock.database_now()) < timedelta(hours=1)


def test_it_knows_keys_that_expire_by_the_databases_clock(
    acme: Cast, globex: Cast, host_ahead: None, client: Client
) -> None:
    hour = timedelta(hours=1)
    ends = {acme: clock.database_now() + hour, globex: clock.database_now() - hour}
    for cast, end in ends.items():
        ApiKey.objects.filter(tenant_id=cast.tenant.id).update(expires_at=end)

    answers = {
        cast: client.post(
            "/graphql",
            {"query": "{ workspaces { id } }"},
            content_type="application/json",
            headers={"Authorization": f"Bearer {cast.api_key}"},
        ).json()
        for cast in ends
    }

    assert "errors" not in answers[acme], answers
    assert answers[globex]["errors"]


@pytest.mark.parametrize(
    "purge",
    [callbacks.purge, lists.purge_lists, events.purge, numbers.forget_recipients],
)
def test_it_purges_nothing_though_it_knows_that_its_clock_is_wrong(
    host_ahead: None, purge: Task, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        purge()

    (refused,) = [one for one in caplog.records if "refused" in one.getMessage()]
    assert "differ" in refused.__dict__["error"]


@pytest.mark.parametrize("so_far", [0, 5])
@pytest.mark.parametrize(("asked_for", "ahead"), [(0, 0), (0, 40), (0, -40), (8, 40), (8, -40)])
def test_a_clock_is_found_wrong_by_what_the_answer_leaves_possible(
    so_far: int, asked_for: int, ahead: int
) -> None:
    moment, before = datetime(2026, 11, 30, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC)
    before += timedelta(seconds=ahead - asked_for / 2)
    after = before + timedelta(seconds=asked_for)

    found = clock.ahead_of(
        moment, before=before, after=after, so_far=timedelta(seconds=so_far)
    ).total_seconds()

    assert abs(found - ahead) <= asked_for / 2


def test_an_answer_that_took_long_makes_no_clock_wrong() -> None:
    before = datetime(2026, 11, 30, tzinfo=UTC)
    late = before + timedelta(seconds=9)

    for moment in (before, late):
        facts = {"before": before, "after": late, "so_far": timedelta()}
        assert clock.ahead_of(moment, **facts) == timedelta()


def test_the_engines_are_asked_once_for_all_who_ask_at_a_time(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []
    database = health_view._database

    def count() -> str:
        asked.append(None)
        return database()

    monkeypatch.setattr(health_view, "_database", count)
    monkeypatch.setattr("sigma.threads.HEALTH_SECONDS", 60.0)
    # Whoever asks first decides nothing for the others.
    hosts = ["evil.example", *["127.0.0.1"] * 20]
    answers = [web.client.get("/healthz", headers={"Host": host}) for host in hosts]

    assert len(asked) == 1
    assert {answer.status_code for answer in answers} == {answers[0].status_code} <= {200, 503}
    assert answers[0].json()["database"] == "ok"
    assert web.client.head("/healthz").content == b""
