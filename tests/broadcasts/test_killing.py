"""A feeder that is killed again and again: everybody is written to once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from datetime import datetime

import pytest
from django.db import connection

from messaging.broadcasts import feeding, lifecycle, tending
from messaging.broadcasts.queries import counts
from messaging.models import Broadcast, BroadcastRecipient, Message
from tests.broadcasts.conftest import deliver_all, draft, ids, people, start, template, tend, turn
from tests.conftest import Cast

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = 1_000


class Feeder:
    """A process that feeds for as long as it lives, a few rows at a time: a blow falls anywhere."""

    def __init__(self) -> None:
        self._pid = os.fork()
        if not self._pid:
            inherited, connection.connection = connection.connection, None
            try:
                while True:
                    tending.tend()
            finally:
                os._exit(1 if inherited else 2)  # the parent's connection must not be closed

    def kill(self) -> None:
        """End it at once, whatever it does."""
        os.kill(self._pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1]) == -signal.SIGKILL


def test_it_writes_to_everybody_once_however_often_it_is_killed(
    acme: Cast, now: datetime, wait_for, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "window", lambda broadcast: PEOPLE)
    monkeypatch.setattr(feeding, "CHUNK", 15)
    monkeypatch.setattr(tending, "PAUSE_SECONDS", 0.0)
    template(acme)
    broadcast = draft(acme, people(PEOPLE))
    lifecycle.start(**ids(broadcast), now=now)

    feeders = [Feeder(), Feeder()]
    for blow in range(1, 8):
        wait_for(lambda blow=blow: Message.objects.count() >= blow * PEOPLE / 8)
        feeders.pop(0).kill()
        feeders.append(Feeder())
    wait_for(lambda: Message.objects.count() == PEOPLE)
    for process in feeders:
        process.kill()

    texts = Counter(Message.objects.values_list("text", flat=True))
    assert texts == Counter(f"Hello Person {n}!" for n in range(PEOPLE))
    rows = BroadcastRecipient.objects.filter(state="QUEUED")
    linked = set(rows.values_list("message_id", flat=True))
    assert linked == set(Message.objects.values_list("id", flat=True))
    assert counts(broadcast).queued == PEOPLE


def test_a_row_whose_mark_was_lost_is_recognised_by_its_reference(
    acme: Cast, now: datetime
) -> None:
    template(acme)
    broadcast = start(draft(acme, people(3)), now)
    before = set(Message.objects.values_list("id", flat=True))
    BroadcastRecipient.objects.update(state="PENDING", message_id=None)

    tend(broadcast, now)

    assert set(Message.objects.values_list("id", flat=True)) == before
    assert not BroadcastRecipient.objects.exclude(message_id__in=before).exists()


def test_it_commits_messages_and_marks_together_or_not_at_all(
    running: Broadcast,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    deliver_all(running)
    monkeypatch.setattr(feeding, "mark", lambda *_: 1 / 0)

    assert not turn(now)

    assert "ZeroDivisionError" in caplog.text
    assert Message.objects.count() == 10
