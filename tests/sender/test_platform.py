"""Through the outbox to the platform and back: the outcomes as they really come."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.utils import timezone

from connectors.simulator.meta.server import RunningSimulator
from tests.conftest import Cast
from tests.sender.conftest import Served, key_for
from tests.sender.simulated import delivering, meta
from tests.sending.conftest import hear

__all__ = ("delivering", "meta")


@pytest.fixture
def _at_work(meta: RunningSimulator, delivering: None) -> Iterator[None]:
    """The platform is there, and messages go to it."""
    yield


@pytest.mark.usefixtures("_at_work")
def test_it_tells_what_the_platform_answered(acme: Cast, sender: Served) -> None:
    """The last seven digits of a number ask the simulator for a code."""
    key, refused = key_for(acme), "+27820131026"
    hear(acme, timezone.now(), phone=refused[1:], wamid="wamid.OTHER")
    taken, not_taken = sender.send(key), sender.send(key, {"phone": refused, "message": "Hi"})

    assert (taken.status_code, not_taken.status_code) == (200, 502)
    assert not_taken.json()["error"]["code"] == "NOT_ON_WHATSAPP"
    for answer, status in ((taken, "accepted"), (not_taken, "failed")):
        found = sender.get(f"/messages/{answer.json()['message_id']}", key).json()
        assert found["status"] == status


@pytest.mark.usefixtures("_at_work")
def test_it_logs_what_became_of_a_message_that_nobody_waited_for(
    acme: Cast, sender: Served, wait_for: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sigma.whatsapp.sender")
    answer = sender.send(key_for(acme), Prefer="respond-async")

    assert answer.status_code == 202
    wait_for(lambda: [one.getMessage() for one in caplog.records].count("message sent") == 1)
