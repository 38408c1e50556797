"""The simulated device plays every part of the Device port: what all other tests lean on."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_django import Settings

from connectors.linked_device import events
from connectors.linked_device.events import (
    Event,
    LinkedAccount,
    MessageArrived,
    QrShown,
    ReceiptArrived,
)
from connectors.simulator import device_events, device_script
from connectors.simulator.device import NotForTrying, SimulatedDevice
from connectors.simulator.device_script import InvalidScript, ScriptStep
from connectors.simulator.device_store import DeviceStore, fingerprint, journal_of
from workspaces.channel_errors import OutcomeUnknown, Rejected, Throttled, Unavailable

ANA, LINKED = "447700900001", LinkedAccount(number="447700900123", platform="android")
QUICK = {"connect_after": 0.0, "receipts": {}}
Played = tuple[SimulatedDevice, list[Event]]
Wait = Callable[[Callable[[], bool]], None]
Play = Callable[..., Played]
Connect = Callable[[Played], Played]


@pytest.fixture
def store(tmp_path: Path, settings: Settings) -> Path:
    """Where a device keeps its account."""
    settings.SIGMA_SENDER_DEVICE = "simulated"
    return tmp_path / "whatsapp.db"


@pytest.fixture
def play(store: Path) -> Iterator[Callable[..., Played]]:
    """Start a device with a script; with ``linked``, its account is paired already."""
    started: list[SimulatedDevice] = []

    def _play(*, linked: bool = True, **script: object) -> Played:
        device_script.write(store, **{**QUICK, **script})
        if linked:
            DeviceStore(store).link(LINKED)
        heard: list[Event] = []
        started.append(SimulatedDevice())
        started[-1].start(store, heard.append)
        return started[-1], heard

    yield _play
    for device in started:
        device.stop()


def names(heard: list[Event]) -> list[str]:
    """Return what was heard, in short."""
    return [type(event).__name__ for event in heard]


@pytest.fixture
def connected(wait_for: Wait) -> Connect:
    """Wait until a device is connected."""

    def _connected(played: Played) -> Played:
        wait_for(lambda: "Connected" in names(played[1]))
        return played

    return _connected


def test_it_does_not_work_where_linked_devices_are_real(settings: Settings) -> None:
    settings.SIGMA_SENDER_DEVICE = "whatsapp"

    with pytest.raises(NotForTrying):
        SimulatedDevice()


def test_it_shows_one_qr_code_after_another_until_nobody_scanned(
    play: Play, wait_for: Wait
) -> None:
    _, heard = play(linked=False, paired_after=None, qr_seconds=[0.03, 0.01, 0.01])

    wait_for(lambda: "PairingTimedOut" in names(heard))
    codes = {event.code for event in heard if isinstance(event, QrShown)}
    assert names(heard) == ["QrShown"] * 3 + ["PairingTimedOut"]
    assert len(codes) == 3


def test_it_is_paired_then_restarts_its_connection(play: Play, connected: Connect) -> None:
    device, heard = connected(play(linked=False, paired_after=0.0))

    assert names(heard) == ["QrShown", "Paired", "Disconnected", "Connected"]
    assert device.account() is not None


def test_it_is_paired_by_a_code_with_the_number_it_was_asked_for(
    play: Play, store: Path, connected: Connect, wait_for: Wait
) -> None:
    device, heard = play(linked=False, paired_after=None)
    wait_for(lambda: heard)

    assert len(device.pair_code(ANA).replace("-", "")) == 8
    device_script.write(store, **QUICK, paired_after=0.0)
    connected((device, heard))
    assert device.account() == LinkedAccount(ANA, "Simulated", "android")


def test_it_gives_no_code_before_it_showed_a_qr_code(play: Play) -> None:
    device, _ = play(linked=False, connect_after=60)

    with pytest.raises(Unavailable):
        device.pair_code(ANA)


def test_it_is_still_paired_when_it_starts_again(play: Play, connected: Connect) -> None:
    first, _ = connected(play(linked=False, paired_after=0.0))
    first.stop()

    _, heard = connected(play(linked=False))
    assert names(heard) == ["Connected"]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("replaced", "Replaced"),
        ("logged_out", "LoggedOut"),
        ("banned", "TemporarilyBanned"),
        ("rate_limited", "RateLimited"),
        ("outdated", "ClientOutdated"),
        ("unreachable", "ConnectFailed"),
    ],
)
def test_it_cannot_connect_and_says_why(play: Play, word: str, name: str, wait_for: Wait) -> None:
    device, heard = play(connect=word)

    wait_for(lambda: heard)
    assert names(heard) == [name]
    with pytest.raises(Unavailable):
        device.send_text(ANA, "Hello")


def test_it_loses_its_connection_and_gets_it_back(play: Play, wait_for: Wait) -> None:
    away = [{"after": 0, "event": "disconnected"}, {"after": 0.1, "event": "connected"}]
    device, heard = play(events=away)

    wait_for(lambda: names(heard) == ["Connected", "Disconnected", "Connected"])
    assert device.send_text(ANA, "Hello").message_id


def test_it_forgets_its_account_when_it_is_logged_out(play: Play, wait_for: Wait) -> None:
    device, heard = play(events=[{"event": "logged_out"}])

    wait_for(lambda: "LoggedOut" in names(heard))
    assert device.account() is None
    assert journal_of(device._store.path, "connections")[-1]["event"] == "disconnected"


def test_it_is_replaced_by_a_second_device_with_its_keys(
    play: Play, connected: Connect, wait_for: Wait
) -> None:
    _, heard = connected(play())
    connected(play())

    wait_for(lambda: names(heard) == ["Connected", "Replaced"])


def test_it_answers_keep_alives(play: Play, wait_for: Wait) -> None:
    _, heard = play(keep_alive=0.01, events=[{"event": "keep_alive_missed", "misses": 2}])

    wait_for(lambda: {"KeptAlive", "KeepAliveMissed"} <= set(names(heard)))


def test_it_gets_receipts_and_an_answer_for_what_it_sent(
    play: Play, connected: Connect, wait_for: Wait
) -> None:
    receipts = {"delivered": 0.01, "read": 0.02}
    device, heard = connected(play(receipts=receipts, auto_reply="Yes", auto_reply_after=0.03))

    sent = device.send_text(ANA, "Are you there?")

    wait_for(lambda: any(isinstance(event, MessageArrived) for event in heard))
    told = [event for event in heard if isinstance(event, ReceiptArrived | MessageArrived)]
    assert [event.status for event in told[:2]] == ["delivered", "read"]
    assert (told[2].text, told[2].quoted_id, told[2].chat.phone) == ("Yes", sent.message_id, ANA)


def test_it_keeps_no_text_and_no_number_in_its_journal(play: Play, connected: Connect) -> None:
    device, _ = connected(play())

    sent = device.send_text(ANA, "Hello")

    store = device._store.path
    assert journal_of(store) == [
        {"id": sent.message_id, "sha256": fingerprint(ANA, "Hello"), "pid": os.getpid()}
    ]
    assert store.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("word", "error", "left"),
    [
        ("not_on_whatsapp", Rejected, 0),
        ("throttled:60", Throttled, 0),
        ("unavailable", Unavailable, 0),
        ("unknown", OutcomeUnknown, 1),
        ("lost", OutcomeUnknown, 0),
    ],
)
def test_it_ends_a_send_as_the_script_says(
    play: Play, word: str, error: type[Exception], left: int, connected: Connect
) -> None:
    device, _ = connected(play(sends=[word]))

    with pytest.raises(error):
        device.send_text(ANA, "Hello")
    assert len(journal_of(device._store.path)) == left
    assert device.send_text(ANA, "Hello").message_id


def test_it_goes_on_with_a_longer_list_of_sends(
    play: Play, store: Path, connected: Connect
) -> None:
    device, _ = connected(play(sends=["ok"]))
    device.send_text(ANA, "Hello")

    device_script.write(store, **QUICK, sends=["ok", "throttled"])
    with pytest.raises(Throttled):
        device.send_text(ANA, "Hello")


def in_a_child(store: Path) -> int:
    """Send with a device in a process of its own; return what that process ended with."""
    child = os.fork()
    if child == 0:
        try:
            up, device = threading.Event(), SimulatedDevice()
            device.start(store, lambda event: up.set())
            up.wait(120)
            device.send_text(ANA, "Hello")
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize(("word", "left"), [("crash", 1), ("crash_before", 0)])
def test_it_takes_its_process_down_in_mid_send(store: Path, word: str, left: int) -> None:
    device_script.write(store, **QUICK, sends=[word])
    DeviceStore(store).link(LINKED)

    assert os.WTERMSIG(in_a_child(store)) == signal.SIGKILL
    assert len(journal_of(store)) == left


def test_it_tells_a_message_again_that_nobody_kept(store: Path, wait_for: Wait) -> None:
    DeviceStore(store).link(LINKED)
    device_script.write(store, **QUICK, events=[{"event": "message", "text": "Hi", "name": "Ana"}])
    heard: list[str] = []

    def _listen(event: Event) -> None:
        if isinstance(event, MessageArrived):
            heard.append(event.id)
            if len(heard) == 1:
                raise sqlite3.OperationalError

    device = SimulatedDevice()
    device.start(store, _listen)
    wait_for(lambda: len(heard) == 2)
    device.stop()
    assert heard[0] == heard[1]


def test_it_refuses_a_store_that_is_none(store: Path) -> None:
    store.write_text("This is no database, and long enough to be told from one." * 20)

    with pytest.raises(OSError, match="cannot be opened"):
        SimulatedDevice().start(store, lambda event: None)


def test_it_refuses_a_script_that_asks_for_the_impossible(store: Path) -> None:
    device_script.write(store, connect="sideways")

    with pytest.raises(InvalidScript):
        device_script.read(store)


@pytest.mark.parametrize(
    "name", [*device_events.PLAIN, *device_events.TELLING, "message", "receipt"]
)
def test_it_knows_every_event_by_a_word(name: str) -> None:
    step = ScriptStep(key="1", after=0, event=name, of_start=False, fields={})

    assert type(device_events.event_of(step, LINKED, now=datetime.now(UTC))).__name__ in dir(events)
