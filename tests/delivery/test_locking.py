"""Whoever changes many messages locks them in one order, so nobody waits in a circle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from django.db import connection, connections, transaction

from lib.ids import uuid7
from messaging import erasure, optouts, transitions
from messaging.attempts import Attempt, GivenBack
from messaging.broadcasts import waiting
from messaging.delivery.claims import Claims
from messaging.delivery.recording import Outcome, record
from messaging.models import (
    Broadcast,
    BroadcastRecipient,
    Contact,
    Message,
    OptOutSource,
    PendingSend,
)
from tests.conftest import Cast
from tests.delivery.outgoing import become, pending, queue
from workspaces.channel_facts import AcceptedSend

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
            queue(
                cast,
                now,
                id=message_id,
                contact=self.ann,
                type="template",
                broadcast_id=self.broadcast.id,
                content=marketing,
                attempts=1,
            )
            BroadcastRecipient.objects.create(
                tenant_id=cast.tenant.id,
                broadcast_id=self.broadcast.id,
                state="QUEUED",
                position=COUNT - self.ids.index(message_id),
                digest=str(message_id),
                sealed=b"x",
                message_id=message_id,
            )

    def outcomes(self) -> list[Outcome]:
        """One is taken, the next given back, the last first."""
        made = []
        for n, message_id in enumerate(reversed(self.ids)):
            attempt = Attempt(
                message_id, self.cast.tenant.id, self.cast.workspace.id, None, None, 1, None
            )
            made.append(
                Outcome(attempt, GivenBack() if n % 2 else AcceptedSend(f"w.{n}"), self.now)
            )
        return made


def suspend(scene: Scene) -> None:
    waiting.suspend(scene.broadcast)


def release(scene: Scene) -> None:
    waiting.release(scene.broadcast, now=scene.now)


def cancel_broadcast(scene: Scene) -> None:
    broadcast = scene.broadcast
    transitions.cancel_broadcast(
        tenant_id=broadcast.tenant_id, broadcast_id=broadcast.id, now=scene.now
    )


def take_back(scene: Scene) -> None:
    waiting.take_back_failed(scene.broadcast, codes=None, now=scene.now)


def cancel_marketing(scene: Scene) -> None:
    transitions.cancel_marketing([(scene.cast.tenant.id, scene.ann.id)])


def record_both(scene: Scene) -> None:
    record(scene.outcomes(), now=scene.now, chance=Random(1))


def erase(scene: Scene) -> None:
    erasure.erase(scene.cast.tenant.id)


def mark(scene: Scene) -> None:
    transitions.mark([outcome.attempt for outcome in scene.outcomes()], seconds=9)


BEFORE = {take_back: "failed", record_both: "sending"}


@pytest.mark.parametrize(
    "change",
    [suspend, release, cancel_broadcast, take_back, cancel_marketing, mark, record_both, erase],
)
def test_it_never_waits_in_a_circle_with_whoever_else_changes_messages(
    acme: Cast, globex: Cast, now: datetime, wait_for, change: Callable[[Scene], None]
) -> None:
    scene = Scene(acme, now)
    become(Message.objects.all(), BEFORE.get(change, "queued"))
    if change is release:
        PendingSend.objects.update(due_at=None)
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


@pytest.mark.parametrize("blocked", ["message", "outbox"])
def test_whoever_claims_waits_for_nobody(
    acme: Cast, globex: Cast, now: datetime, blocked: str
) -> None:
    message = queue(acme, now, expires_at=now)  # it would be given up
    theirs = queue(globex, now, expires_at=now)
    found: list[str] = []

    def claim() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 100")
        Claims(chance=Random(1)).claim(9, {}, most=9, now=now)
        found.extend(Message.objects.order_by("id").values_list("status", flat=True))
        connections.close_all()

    with transaction.atomic():
        if blocked == "message":
            lock(message.pk)
        else:
            PendingSend.objects.select_for_update().get(pk=message.pk)
        other = threading.Thread(target=claim)
        other.start()
        other.join()
    assert found == ["queued", "failed"]

    Claims(chance=Random(1)).claim(9, {}, most=9, now=now)
    message.refresh_from_db()
    assert (message.status, pending(message), pending(theirs)) == ("failed", None, None)


def test_what_is_given_back_while_its_mark_is_being_committed_is_queued_again(
    acme: Cast, globex: Cast, now: datetime, wait_for
) -> None:
    """A sender loses its connection while the server commits, which it does all the same."""
    message = queue(acme, now, attempts=1, due_at=now + timedelta(seconds=20))
    attempt = Attempt(message.id, acme.tenant.id, acme.workspace.id, None, None, 1, None)

    def give_back() -> None:
        record([Outcome(attempt, GivenBack(), now)], now=now, chance=Random(1))
        connections.close_all()

    def is_blocked() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(cursor.fetchone()[0])

    with transaction.atomic():
        assert transitions.mark([attempt], seconds=90)
        giving = threading.Thread(target=give_back)
        giving.start()
        wait_for(is_blocked)
    giving.join(120)
    message.refresh_from_db()
    waits = pending(message)
    assert waits is not None
    assert (message.status, waits.due_at, waits.lease_until) == ("queued", now, None)
    (again,) = Claims(chance=Random(1)).claim(10, {}, most=100, now=now + timedelta(seconds=1))
    assert transitions.mark([again.attempt], seconds=90) == {message.id}


@pytest.mark.parametrize("is_waiting", [False, True], ids=["afterwards", "meanwhile"])
@pytest.mark.parametrize("is_alias", [False, True], ids=["contact", "alias"])
def test_no_marketing_that_was_claimed_leaves_after_a_stop_that_found_it_locked(
    acme: Cast, globex: Cast, now: datetime, wait_for, is_waiting: bool, is_alias: bool
) -> None:
    """Who stops it waits for no message; so whoever marks one looks, once it is theirs."""
    content = {"template": {"category": "MARKETING"}}
    ours, theirs = (queue(cast, now, type="template", content=content) for cast in (acme, globex))
    other = queue(acme, now, contact=ours.contact, type="template")  # no marketing
    person = ours.contact_id
    if is_alias:
        person = Contact.objects.create(tenant_id=acme.tenant.id).id
        Contact.objects.filter(pk=ours.contact_id).update(merged_into=person)
    claimed = Claims(chance=Random(1)).claim(9, {}, most=9, now=now)
    attempts = [one.attempt for one in claimed]
    assert {one.message_id for one in attempts} == {ours.id, theirs.id, other.id}
    marked: list[set[UUID]] = []

    def mark_them() -> None:
        with transaction.atomic():
            marked.append(transitions.mark(attempts, seconds=90))
        connections.close_all()

    def stop() -> None:
        optouts.opt_out(tenant_id=acme.tenant.id, contact_ids=[person], source=OptOutSource.WORD)
        connections.close_all()

    def is_blocked() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(cursor.fetchone()[0]) or not marking.is_alive()

    marking, stopping = (threading.Thread(target=work) for work in (mark_them, stop))
    with transaction.atomic():
        lock(ours.id)
        if is_waiting:
            marking.start()
            wait_for(is_blocked)
        stopping.start()
        stopping.join(120)
    if not is_waiting:
        marking.start()
    marking.join(120)

    assert marked == [{theirs.id, other.id}]
    ours.refresh_from_db()
    assert (ours.status, pending(ours) is None) == ("queued", False)
    back = [Outcome(one, GivenBack(), now) for one in attempts if one.message_id == ours.id]
    record(back, now=now, chance=Random(1))
    later = now + timedelta(seconds=1)
    assert Claims(chance=Random(1)).claim(9, {}, most=9, now=later) == []
    ours.refresh_from_db()
    assert (ours.status, pending(ours)) == ("failed", None)
    assert [error["code"] for error in ours.delivery["errors"]] == [131050]
