"""The process that sends: its threads, and what it does while an engine is away."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import psycopg
from django.conf import settings as django_settings
from django.db import connection

from lib import wakeups
from messaging import transitions
from messaging.delivery import tasks
from messaging.delivery.queues import SENDS
from messaging.delivery.sender import Sender
from messaging.models import Message, ReadMark
from tests.conftest import Cast
from tests.delivery.outgoing import Platform, accept, heard, pending, queue
from workspaces import keys
from workspaces.channel_facts import AcceptedSend
from workspaces.models import RawKey


def cut_connections(request: dict) -> AcceptedSend:
    """Take a message while the database closes every connection."""
    known = {**connection.get_connection_params(), "cursor_factory": None}
    wanted = {key: known.get(key) for key in ("host", "port", "user", "password", "dbname")}
    with psycopg.connect(**wanted, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    return accept(request)


def test_it_sends_and_keeps_outcomes_while_the_database_is_away(
    acme: Cast, globex: Cast, now: datetime, platform: Platform, sender: Sender, monkeypatch
) -> None:
    monkeypatch.setattr("messaging.delivery.recording.AWAY_SECONDS", 0.05)
    ids = [queue(cast, now).id for cast in (acme, globex)]
    assert sender.work() == 2
    sender.settle()
    platform.answer = cut_connections
    ids.append(queue(acme, now).id)
    sender.work()
    sender.settle()
    connection.close()

    assert sorted(map(UUID, platform.ids)) == sorted(ids)
    assert set(Message.objects.values_list("status", "attempts")) == {("accepted", 1)}


def test_it_claims_nothing_while_the_broker_is_away(
    acme: Cast, now: datetime, platform: Platform, sender: Sender, settings, monkeypatch
) -> None:
    message = queue(acme, now)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    wakeups.broker.cache_clear()
    assert sender.work() == 0
    message.refresh_from_db()
    assert (message.status, message.attempts, platform.posted) == ("queued", 0, [])

    settings.REDIS_URL = django_settings.CELERY_BROKER_URL
    wakeups.broker.cache_clear()
    assert sender.work() == 1


def test_it_is_called_for_what_is_due_and_only_once(acme: Cast, now: datetime, db: None) -> None:
    tasks.sweep()
    assert not wakeups.broker().exists(SENDS.key())
    queue(acme, now)
    tasks.sweep()
    tasks.sweep()

    assert wakeups.broker().exists(SENDS.key())
    assert wakeups.broker().llen("send") == 1


def test_it_does_not_know_what_became_of_a_dead_senders_message(
    acme: Cast, now: datetime, db: None, deliver
) -> None:
    lost = queue(acme, now, status="sending", lease_until=now, attempts=1)
    mine = queue(acme, now, status="sending", attempts=1)

    assert (transitions.expire(now=now), transitions.expire(now=now), deliver()) == (1, 0, 0)
    lost.refresh_from_db()
    assert (lost.status, lost.delivery["unknown_at"]) == ("unknown", now.isoformat())
    assert (pending(lost), pending(mine) is None) == (None, False)  # nobody sends it again


def test_a_read_mark_that_cannot_be_made_stops_no_message(
    acme: Cast, now: datetime, platform: Platform, sender: Sender
) -> None:
    mark_for = heard(acme, now, "wamid.READ")
    ReadMark.objects.create(
        tenant_id=acme.tenant.id,
        workspace_id=acme.workspace.id,
        message_id=mark_for.id,
        next_attempt_at=now,
    )
    RawKey.objects.update(wrapped=b"")
    keys.forget()
    message = queue(acme, now)

    assert sender.work() == 1
    sender.settle()
    assert platform.ids == [str(message.id)]
