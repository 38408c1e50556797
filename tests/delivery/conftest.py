"""A sender without a worker around it, and two tenants with tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from messaging.delivery.sender import Sender
from tests.conftest import Cast
from tests.delivery import outgoing
from tests.delivery.outgoing import Platform
from workspaces import bells, secrets
from workspaces.models import SecretKind


@pytest.fixture(autouse=True)
def platform(settings, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A platform that takes everything."""
    settings.SIGMA_CHANNELS = {"CLOUD_API": "tests.delivery.outgoing.FakeChannel"}
    monkeypatch.setattr(outgoing, "PLATFORM", Platform())
    return outgoing.PLATFORM


@pytest.fixture(autouse=True)
def _tokens(request: pytest.FixtureRequest) -> None:
    for name in {"acme", "globex"} & set(request.fixturenames):
        cast: Cast = request.getfixturevalue(name)
        secrets.add(tenant=cast.tenant, kind=SecretKind.ACCESS_TOKEN, value=f"EAAG-{name}")


@pytest.fixture
def sender(transactional_db: None) -> Iterator[Sender]:
    """The product's sender in this process; gone with its threads and connections afterwards."""
    made = Sender()
    yield made
    made.close()


@pytest.fixture
def deliver(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Send what is due and wait for the outcomes; returns how many were claimed."""
    monkeypatch.setattr("messaging.delivery.sender.LINGER_SECONDS", 0.0)

    def run() -> int:
        count = sender.work()
        sender.settle()
        return count

    return run


@pytest.fixture(autouse=True)
def _quiet(transactional_db: None) -> Iterator[None]:
    """No test finds another's bells or buckets in the broker, nor its callbacks in the table."""
    yield
    broker = bells.broker()
    for key in broker.scan_iter("sigma:*"):
        broker.delete(key)
    broker.delete("send")
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE webhook_deliveries")
