"""The real process of a session, through everything that a linked device may go through."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from pytest_django.fixtures import Settings

from connectors.linked_device import sessions, stores
from connectors.linked_device.events import LinkedAccount
from connectors.linked_device.leases import ExitCode
from connectors.linked_device.models import PairBy, SenderSession, SessionLease
from connectors.linked_device.models import SessionState as S
from connectors.simulator import device_script
from connectors.simulator.device_store import DeviceStore, journal_of
from connectors.whatsapp.models import WebhookPending
from messaging import numbers, transitions
from messaging.models import Message, NumberState, PendingSend
from tests.conftest import Cast
from tests.linked_device import devices, sends
from tests.linked_device.session_processes import SessionProcesses

pytestmark = pytest.mark.django_db(transaction=True)

ACCOUNT = LinkedAccount(number="447700900123", push_name="Front desk", platform="android")
QUICK = {"connect_after": 0.0, "receipts": {}}
HOUR = timedelta(hours=1)
HANG_UP = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass
class Stage:
    """A store, the processes on it, and WhatsApp as a script says."""

    processes: SessionProcesses
    wait_for: Callable[..., None]
    ended: dict[int, int] = field(default_factory=dict)

    def prepare(self, session: SenderSession, *, linked: bool = True, **script: object) -> Path:
        """Make the store of a session, with a script beside it."""
        store = stores.prepare(session)
        device_script.write(store, **{**QUICK, **script})
        if linked:
            DeviceStore(store).link(ACCOUNT)
        return store

    def start(self, session: SenderSession) -> int:
        """Start a process for a session that stopped long ago."""
        SenderSession.objects.filter(pk=session.pk, stopped_at__isnull=False).update(
            stopped_at=datetime.now(UTC) - HOUR
        )
        return self.processes.start(session.pk)

    def code(self, pid: int) -> int | None:
        """Return how a process ended; ``None``: it runs."""
        if pid not in self.ended and (code := self.processes.ended(pid)) is not None:
            self.ended[pid] = code
        return self.ended.get(pid)

    def exit_of(self, pid: int) -> int:
        """Wait for a process to end; return how."""
        self.wait_for(lambda: self.code(pid) is not None)
        return self.ended[pid]

    def becomes(self, session: SenderSession, state: S) -> None:
        """Wait until a session is in a state."""
        self.wait_for(lambda: fresh(session).state == state)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of all stores."""
    return tmp_path_factory.mktemp("sender")


@pytest.fixture(scope="module")
def processes(folder: Path, django_db_setup: None) -> Iterator[SessionProcesses]:
    """Where session processes come from."""
    one = SessionProcesses(folder)
    yield one
    one.close()


@pytest.fixture
def stage(
    processes: SessionProcesses, folder: Path, settings: Settings, wait_for: Callable[..., None]
) -> Iterator[Stage]:
    """A stage whose processes end with the test."""
    settings.SIGMA_SENDER_STORE = folder
    one = Stage(processes, wait_for)
    yield one
    for pid in processes.born:
        if one.code(pid) is None:
            os.kill(pid, signal.SIGKILL)
            one.exit_of(pid)
    processes.born.clear()


def fresh(session: SenderSession) -> SenderSession:
    return SenderSession.objects.get(pk=session.pk)


def log_of(session: SenderSession) -> str:
    """Return what a session's log file says, where the runbook searches."""
    folder = Path(settings.SIGMA_SENDER_STORE) / "logs"
    return (folder / f"session-{session.id}.log").read_text(encoding="utf-8")


def linked(cast: Cast, name: str = "") -> SenderSession:
    """Return a session that is paired and wanted."""
    workspace = devices.linked(cast, name)
    return devices.session_of(workspace, wanted="RUNNING", paired_at=datetime.now(UTC) - HOUR)


