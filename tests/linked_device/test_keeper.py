"""A process keeps its session, or ends: paused, without a database, or with one that hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from connectors.linked_device import leases, status
from connectors.linked_device.leases import ExitCode, Lease, LeaseKeeper, LeaseLost
from connectors.linked_device.models import SenderSession, SessionLease, SessionState
from connectors.linked_device.status import SessionStatus
from sigma.engines import postgres
from sigma.engines.engine import Engine
from tests.conftest import Cast
from tests.linked_device import devices

Renew = Callable[[Lease], None]
LEASE = Lease(uuid4(), uuid4(), uuid4(), 1)
# By its own watch, or where that comes too late, by the kernel's.
ENDED = (ExitCode.LOST, -signal.SIGALRM)
TABLES = """
CREATE TABLE sender_sessions (id uuid, tenant_id uuid, stopped_at timestamptz,
    updated_at timestamptz, library text, PRIMARY KEY (tenant_id, id));
CREATE TABLE session_leases (session_id uuid, tenant_id uuid, owner uuid,
    host text DEFAULT '', pid int DEFAULT 0, fencing_token int8 DEFAULT 0,
    acquired_at timestamptz, renewed_at timestamptz, expires_at timestamptz,
    PRIMARY KEY (tenant_id, session_id));
"""


class Renewals:
    """A database as a script says: errors and nothing, in this order, then nothing."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers, self.count = list(answers), 0

    def __call__(self, lease: Lease) -> None:
        self.count += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer


def kept(renew: Renew, lost: list[str], **changes: object) -> LeaseKeeper:
    return LeaseKeeper(LEASE, on_lost=lost.append, clock=lambda: 0.0, renew=renew, **changes)


def test_it_renews_every_ten_seconds_and_sooner_after_a_failure() -> None:
    lost: list[str] = []
    renew = Renewals(None, OperationalError(), None)
    keeper = kept(renew, lost)

    assert [keeper.renew_if_due(at) for at in (0.0, 4.0, 10.0, 12.0)] == [10.0, 6.0, 2.0, 10.0]
    keeper.check(56.9)

    assert (renew.count, lost) == (3, [])


def test_it_is_lost_once_when_too_much_time_passed() -> None:
    lost: list[str] = []
    keeper = kept(Renewals(None, *[OperationalError()] * 9), lost)
    for at in (0.0, 10.0, 44.9):
        keeper.renew_if_due(at)
        keeper.check(at)
    assert lost == []

    keeper.check(45.0)
    keeper.check(46.0)

    assert len(lost) == 1
    assert "not renewed for 45 s" in lost[0]


def test_it_is_lost_when_the_lease_is_somebody_else_s() -> None:
    lost: list[str] = []

    kept(Renewals(LeaseLost("It is two's.")), lost).renew_if_due(0.0)

    assert len(lost) == 1
    assert "two's" in lost[0]


def test_it_sets_the_kernel_s_alarm_until_it_is_stopped() -> None:
    alarms: list[float] = []
    keeper = kept(Renewals(), [], alarm=alarms.append)

    keeper.renew_if_due(0.0)
    keeper.stop()
    keeper.renew_if_due(10.0)

    assert alarms == [54.0, 0], "before the lease ends, and never after a stop"


def test_it_watches_the_clock_while_the_database_hangs(wait_for: Callable[..., None]) -> None:
    lost: list[str] = []
    hangs, answers = threading.Event(), Renewals()

    def renew(lease: Lease) -> None:
        answers(lease)
        if answers.count > 1:
            hangs.wait(120)

    keeper = LeaseKeeper(LEASE, on_lost=lost.append, renew=renew, every=0.01, patience=0.3)
    keeper.start()
    wait_for(lambda: bool(lost))
    hangs.set()
    keeper.stop()

    assert answers.count == 2


