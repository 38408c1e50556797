"""Whoever changes many messages locks them in one order, so nobody waits in a circle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from random import Random
from uuid import UUID

import pytest
from django.db import connection, connections, transaction

from lib.ids import uuid7
from messaging import erasure, withdrawing
from messaging.broadcasts import waiting
from messaging.delivery.attempts import Attempt, GivenBack
from messaging.delivery.recording import Outcome, record
from messaging.models import Broadcast, BroadcastRecipient, Contact, Message
from tests.conftest import Cast
from tests.delivery.outgoing import queue
from workspaces.channel_facts import Accepted

pytestmark = pytest.mark.django_db(transaction=True)
BLOCKED = "SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted"
COUNT = 8


class Scene:
    """A broadcast of a cast's, whose messages lie in the table against the order of their ids."""

    def __init__(self, cast: Cast, now: datetime) -> None:
        self.cast, self.now = cast, now
        self.broadcast = Broadcast.objects.create(
            tenant_id=cast.tenant.id, workspace_id=cast.workspace.id, state="RUNNING"
        )
        self.ann = Contact.objects.create(tenant_id=cast.tenant.id, display_name="Ann")
        self.ids = sorted(uuid7() for _ in range(COUNT))
        marketing = {"template": {"category": "MARKETING"}}
        for message_id in reversed(self.ids):
            made = queue(
                cast, now, contact=self.ann, type="template", broadcast_id=self.broadcast.id,
                content=marketing, attempts=1,
            )  # fmt: skip
            Message.objects.filter(pk=made.pk).update(id=message_id)
            BroadcastRecipient.objects.create(
                tenant_id=cast.tenant.id, broadcast_id=self.broadcast.id, state="QUEUED",
                position=COUNT - self.ids.index(message_id), digest=str(message_id), sealed=b"x",
                message_id=message_id,
            )  # fmt: skip

    def outcomes(self) -> list[Outcome]:
        """One is taken, the next given back, the last first."""
        made = []
        for n, message_id in enumerate(reversed(self.ids)):
            attempt = Attempt(
                message_id, self.cast.tenant.id, self.cast.workspace.id, None, None, 1, None
            )
            made.append(Outcome(attempt, GivenBack() if n % 2 else Accepted(f"w.{n}"), self.now))
        return made


def hold(scene: Scene) -> None:
    waiting.hold(scene.broadcast)


def let_go(scene: Scene) -> None:
    waiting.let_go(scene.broadcast, now=scene.now)


def withdraw(scene: Scene) -> None:
    waiting.withdraw(scene.broadcast, now=scene.now)


def withdraw_owed(scene: Scene) -> None:
    waiting.withdraw_owed(scene.broadcast, now=scene.now)


def take_back(scene: Scene) -> None:
    waiting.take_back_failed(scene.broadcast, codes=None, now=scene.now)


def withdraw_marketing(scene: Scene) -> None:
    withdrawing.withdraw_marketing([(scene.cast.tenant.id, scene.ann.id)])


def record_both(scene: Scene) -> None:
    record(scene.outcomes(), now=scene.now, chance=Random(1))


def erase(scene: Scene) -> None:
    erasure.erase(scene.cast.tenant.id)


BEFORE: dict[Callable[[Scene], None], dict[str, object]] = {
    let_go: {"next_attempt_at": None},
    take_back: {"status": "failed", "next_attempt_at": None},
    record_both: {"status": "sending", "next_attempt_at": None},
}


@pytest.mark.parametrize(
    "change",
    [
        hold, let_go, withdraw, withdraw_owed, take_back, withdraw_marketing, record_both, erase,
    ],
)  # fmt: skip
def test_it_never_waits_in_a_circle_with_whoever_else_changes_messages(
    acme: Cast, globex: Cast, now: datetime, wait_for, change: Callable[[Scene], None]
) -> None:
    scene = Scene(acme, now)
    Message.objects.update(**BEFORE.get(change, {"status": "queued"}))
    errors: list[Exception] = []
    pid: list[int] = []

    def run() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pid.append(cursor.fetchone()[0])
                change(scene)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    def is_blocked() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(BLOCKED, [pid[0]] if pid else [0])
            return bool(cursor.fetchone()[0]) or not other.is_alive()

    other = threading.Thread(target=run)
    with transaction.atomic():
        lock(scene.ids[0])  # somebody who goes by the ids is at the first …
        other.start()
        wait_for(is_blocked)
        for message_id in scene.ids[1:]:  # … and goes on to the others
            lock(message_id)
    other.join()

    assert errors == []


def lock(message_id: UUID) -> None:
    Message.objects.select_for_update().filter(pk=message_id).first()
