"""What arrived before the end is kept before the end, also where the inbox was in the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import chain, repeat
from pathlib import Path

import pytest
from django.db import connection

from connectors.linked_device import process
from connectors.linked_device.events import Event
from connectors.models import WebhookPending
from tests.conftest import Cast
from tests.linked_device import sends

WAITING = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'webhook_deliveries'::regclass"


class Talker(sends.FakeDevice):
    """A device that reports one message, in a thread of its own."""

    def __init__(self, content: Event) -> None:
        super().__init__()
        self.content = content

    def start(self, store: Path, listen: Callable[[Event], None]) -> None:
        """Tell it."""
        threading.Thread(target=listen, args=[self.content], daemon=True).start()


@pytest.fixture
def release() -> Iterator[Callable[[], None]]:
    """Lock the inbox until the test releases it."""
    other = connection.copy()
    other.inc_thread_sharing()  # a timer releases it
    other.set_autocommit(False)
    other.cursor().execute("LOCK TABLE webhook_deliveries IN SHARE MODE")
    yield other.rollback
    other.close()


def is_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(WAITING)
        return cursor.rowcount > 0


@pytest.mark.django_db(transaction=True)
def test_it_does_not_end_before_the_inbox_has_what_waits_for_it(
    acme: Cast,
    tmp_path: Path,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    release: Callable[[], None],
    wait_for: Callable[..., None],
) -> None:
    session = sends.linked(acme, wanted="RUNNING", paired_at=now)
    is_asked = chain([False], repeat(True))
    mine = process.SessionWork(
        session,
        sends.leased(session),
        Talker(sends.said(now)),
        is_asked_to_end=lambda: next(is_asked),
    )
    ending = mine.run(tmp_path)
    wait_for(is_waiting)
    with monkeypatch.context() as impatient:
        impatient.setattr(process, "INTAKE_SECONDS", 0.0)
        assert mine.close()
    assert not WebhookPending.objects.exists()

    threading.Timer(0.1, release).start()
    mine.finish(ending)
    assert WebhookPending.objects.exists()
