"""Nobody's phone number stays behind when he is written to: not in rows, in the database's files
and logs, in the broker, in what we log, or in what apps are told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

import pytest

from connectors.simulator.meta.server import RunningSimulator
from connectors.simulator.meta.world import joined
from lib import wakeups
from messaging.delivery.sender import Sender
from messaging.models import Contact, Message, NumberState
from tests.conftest import Cast
from tests.delivery.conftest import _quiet, sender
from tests.events.conftest import Endpoint, Subscribe, _look_often, endpoint, subscribe
from tests.events.test_stream import Listen, listen
from tests.privacy import canaries, places, sends
from tests.privacy.stage import Stage, world_of
from tests.whatsapp.conftest import Web, web

__all__ = ("_look_often", "_quiet", "endpoint", "listen", "sender", "subscribe", "web")

pytestmark = pytest.mark.django_db(transaction=True)

NUMBERS = places.disguises(canaries.SENT_TO)
# For the positive control, so that what it stores is nobody's whom the other test writes to.
PLANTED = "84662299"
TYPES = {"template", "document", "interactive", "location", "contacts"}
EVENTS = ("message.received", "message.status", "broadcast.updated", "sending.paused")


@pytest.fixture
def meta(
    acme: Cast, globex: Cast, web: Web, settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningSimulator]:
    """A Meta that knows both tenants and calls the real receiver."""
    monkeypatch.setattr("connectors.whatsapp.graph.TOTAL_SECONDS", 2.0)
    origin = f"http://127.0.0.1:{web.port}"
    worlds = [world_of(cast, own, origin) for own, cast in enumerate((acme, globex))]
    with RunningSimulator(joined(*worlds)) as running:
        settings.SIGMA_GRAPH_URL = running.url
        running.control.options(window="off", status_delays_ms=[1, 2, 3])
        yield running


@pytest.fixture
def stage(meta: RunningSimulator, sender: Sender, wait_for: Callable[..., None]) -> Stage:
    return Stage(meta, sender, wait_for)


def play(stage: Stage, acme: Cast, globex: Cast) -> list[str]:
    """Do everything that sending can do, for each tenant; return the exports."""
    doors = ((acme, False), (globex, True))
    for cast in (acme, globex):
        stage.prepare(cast)
    stage.perform()
    for cast, by_graphql in doors:
        stage.spoil()
        stage.preflight(cast, by_graphql=not by_graphql)
        stage.send(cast, by_graphql=by_graphql)
        stage.refuse(cast, by_graphql=by_graphql)
    stage.perform()
    paths = [(cast, stage.broadcast(cast)) for cast in (acme, globex)]
    stage.perform()
    stage.tell()
    return [stage.outcomes(cast, path) for cast, path in paths]


def leaks(contents: Iterable[tuple[str, str]]) -> list[str]:
    """Return where a number stands, and what stands around it."""
    found = []
    for where, text in contents:
        for number in places.found_in(text, NUMBERS):
            at = max(0, text.find(number) - 80)
            found.append(f"{where}: {text[at : at + 200]}")
    return found


def binary_leaks(contents: Iterable[tuple[str, bytes]]) -> list[tuple[str, set[str]]]:
    found = ((where, places.found_in_bytes(content, NUMBERS)) for where, content in contents)
    return [(where, numbers) for where, numbers in found if numbers]


def test_it_leaves_no_phone_number_anywhere(
    acme: Cast,
    globex: Cast,
    stage: Stage,
    subscribe: Subscribe,
    endpoint: Endpoint,
    listen: Listen,
    caplog: pytest.LogCaptureFixture,
) -> None:
    position = places.wal_position()
    for cast in (acme, globex):
        subscribe(cast, *EVENTS)
    with caplog.at_level(logging.INFO), listen(acme) as listener:
        exports = play(stage, acme, globex)
        streamed = [("stream", str(listener.next())) for _ in range(5)]

    assert leaks(places.rows()) == []
    assert leaks(places.broker_entries()) == []
    assert leaks(("log", line) for line in places.log_lines(caplog.records)) == []
    assert leaks(streamed) == []
    assert binary_leaks((got.path, got.body) for got in endpoint.got) == []
    assert binary_leaks([("wal", places.wal_since(position))]) == []
    assert binary_leaks(places.database_files()) == []
    assert binary_leaks(places.engine_logs()) == []

    # It was all taken in, or the search would prove nothing.
    for cast in (acme, globex):
        sent = Message.objects.filter(tenant_id=cast.tenant.id, source="API")
        assert set(sent.values_list("type", flat=True)) == TYPES
        assert {"read", "failed", "cancelled"} <= set(sent.values_list("status", flat=True))
        assert NumberState.objects.get(pk=cast.workspace.id).sealed_number
    assert [export.count(sends.OTHER) for export in exports] == [10, 10]
    assert len({got.path for got in endpoint.got}) == 1


def test_it_would_find_what_is_stored(acme: Cast) -> None:
    numbers, position = places.disguises(PLANTED), places.wal_position()
    name = f"+27 {PLANTED[:2]} {PLANTED[2:5]}-{PLANTED[5:]}1"
    Contact.objects.create(tenant_id=acme.tenant.id, display_name=name)
    wakeups.broker().set("sigma:planted", f"+27{PLANTED}1")

    assert [table for table, row in places.rows() if places.found_in(row, numbers)] == ["contacts"]
    entries = [key for key, value in places.broker_entries() if places.found_in(value, numbers)]
    assert entries == ["sigma:planted"]
    files = [path for path, data in places.database_files() if places.found_in_bytes(data, numbers)]
    assert files
    assert places.found_in_bytes(places.wal_since(position), numbers)
