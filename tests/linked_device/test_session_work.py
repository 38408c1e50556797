"""A session at work ends in order: what arrived is stored, and a send that hangs ends it too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import chain, repeat
from pathlib import Path

import pytest
from django.db import connection

from connectors.linked_device import delivering, process, session_loop
from connectors.linked_device.events import Connected, Event, LinkedAccount, Sent
from connectors.linked_device.leases import ExitCode
from connectors.linked_device.process import SessionWork
from connectors.whatsapp.models import WebhookPending
from messaging.models import Message
from tests.conftest import Cast
from tests.linked_device import sends

pytestmark = pytest.mark.django_db(transaction=True)

WAITING = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'webhook_deliveries'::regclass"


class Talker(sends.FakeDevice):
    """A device that reports a message while it starts, and checks whether it was kept."""

    was_kept = False

    def start(self, store: Path, listen: Callable[[Event], None]) -> None:
        """Report it, and return once it was taken."""
        listen(sends.said(datetime.now(UTC)))
        self.was_kept = WebhookPending.objects.exists()


def test_the_device_goes_on_once_its_message_is_in_the_inbox(acme: Cast, tmp_path: Path) -> None:
    session = sends.linked(acme, wanted="RUNNING", paired_at=datetime.now(UTC))
    device = Talker()
    is_asked = iter([False, True])
    work = SessionWork(
        session, sends.leased(session), device, is_asked_to_end=lambda: next(is_asked)
    )

    work.run(tmp_path)
    assert device.was_kept
    assert work.close()


class LateTalker(sends.FakeDevice):
    """A device that reports one message, in a thread of its own."""

    def __init__(self, content: Event) -> None:
        super().__init__()
        self.content = content

    def start(self, store: Path, listen: Callable[[Event], None]) -> None:
        """Report it, and return at once."""
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
    mine = SessionWork(
        session,
        sends.leased(session),
        LateTalker(sends.said(now)),
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


class Stuck(sends.FakeDevice):
    """A device that is connected, and whose sends come back when the test is done."""

    def __init__(self, on_send: Callable[[], None]) -> None:
        super().__init__()
        self.on_send, self.done = on_send, threading.Event()

    def start(self, store: Path, listen: Callable[[Event], None]) -> None:
        """Say so."""
        listen(Connected(LinkedAccount()))

    def send_text(self, number: str, text: str) -> Sent:
        """Hang."""
        self.on_send()
        self.done.wait(120)
        return super().send_text(number, text)


def test_a_send_that_hangs_ends_the_session_to_be_started_again(
    acme: Cast, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "JITTER", (0.0, 0.0))
    device = Stuck(lambda: monkeypatch.setattr(session_loop, "HUNG_SECONDS", 0.0))
    session = sends.linked(acme, wanted="RUNNING", paired_at=now)
    work = SessionWork(session, sends.leased(session), device, is_asked_to_end=lambda: False)
    sends.queue(acme, now)

    assert work.run(tmp_path).code == ExitCode.FAILED
    session.refresh_from_db()
    assert (session.state, "did not come back" in session.reason) == ("FAILED", True)
    assert Message.objects.get().status == "sending", "nobody sends it again"

    device.done.set()
    assert work.close()
    assert Message.objects.get().status == "accepted"
