"""A library that never comes back from a send does not keep alive a session that sends nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from connectors.linked_device import delivering, dispatch
from connectors.linked_device.device import Sent
from connectors.linked_device.events import Connected, Event, LinkedAccount
from connectors.linked_device.leases import ExitCode
from connectors.linked_device.process import SessionWork
from messaging.models import Message
from tests.conftest import Cast
from tests.linked_device import sends


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


@pytest.mark.django_db(transaction=True)
def test_the_session_ends_to_be_started_again(
    acme: Cast, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "JITTER", (0.0, 0.0))
    device = Stuck(lambda: monkeypatch.setattr(dispatch, "HUNG_SECONDS", 0.0))
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
