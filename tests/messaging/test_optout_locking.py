"""Whoever records what people say about marketing takes them in one order, and waits for no message
while they hold a person: nobody waits in a circle.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from django.db import connection, connections, transaction

from lib.ids import uuid7
from messaging import optouts
from messaging.attempts import Attempt
from messaging.delivery.recording import Outcome, record
from messaging.models import Contact, Message, OptOut, OptOutSource
from messaging.optouts import Consent
from tests.conftest import Cast
from tests.delivery.outgoing import become, queue
from workspaces.channel_errors import Rejected

pytestmark = pytest.mark.django_db(transaction=True)
BLOCKED = "SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted"


@dataclass
class Scene:
    """Two people, in the order of their ids, who stopped marketing once."""

    cast: Cast
    now: datetime
    people: list[UUID]

    def consents(self, *given: bool) -> list[Consent]:
        """What they say now, the last of them first."""
        tenant_id, word = self.cast.tenant.id, OptOutSource.WORD
        return [
            Consent(tenant_id, person, word, self.now + timedelta(seconds=n), is_given)
            for n, (person, is_given) in enumerate(
                zip(reversed(self.people), given, strict=True), start=1
            )
        ]


@pytest.fixture
def scene(acme: Cast, globex: Cast, now: datetime) -> Scene:
    people = sorted(uuid7() for _ in range(2))
    for person in people:
        Contact.objects.create(id=person, tenant_id=acme.tenant.id)
        OptOut.objects.create(
            tenant_id=acme.tenant.id, contact_id=person, source="WORD", said_at=now
        )
    return Scene(acme, now, people)


def stop(scene: Scene) -> None:
    optouts.record(scene.consents(False, False))


def resume(scene: Scene) -> None:
    optouts.record(scene.consents(True, True))


def stop_and_resume(scene: Scene) -> None:
    optouts.record(scene.consents(False, True))


def hear_from_the_platform(scene: Scene) -> None:
    """Two sends are refused, since their people want no marketing."""
    outcomes = []
    for person in reversed(scene.people):
        message = queue(scene.cast, scene.now, attempts=1)
        become(Message.objects.filter(pk=message.pk), "sending")
        attempt = Attempt(
            message.id, scene.cast.tenant.id, scene.cast.workspace.id, person, None, 1, None
        )
        outcomes.append(Outcome(attempt, Rejected(131050, "They stopped it."), scene.now))
    record(outcomes, now=scene.now, chance=Random(1))


@pytest.mark.parametrize("change", [stop, resume, stop_and_resume, hear_from_the_platform])
def test_they_are_taken_in_the_order_of_their_ids(
    scene: Scene, wait_for: Callable[..., None], change: Callable[[Scene], None]
) -> None:
    with transaction.atomic():
        lock(scene.people[0])  # somebody who goes by the ids is at the first …
        other = Other(lambda: change(scene))
        wait_for(other.is_blocked)
        lock(scene.people[1])  # … and goes on to the next

    assert other.errors() == []


def test_a_stop_waits_for_no_message_that_somebody_has_in_hand(
    scene: Scene, wait_for: Callable[..., None]
) -> None:
    """Whoever records a send has its message locked, and may then hear that its person stopped."""
    tenant_id, person = scene.cast.tenant.id, Contact.objects.create(tenant_id=scene.cast.tenant.id)
    OptOut.objects.create(
        tenant_id=tenant_id,
        contact_id=person.id,
        source="API",
        said_at=scene.now,
        lifted_at=scene.now,
    )
    marketing = {"template": {"category": "MARKETING"}}
    message = queue(scene.cast, scene.now, contact=person, type="template", content=marketing)

    def opt_out() -> None:
        optouts.opt_out(tenant_id=tenant_id, contact_ids=[person.id], source=OptOutSource.API)

    with transaction.atomic():
        Message.objects.select_for_update().get(pk=message.pk)
        other = Other(opt_out)
        wait_for(other.is_blocked)
        OptOut.objects.select_for_update().filter(contact_id=person.id).first()
        transaction.set_rollback(True)

    assert other.errors() == []
    assert optouts.opted_out(tenant_id=tenant_id, contact_ids=[person.id]) == {person.id}


class Other(threading.Thread):
    """Somebody who does something in a transaction of their own, at the same time."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self._work, self._pid, self._errors = work, 0, list[Exception]()
        self.start()

    def run(self) -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                self._pid = cursor.fetchone()[0]
                self._work()
        except Exception as error:
            self._errors.append(error)
        finally:
            connections.close_all()

    def is_blocked(self) -> bool:
        """Whether they wait for somebody; or they are done."""
        with connection.cursor() as cursor:
            cursor.execute(BLOCKED, [self._pid])
            return bool(cursor.fetchone()[0]) or not self.is_alive()

    def errors(self) -> list[Exception]:
        """Return what went wrong, once they are done."""
        self.join()
        return self._errors


def lock(person: UUID) -> None:
    OptOut.objects.select_for_update().filter(contact_id=person).first()
