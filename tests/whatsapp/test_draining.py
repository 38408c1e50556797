"""A drain works until nothing is pending, and leaves no slot taken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connectors.whatsapp import processing
from connectors.whatsapp.processing import Callbacks
from lib import wakeups
from messaging.models import Message
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, deliver, text

pytestmark = pytest.mark.django_db


def test_it_wakes_a_worker_again_for_what_came_while_it_was_leaving(
    acme: Cast, globex: Cast, no_wake_ups: Callable[[], int], monkeypatch
) -> None:
    """The callbacks come between the removal of the key and the last look."""
    broker, coming = wakeups.broker(), [acme, globex]
    delete = broker.delete

    def delete_and_deliver(key: str) -> None:
        delete(key)
        while coming:
            cast = coming.pop()
            body = callback(cast.workspace.external_id, messages=[text("wamid.1")])
            deliver(cast.tenant.id, body)

    monkeypatch.setattr(broker, "delete", delete_and_deliver)
    broker.set(processing.WAKE_UP.key(1), "1", ex=wakeups.KEY_SECONDS)

    assert processing.drain(1) == 2

    assert Message.objects.count() == 2
    assert no_wake_ups() == 1
    assert not broker.exists(processing.WAKE_UP.key(1))


@pytest.mark.parametrize(
    ("count", "spent", "pause"),
    [
        (0, 0.01, processing.POLL_SECONDS),
        # A busy host, where a few take long, is given time; a tenant's backlog beside others with
        # little, whose shares nobody used, is not held up.
        (15, 0.2, processing.PAUSE_SECONDS),
        (128, 0.06, 0.0),
        (128, 0.01, processing.PAUSE_SECONDS - 0.01),
        (400, 0.01, 0.0),
    ],
)
def test_it_pauses_where_that_makes_the_next_batch_larger(
    count: int, spent: float, pause: float
) -> None:
    assert Callbacks().pause(count, spent) == pytest.approx(pause)


def test_it_does_not_pause_after_a_full_batch_however_small(settings) -> None:
    settings.SIGMA_INGEST_BATCH = 20
    assert Callbacks().pause(20, 0.01) == 0
