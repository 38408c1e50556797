"""From a commit to the endpoint through the broker and a real worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from celery.contrib.testing.worker import start_worker

from connectors.events.models import EventDelivery
from connectors.events.outbox import WAKE_UP
from connectors.events.worker import deliver
from lib.heartbeat import ProcessHeartbeat
from lib.wakeups import WakeUp
from sigma.celery import app
from tests.conftest import Cast
from tests.events.conftest import NOTIFY, Endpoint, Subscribe
from tests.whatsapp.conftest import hang_up

# A wake-up may be lost in the broker (`lib.wakeups`).
LOST_SECONDS = 10.0

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Run a worker of the queue ``events`` and let wake-ups through; yield whose there were."""
    called = []

    def notify(wake_up: WakeUp, slot: int = 0) -> bool:
        called.append(wake_up.name)
        return NOTIFY(wake_up, slot)

    monkeypatch.setattr(WakeUp, "notify", notify)
    # Nobody would end its thread.
    monkeypatch.setattr(ProcessHeartbeat, "start", lambda heartbeat: None)
    monkeypatch.setitem(deliver.__kwdefaults__, "idle_wait", 0.05)
    WAKE_UP.release()
    with start_worker(app, queues=["events"], perform_ping_check=False):
        yield called
    hang_up()


def test_a_commit_wakes_a_worker_and_the_event_is_delivered(
    acme: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Callable[..., None],
    wait_for: Callable[..., None],
    worker: list[str],
) -> None:
    subscribe(acme)
    emit(acme)

    assert worker == [WAKE_UP.name]
    swept_at = time.monotonic() + LOST_SECONDS

    def is_delivered() -> bool:
        if time.monotonic() > swept_at:
            WAKE_UP.notify()  # one that the broker lost is made up for by the sweep
        return EventDelivery.objects.filter(delivered_at__isnull=False).exists()

    wait_for(is_delivered)
    assert len(endpoint.ids("/")) == 1
