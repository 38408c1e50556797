"""Delivering in the test's own transaction, or with the product's threads; tenants with tokens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import pytest
from django.db import connection

from connectors.simulator.meta.seeds import business
from connectors.simulator.meta.server import RunningSimulator
from lib import wakeups
from messaging import transitions
from messaging.attempts import Attempt
from messaging.delivery import reads
from messaging.delivery.claims import Claimed, Claims
from messaging.delivery.performing import LEASE_SECONDS, Performer
from messaging.delivery.recording import Outcome, record
from messaging.delivery.sender import Sender
from messaging.delivery.uploading import upload
from tests.conftest import Cast
from tests.delivery import outgoing
from tests.delivery.outgoing import Platform
from workspaces import secrets
from workspaces.models import SecretKind


@pytest.fixture(autouse=True)
def platform(settings, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A platform that takes everything."""
    settings.SIGMA_CHANNELS = {"CLOUD_API": "tests.delivery.outgoing.FakeChannel"}
    monkeypatch.setattr(outgoing, "PLATFORM", Platform())
    return outgoing.PLATFORM


@pytest.fixture
def meta(acme: Cast, platform: Platform, settings) -> Iterator[RunningSimulator]:
    """A Meta with acme's number; between it and us nothing is replaced."""
    settings.SIGMA_CHANNELS = {"CLOUD_API": "connectors.whatsapp.channel.CloudApiChannel"}
    world = business(
        app_secret=acme.app_secret,
        access_token="EAAG-acme",
        waba_id=acme.workspace.waba_id,
        phone_number_id=acme.workspace.external_id,
    )
    with RunningSimulator(world) as simulator:
        settings.SIGMA_GRAPH_URL = simulator.url
        simulator.control.options(window="off", obeys_magic_numbers=False)
        yield simulator


@pytest.fixture(autouse=True)
def _tokens(request: pytest.FixtureRequest) -> None:
    for name in {"acme", "globex"} & set(request.fixturenames):
        cast: Cast = request.getfixturevalue(name)
        secrets.add(tenant=cast.tenant, kind=SecretKind.ACCESS_TOKEN, value=f"EAAG-{name}")


class Marked:
    """The product's marker has a connection of its own, which sees nothing of the test's."""

    def __init__(self) -> None:
        self.ids = set[UUID]()

    async def add(self, attempt: Attempt) -> float | None:
        """Answer from what was marked already."""
        return time.monotonic() + LEASE_SECONDS if attempt.message_id in self.ids else None


@pytest.fixture
def deliver(db: None, django_capture_on_commit_callbacks) -> Callable[[], int]:
    """Claim, send and record what is due, one after the other; returns how many that was."""
    chance = Random(1)
    claims, marked = Claims(chance=chance), Marked()
    performer = Performer(marked)

    async def send(
        claimed: list[Claimed], read_marks: list[reads.ClaimedReadMark]
    ) -> list[Outcome]:
        for read_mark in read_marks:
            if await reads.perform(read_mark):
                done.append(read_mark)
        results = await asyncio.gather(*map(performer.send, claimed))
        now = datetime.now(UTC)
        return [
            Outcome(one.attempt, r, now, one.files) for one, r in zip(claimed, results, strict=True)
        ]

    done: list[reads.ClaimedReadMark] = []

    def run() -> int:
        now = datetime.now(UTC)
        claimed = claims.claim(100, {}, most=1_000, now=now)
        for job in claims.missing:
            upload(job, chance=chance)
        attempts = [one.attempt for one in claimed]
        marked.ids = transitions.mark(attempts, seconds=LEASE_SECONDS)
        outcomes = asyncio.run(send(claimed, reads.claim(claims.numbers, now=now)))
        while done:
            reads.forget(done.pop())
        with django_capture_on_commit_callbacks(execute=True):
            record(outcomes, now=datetime.now(UTC), chance=chance)
        claims.numbers.forget()
        return len(claimed)

    return run


@pytest.fixture
def sender(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    """The product's sender in this process; gone with its threads and connections afterwards."""
    monkeypatch.setattr("messaging.delivery.sender.Sender.idle_wait", 0.0)
    made = Sender()
    yield made
    made.close()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE webhook_deliveries")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """No test finds another's wake-ups or buckets in the broker."""
    yield
    broker = wakeups.broker()
    for key in (*broker.scan_iter("sigma:*"), "send"):
        broker.delete(key)