def test_it_shows_qr_codes_until_a_phone_is_linked_and_ends_with_its_host(
    acme: Cast, stage: Stage
) -> None:
    session = devices.session_of(devices.linked(acme))
    store = stage.prepare(
        session,
        linked=False,
        qr_seconds=[0.4] * 6,
        paired_after=0.9,
        events=[{"after": 0.1, "event": "message", "text": "Is the shop open?"}],
    )
    sessions.pair(session.id, by=PairBy.QR, now=datetime.now(UTC))
    pid, shown = stage.start(session), set()

    def is_connected() -> bool:
        pairing = sessions.pairing_of(fresh(session), now=datetime.now(UTC))
        shown.update({pairing.code} if pairing else ())
        return fresh(session).state == S.CONNECTED and WebhookPending.objects.exists()

    stage.wait_for(is_connected)
    row = fresh(session)
    assert len(shown) >= 2, "QR codes replace one another"
    assert (row.sealed_pairing, row.pair_by, row.failures) == (None, "", 0)
    assert row.paired_at
    assert (row.device_platform, row.library) == ("android", "simulated 1")
    number = NumberState.objects.get(pk=row.workspace_id)
    assert (numbers.number_of(number), number.status) == (device_script.NUMBER, "CONNECTED")
    made = (store.parent, store, store.with_name("whatsapp.db.server"))
    modes = [stat.S_IMODE(path.stat().st_mode) for path in made]
    assert modes == [0o700, 0o600, 0o600]
    assert stage.exit_of(stage.start(session)) == ExitCode.HELD, "one owner, never two"

    os.kill(pid, signal.SIGTERM)
    assert stage.exit_of(pid) == ExitCode.DONE
    row = fresh(session)
    assert (row.state, row.wanted, row.lease.owner) == (S.WAITING, "RUNNING", None)
    assert row.stopped_at > row.started_at


def test_it_pairs_by_a_code_and_stops_when_asked(acme: Cast, stage: Stage) -> None:
    session = devices.session_of(devices.linked(acme))
    stage.prepare(session, linked=False, paired_after=0.8)
    now = datetime.now(UTC)
    sessions.pair(session.id, by=PairBy.CODE, number="+447700900155", now=now)
    pid, codes = stage.start(session), []

    def is_connected() -> bool:
        pairing = sessions.pairing_of(fresh(session), now=datetime.now(UTC))
        codes.extend([pairing] if pairing else ())
        return fresh(session).state == S.CONNECTED

    stage.wait_for(is_connected)
    assert {(one.by, len(one.code), one.code[4]) for one in codes} == {(PairBy.CODE, 9, "-")}
    assert codes[0].expires_at - now > timedelta(seconds=150)
    assert fresh(session).sealed_pair_number is None
    assert f"Pairing code: {codes[0].code}" in log_of(session)
    assert "Successfully logged in" in log_of(session)
    assert "447700900155" not in log_of(session)

    sessions.stop(session.id, now=datetime.now(UTC))
    assert stage.exit_of(pid) == ExitCode.DONE
    assert (fresh(session).state, fresh(session).reason) == (S.STOPPED, "Stopped.")


def test_it_stops_when_nobody_links_a_phone(acme: Cast, stage: Stage) -> None:
    session = devices.session_of(devices.linked(acme))
    stage.prepare(session, linked=False, qr_seconds=[0.2, 0.2], paired_after=None)
    sessions.pair(session.id, by=PairBy.QR, now=datetime.now(UTC))

    assert stage.exit_of(stage.start(session)) == ExitCode.FINAL
    row = fresh(session)
    assert (row.state, row.wanted, row.pair_by, row.sealed_pairing) == (
        S.STOPPED,
        "STOPPED",
        "",
        None,
    )
    assert "Pair again" in row.reason


def test_a_code_is_gone_with_the_process_that_showed_it(acme: Cast, stage: Stage) -> None:
    session = devices.session_of(devices.linked(acme))
    stage.prepare(session, linked=False, paired_after=None)
    sessions.pair(session.id, by=PairBy.QR, now=datetime.now(UTC))
    pid = stage.start(session)
    stage.wait_for(lambda: fresh(session).sealed_pairing is not None)

    os.kill(pid, signal.SIGTERM)
    assert stage.exit_of(pid) == ExitCode.DONE
    assert (fresh(session).sealed_pairing, fresh(session).pair_by) == (None, "QR")


def test_it_begins_nothing_with_a_store_that_others_may_read(acme: Cast, stage: Stage) -> None:
    session = linked(acme)
    stage.prepare(session).chmod(0o644)

    assert stage.exit_of(stage.start(session)) == ExitCode.FAILED
    assert fresh(session).state == S.FAILED
    assert "other users of this machine" in fresh(session).reason


def test_it_outlives_a_database_that_hangs_up(acme: Cast, stage: Stage) -> None:
    session = linked(acme)
    stage.prepare(session, events=[{"after": 1, "event": "message"}])
    pid = stage.start(session)
    stage.becomes(session, S.CONNECTED)
    with connection.cursor() as cursor:
        cursor.execute(HANG_UP)

    stage.wait_for(WebhookPending.objects.exists)
    sessions.stop(session.id, now=datetime.now(UTC))
    assert stage.exit_of(pid) == ExitCode.DONE
    assert fresh(session).state == S.STOPPED


