"""How many files and functions a reader has to follow for one message, and that they are told."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.simulator.meta.server import RunningSimulator
from connectors.whatsapp import retention
from connectors.whatsapp.processing import drain
from lib.envelope import associated_data
from messaging.delivery.sender import Sender
from messaging.models import Message
from messaging.references import SEALED_ID
from tests.conftest import Cast
from tests.sender.simulated import meta
from tests.trips import ROOT, Tracer, Trip
from tests.whatsapp.conftest import Web, serving, web
from tests.whatsapp.deliveries import callback, contact, status, text
from workspaces import keys

__all__ = ["meta", "serving", "web"]

PERSON = "27711558396"
PAGE = ROOT / "docs" / "architecture.md"
# As measured, with room for what runs in the background; whoever makes a trip longer is told.
MOST = {"callback": (43, 240), "report": (42, 232), "send": (79, 465)}
SEND = """
mutation ($workspace: ID!, $body: String!) {
  sendWhatsAppMessage(input: {workspaceId: $workspace, recipientPhone: "+27711558396", text: $body})
  { success messageId errors { message } }
}
"""


@pytest.fixture
def tracer() -> Iterator[Tracer]:
    """A tracer made before the server's threads are."""
    made = Tracer()
    yield made
    made.close()


@pytest.fixture
def sender(tracer: Tracer, transactional_db: None, monkeypatch) -> Iterator[Sender]:
    """The product's sender, whose threads are watched."""
    monkeypatch.setattr("messaging.delivery.sender.Sender.idle_wait", 0.0)
    made = Sender()
    yield made
    made.close()


def show(name: str, trip: Trip) -> None:
    """Write a trip down, where it is asked for: ``TRIPS=trips.txt pytest tests/test_trips.py``."""
    if path := os.environ.get("TRIPS"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{name}: {len(trip.files)} files, {len(trip.functions)} functions\n")
            for entered in sorted(trip.files):
                names = sorted(name for place, name in trip.functions if place == entered)
                file.write(f"  {entered}: {', '.join(names)}\n")


def named_files() -> set[str]:
    """Return the files of ours that docs/architecture.md names."""
    return set(re.findall(r"`([a-z_]+(?:/[a-z_]+)+\.py)`", PAGE.read_text(encoding="utf-8")))


def test_the_architecture_names_files_that_are_there() -> None:
    assert {name for name in named_files() if not (ROOT / name).is_file()} == set()


def test_trips_are_told_and_become_no_longer(
    tracer: Tracer,
    no_wake_ups: Callable[[], int],
    acme: Cast,
    globex: Cast,
    meta: RunningSimulator,
    web: Web,
    sender: Sender,
) -> None:
    number = acme.workspace.external_id

    def receive(wamid: str) -> None:
        message = text(wamid, sender=PERSON, at=int(datetime.now(UTC).timestamp()))
        body = callback(number, messages=[message], contacts=[contact(PERSON)])
        assert web.post(acme, json.dumps(body).encode()).status_code == 200

    def send(body: str) -> str:
        variables = {"workspace": str(acme.workspace.id), "body": body}
        headers = {"Authorization": f"Bearer {acme.api_key}"}
        asked = {"query": SEND, "variables": variables}
        answer = web.client.post("/graphql", json=asked, headers=headers).json()
        assert "data" in answer, answer
        sent = answer["data"]["sendWhatsAppMessage"]
        assert sent["success"], answer
        return str(sent["messageId"])

    receive("wamid.warm")
    drain(1)
    send("warm")
    sender.work()
    sender.settle()
    keys.forget()

    with tracer.trip() as receiving:
        receive("wamid.trip")
    with tracer.trip() as processing:
        assert drain(1) == 1
    with tracer.trip() as queueing:
        message_id = send("trip")
    with tracer.trip() as delivering:
        sender.work()
        sender.settle()
    row = Message.objects.get(pk=message_id)
    place = associated_data(acme.tenant.id, SEALED_ID, row.id)
    wamid = keys.cipher_of(bytes(row.sealed_id)).open(bytes(row.sealed_id), place).decode()
    report = status(wamid, "delivered", biz_opaque_callback_data=message_id)
    body = json.dumps(callback(number, statuses=[report])).encode()
    with tracer.trip() as reporting:
        web.post(acme, body)
        drain(1)

    with tracer.trip() as purging:
        retention.purge_all(now=datetime.now(UTC))

    assert Message.objects.filter(text="trip", status="delivered").exists()
    trips = {
        "receive": receiving,
        "process": processing,
        "callback": receiving | processing,
        "queue": queueing,
        "deliver": delivering,
        "report": reporting,
        "send": queueing | delivering | reporting,
        "purge": purging,
    }
    for name, trip in trips.items():
        show(name, trip)
        assert trip.files - named_files() == set(), name
    for name, (files, functions) in MOST.items():
        assert len(trips[name].files) <= files, name
        assert len(trips[name].functions) <= functions, name