@pytest.fixture
def hold() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start processes that hold a session; the test's end is theirs."""
    begun: list[subprocess.Popen[str]] = []

    def start(session: UUID, url: str, *, every: float, patience: float) -> subprocess.Popen[str]:
        argv = (sys.executable, "-m", "tests.linked_device.holder", str(session), "one")
        begun.append(
            subprocess.Popen(
                (*argv, str(every), str(patience)),
                text=True,
                env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "sigma.settings"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return begun[-1]

    yield start
    for one in begun:
        one.kill()
        one.communicate()


def lease_of(session: SenderSession, holder: subprocess.Popen[str]) -> Lease:
    """Wait until the process has the session; return what it has."""
    assert holder.stdout is not None
    _, owner, token = holder.stdout.readline().split()
    return Lease(session.pk, session.tenant_id, UUID(owner), int(token))


def the_tests_own() -> str:
    known = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items()}
    return "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**known)


def last_worker(session: SenderSession) -> str:
    return SenderSession.objects.get(pk=session.pk).library


def pause(holder: subprocess.Popen[str], session: SenderSession) -> None:
    """Pause a process, not in the middle of a transaction: its locks would stay."""
    while True:
        holder.send_signal(signal.SIGSTOP)
        os.waitpid(holder.pid, os.WUNTRACED)
        try:
            with transaction.atomic():
                SessionLease.objects.select_for_update(nowait=True).get(pk=session.pk)
                SenderSession.objects.select_for_update(nowait=True).get(pk=session.pk)
                return
        except OperationalError:
            holder.send_signal(signal.SIGCONT)


@pytest.mark.django_db(transaction=True)
def test_a_process_that_was_paused_past_its_lease_wakes_up_to_nothing(
    acme: Cast, hold: Callable[..., subprocess.Popen[str]], wait_for: Callable[..., None]
) -> None:
    session = devices.session_of(devices.linked(acme))
    holder = hold(session.pk, the_tests_own(), every=0.5, patience=45)
    old = lease_of(session, holder)
    wait_for(lambda: last_worker(session) == "1")

    pause(holder, session)
    long_ago = timezone.now() - timedelta(hours=1)
    SessionLease.objects.filter(pk=session.pk).update(expires_at=long_ago)
    new = leases.acquire(session.pk, owner=uuid4(), host="two", pid=1)
    SenderSession.objects.filter(pk=session.pk).update(library="the new owner's")
    holder.send_signal(signal.SIGCONT)

    assert holder.wait(120) == ExitCode.LOST
    assert holder.stderr is not None
    assert "lost its lease" in holder.stderr.read()
    assert last_worker(session) == "the new owner's"
    with pytest.raises(LeaseLost), transaction.atomic():
        leases.require(old)
    connected, now = SessionStatus(SessionState.CONNECTED), timezone.now()
    assert not status.write(session.pk, connected, now=now, fencing_token=old.fencing_token)
    assert new.fencing_token == old.fencing_token + 1


@pytest.mark.django_db(transaction=True)
def test_a_process_that_was_paused_for_long_does_nothing_more_when_it_wakes_up(
    acme: Cast, hold: Callable[..., subprocess.Popen[str]], wait_for: Callable[..., None]
) -> None:
    session = devices.session_of(devices.linked(acme))
    holder = hold(session.pk, the_tests_own(), every=0.2, patience=1)
    lease = lease_of(session, holder)
    wait_for(lambda: last_worker(session) == "1")

    pause(holder, session)
    paused_at = time.monotonic()
    SenderSession.objects.filter(pk=session.pk).update(library="before")
    wait_for(lambda: time.monotonic() - paused_at > 1.5)
    holder.send_signal(signal.SIGCONT)

    assert holder.wait(120) in ENDED
    assert last_worker(session) == "before", "though the lease would have let it"
    with transaction.atomic():
        leases.require(lease)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """A database of its own, started (again) when called; killed with the test."""
    made, begun = postgres.prepare(tmp_path, durable=True), list[subprocess.Popen[bytes]]()

    def start() -> subprocess.Popen[bytes]:
        # What a killed server leaves behind is gone a moment later.
        while not answering(made, begun):
            pass
        return begun[-1]

    start.url = made.url  # type: ignore[attr-defined]
    yield start
    for one in begun:
        one.kill()
        one.wait()


def answering(engine: Engine, begun: list[subprocess.Popen[bytes]]) -> bool:
    if not begun or begun[-1].poll() is not None:
        quiet = subprocess.DEVNULL
        begun.append(subprocess.Popen(engine.command(), stdout=quiet, stderr=quiet))
    threading.Event().wait(0.05)
    return engine.answers()


def add_session(own: psycopg.Connection) -> SenderSession:
    session = SenderSession(tenant_id=uuid4())
    row = (session.pk, session.tenant_id)
    own.execute("INSERT INTO sender_sessions (id, tenant_id) VALUES (%s, %s)", row)
    return session


def test_a_killed_database_ends_a_process_unless_it_comes_back_before(
    engine: Callable[[], subprocess.Popen[bytes]],
    hold: Callable[..., subprocess.Popen[str]],
    wait_for: Callable[..., None],
) -> None:
    url: str = engine.url  # type: ignore[attr-defined]
    server = engine()
    with psycopg.connect(url, autocommit=True) as own:
        own.execute(TABLES)
        held = {patience: add_session(own) for patience in (1, 30)}
    holders = [hold(held[patience].pk, url, every=0.2, patience=patience) for patience in held]
    tokens = [lease_of(*each).fencing_token for each in zip(held.values(), holders, strict=True)]
    assert tokens == [1, 1]

    server.kill()
    server.wait()
    assert holders[0].wait(120) in ENDED
    engine()

    with psycopg.connect(url, autocommit=True) as own:
        own.execute("UPDATE sender_sessions SET library = ''")
        worker = "SELECT library FROM sender_sessions WHERE id = %s"
        wait_for(lambda: own.execute(worker, (held[30].pk,)).fetchone() == ("1",))
        assert own.execute(worker, (held[1].pk,)).fetchone() == ("",)
    assert holders[1].poll() is None