ENDS = {
    "replaced": (S.CONFLICT, ExitCode.FINAL, "start this session again"),
    "logged_out": (S.LOGGED_OUT, ExitCode.FINAL, "Pair again"),
    "banned": (S.BANNED, ExitCode.FINAL, "banned"),
    "outdated": (S.OUTDATED, ExitCode.FINAL, "Update the software"),
    "unreachable": (S.FAILED, ExitCode.FAILED, "network"),
}


def test_it_ends_once_and_says_what_to_do(acme: Cast, globex: Cast, stage: Stage) -> None:
    hosted = {word: linked(acme, word) for word in ENDS}
    unharmed = linked(globex)
    running = [
        (s, stage.prepare(s, events=[{"after": 0.2, "event": w}])) for w, s in hosted.items()
    ]
    stage.prepare(unharmed)
    healthy = stage.start(unharmed)
    codes = [stage.exit_of(pid) for pid in [stage.start(session) for session, _ in running]]

    ended = {word: fresh(session) for word, session in hosted.items()}
    assert codes == [code for _, code, _ in ENDS.values()]
    assert {w: row.state for w, row in ended.items()} == {w: end[0] for w, end in ENDS.items()}
    assert all(ENDS[word][2] in row.reason for word, row in ended.items())
    assert {word for word, row in ended.items() if row.paired_at is None} == {"logged_out"}
    assert {word for word, row in ended.items() if row.until} == {"banned"}
    for _, store in running:
        connections = [line["event"] for line in journal_of(store, "connections")]
        assert connections == ["connected", "disconnected"], "it never reconnects by itself"
    assert (fresh(unharmed).state, stage.code(healthy)) == (S.CONNECTED, None)


def test_it_waits_by_itself_when_whatsapp_says_so(acme: Cast, stage: Stage) -> None:
    session = sends.linked(acme, wanted="RUNNING", paired_at=datetime.now(UTC))
    stage.prepare(session, sends=["throttled:1.5"])
    message = sends.queue(acme, datetime.now(UTC))
    pid = stage.start(session)

    stage.becomes(session, S.RATE_LIMITED)
    assert fresh(session).until - fresh(session).since > timedelta(seconds=1)
    stage.wait_for(lambda: Message.objects.get(pk=message.pk).status == "queued")
    assert "429 rate-overlimit" in log_of(session)
    stage.becomes(session, S.CONNECTED)
    assert stage.code(pid) is None, "it listened all the time"


def test_a_restart_waits_for_a_slow_send(acme: Cast, stage: Stage) -> None:
    session = sends.linked(acme, wanted="RUNNING", paired_at=datetime.now(UTC))
    store = stage.prepare(session, sends=["slow:1.5"])
    message = sends.queue(acme, datetime.now(UTC))
    pid = stage.start(session)
    stage.wait_for(lambda: Message.objects.get(pk=message.pk).status == "sending")

    sessions.restart(session.id, now=datetime.now(UTC))
    assert stage.exit_of(pid) == ExitCode.DONE
    assert Message.objects.get(pk=message.pk).status not in ("sending", "unknown", "queued")
    assert (fresh(session).state, len(journal_of(store))) == (S.WAITING, 1)

    pid = stage.start(session)
    stage.becomes(session, S.CONNECTED)
    stage.wait_for(lambda: fresh(session).last_event_at is not None)
    assert stage.code(pid) is None, "a restart is done once"


def test_a_send_that_dies_in_mid_flight_is_unknown_and_never_repeated(
    acme: Cast, stage: Stage
) -> None:
    session = sends.linked(acme, wanted="RUNNING", paired_at=datetime.now(UTC))
    store = stage.prepare(session, sends=["crash"])
    lost = sends.queue(acme, datetime.now(UTC))
    assert stage.exit_of(stage.start(session)) == -signal.SIGKILL
    assert Message.objects.get(pk=lost.pk).status == "sending"
    assert stage.exit_of(stage.start(session)) == ExitCode.HELD, "its lease is not over"

    past = datetime.now(UTC) - HOUR
    PendingSend.objects.filter(pk=lost.pk).update(lease_until=past)
    SessionLease.objects.update(expires_at=past)
    transitions.expire(now=datetime.now(UTC))
    other = sends.queue(acme, datetime.now(UTC), number="27839999999")
    stage.start(session)
    stage.wait_for(lambda: len(journal_of(store)) == 2)
    stage.wait_for(lambda: Message.objects.get(pk=other.pk).status not in ("queued", "sending"))
    assert Message.objects.get(pk=lost.pk).status == "unknown"
    assert len(journal_of(store)) == 2
