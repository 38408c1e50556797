"""Meta as the simulator plays it, and the product's own sender at work between it and us."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.utils import timezone

from connectors.simulator.meta.server import RunningSimulator
from messaging import number_sync
from messaging.delivery.queues import SENDS
from messaging.delivery.sender import Sender
from tests.conftest import Cast
from tests.sending.conftest import hear
from workspaces import secrets
from workspaces.models import SecretKind


@pytest.fixture
def meta(acme: Cast, settings) -> Iterator[RunningSimulator]:
    """A Meta with acme's number, to whom the contract's person wrote."""
    with RunningSimulator() as simulator:
        settings.SIGMA_GRAPH_URL = simulator.url
        acme.workspace.external_id = simulator.phone_number_id
        acme.workspace.waba_id = simulator.waba_id
        acme.workspace.save()
        for kind, value in (
            (SecretKind.ACCESS_TOKEN, simulator.token),
            (SecretKind.APP_SECRET, "simulated-app-secret"),
        ):
            secrets.add(tenant=acme.tenant, kind=kind, value=value)
        simulator.control.options(window="off")
        number_sync.sync(acme.workspace, now=timezone.now())
        hear(acme, timezone.now(), phone="27711558396")
        yield simulator


@pytest.fixture
def delivering(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The product's sender at work, called by its wake-up."""
    monkeypatch.setattr("messaging.delivery.sender.Sender.idle_wait", 0.0)
    sender, woken, over = Sender(), threading.Event(), threading.Event()
    monkeypatch.setattr(type(SENDS), "notify", lambda wake_up, slot=0: woken.set() or True)

    def work() -> None:
        while not over.is_set():
            woken.wait(120)
            woken.clear()
            sender.work()
            sender.settle()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    woken.set()
    thread.join()
    sender.close()
