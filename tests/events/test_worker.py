"""From a commit to the endpoint through the broker and a real worker."""

from __future__ import annotations

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

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run a worker of the queue ``events`` and let wake-ups through."""
    monkeypatch.setattr(WakeUp, "notify", NOTIFY)
    # Nobody would end its thread.
    monkeypatch.setattr(ProcessHeartbeat, "start", lambda heartbeat: None)
    monkeypatch.setitem(deliver.__kwdefaults__, "idle_wait", 0.05)
    WAKE_UP.release()
    with start_worker(app, queues=["events"], perform_ping_check=False):
        yield
    hang_up()


def test_a_commit_wakes_a_worker_and_the_event_is_delivered(
    acme: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Callable[..., None],
    wait_for: Callable[..., None],
    worker: None,
) -> None:
    subscribe(acme)
    emit(acme)

    wait_for(lambda: EventDelivery.objects.filter(delivered_at__isnull=False).exists())
    assert len(endpoint.ids("/")) == 1
