"""The supervisor and the processes of its sessions: started by plan, kept, never orphans."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings

from connectors.linked_device import leases, status, stores
from connectors.linked_device.events import LinkedAccount
from connectors.linked_device.leases import ExitCode
from connectors.linked_device.models import SenderSession, SessionLease, SessionState, StoreRemoval
from connectors.linked_device.status import SessionStatus
from connectors.linked_device.supervisor import is_alive, run
from connectors.simulator import device_script
from connectors.simulator.device_store import DeviceStore
from tests.conftest import Cast
from tests.linked_device import devices
from tests.linked_device.supervisors import (
    SLEEP,
    Make,
    fresh,
    is_over,
    is_running,
    lease,
    make,
    session_of,
    sh,
    started,
)

__all__ = ("make",)

pytestmark = pytest.mark.django_db(transaction=True)

MANAGE = Path(__file__).parents[2] / "manage.py"


def test_it_starts_what_is_its_own_or_nobody_s(acme: Cast, globex: Cast, make: Make) -> None:
    mine, new, theirs = session_of(acme), session_of(globex, ""), session_of(globex, "two")
    stopped = session_of(acme, wanted="STOPPED", state="STOPPED")
    supervisor = make()

    supervisor.step()
    supervisor.step()

    assert supervisor.processes.keys() == {mine.pk, new.pk}
    assert [fresh(one).home for one in (mine, new, theirs)] == ["one", "one", "two"]
    assert fresh(stopped).state == SessionState.STOPPED


def test_two_hosts_never_both_adopt_a_session(acme: Cast, make: Make) -> None:
    session_ids = {session_of(acme, "").pk for _ in range(5)}
    one, two = make("one"), make("two")

    for supervisor in (one, two, one, two):
        supervisor.step()

    assert one.processes.keys() | two.processes.keys() == session_ids
    assert not one.processes.keys() & two.processes.keys()


def test_two_hosts_of_one_name_have_one_owner_between_them(acme: Cast, make: Make) -> None:
    session = session_of(acme)
    one, two = make("one"), make("one")
    process, other = started(one, session), started(two, session)
    lease(session, process)

    with pytest.raises(leases.LeaseHeld):
        lease(session, other)
    other.kill()
    while not is_over(two, session):
        pass
    two.step()

    row = fresh(session)
    assert (row.state, row.failures, row.stopped_at) == ("WAITING", 0, None), "not its to judge"
    assert not two.processes
    assert one.processes


def test_it_keeps_its_sessions_while_the_database_is_away(
    acme: Cast, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    session, supervisor = session_of(acme), make()
    process = started(supervisor, session)
    known = connection.settings_dict["PORT"]
    connection.close()
    try:
        connection.settings_dict["PORT"] = "1"
        supervisor.step()
        supervisor.step()
    finally:
        connection.close()
        connection.settings_dict["PORT"] = known
    supervisor.step()

    assert supervisor.processes == {session.pk: process}
    assert is_running(process.pid)
    assert [one.message for one in caplog.records if "is away" in one.message] == [
        "whatsapp session host: the database is away"
    ]


def test_it_says_where_sessions_stand_whose_host_was_killed(acme: Cast, make: Make) -> None:
    running, stopped = (session_of(acme, wanted=w) for w in ("RUNNING", "STOPPED"))
    for session in (running, stopped):
        leases.acquire(session.pk, owner=uuid4(), host="one", pid=1)
        status.write(session.pk, SessionStatus(SessionState.CONNECTED), now=timezone.now())
    supervisor = make()

    supervisor.step()
    assert fresh(running).state == SessionState.CONNECTED, "its lease is not over"
    SessionLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    supervisor.step()

    assert [fresh(one).state for one in (running, stopped)] == ["WAITING", "STOPPED"]
    assert not supervisor.processes


def test_it_ends_its_sessions_together_when_it_is_stopped(
    acme: Cast, make: Make, wait_for: Callable[..., None], tmp_path: Path
) -> None:
    sessions = [session_of(acme) for _ in range(3)]
    ready, ends = tmp_path / "ready", tmp_path / "ends"
    ready.mkdir()
    ends.mkdir()
    # None of them ends before all were asked to.
    slow = (
        f"trap 'touch {ends}/$$; while [ $(ls {ends} | wc -l) -lt 3 ]; do sleep 0.01; done; exit 0'"
        f" TERM; touch {ready}/$$; while :; do sleep 0.01; done"
    )
    supervisor = make(argv=sh(slow))
    processes = [started(supervisor, session) for session in sessions]
    SenderSession.objects.update(state="CONNECTED")
    wait_for(lambda: len(list(ready.iterdir())) == len(sessions))

    supervisor.stop()
    assert supervisor.run() == ExitCode.DONE

    assert not any(is_running(process.pid) for process in processes)
    assert {(fresh(one).state, fresh(one).wanted) for one in sessions} == {("WAITING", "RUNNING")}


def test_it_ends_sessions_that_just_began_when_it_is_stopped(acme: Cast, make: Make) -> None:
    session, supervisor = session_of(acme), make()
    process = started(supervisor, session)
    SenderSession.objects.update(state="STARTING")

    supervisor.drain()

    assert (fresh(session).state, fresh(session).failures) == ("WAITING", 0)
    assert not is_running(process.pid)


def test_it_removes_what_is_left_of_pairings_and_of_erased_tenants(
    acme: Cast, make: Make, settings: Settings, tmp_path: Path
) -> None:
    now, gone = timezone.now(), uuid4()
    settings.SIGMA_SENDER_STORE = tmp_path
    over, good = (devices.pairing(devices.linked(acme, name), now) for name in ("a", "b"))
    SenderSession.objects.filter(pk=over.pk).update(pairing_expires_at=now)
    StoreRemoval.objects.create(erased_tenant=gone)
    (tmp_path / str(gone)).mkdir()

    make(argv=SLEEP).step()

    assert fresh(over).sealed_pairing is None
    assert fresh(good).sealed_pairing is not None
    assert not (tmp_path / str(gone)).exists()


def test_it_shows_that_it_is_alive(make: Make, tmp_path: Path) -> None:
    supervisor, store = make(), tmp_path / "one"
    assert not is_alive(store)

    supervisor.step()

    assert is_alive(store)
    assert not is_alive(store, now=time.time() + 31)


@pytest.fixture
def real(settings: Settings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command that hosts sessions, on the machine ``one``."""
    settings.SIGMA_SENDER_STORE = tmp_path
    known = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items()}
    env = {
        **os.environ,
        "SIGMA_SENDER_HOST": "one",
        "SIGMA_SENDER_STORE": str(tmp_path),
        "SIGMA_SENDER_DEVICE": "simulated",
        "DATABASE_URL": "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**known),
    }
    with subprocess.Popen((sys.executable, MANAGE, "sender", "host"), env=env) as process:
        yield process
        process.kill()


def connected(cast: Cast, wait_for: Callable[..., None]) -> tuple[SenderSession, int]:
    """Return a session that the real supervisor connected, and its process."""
    session = session_of(cast, state="STOPPED")
    store = stores.prepare(session)
    device_script.write(store, connect_after=0.0)
    DeviceStore(store).link(LinkedAccount(number="447700900123"))
    wait_for(lambda: fresh(session).state == SessionState.CONNECTED)
    return session, SessionLease.objects.get(pk=session.pk).pid


def test_it_is_one_of_its_stores_and_leaves_no_process_when_it_is_killed(
    acme: Cast, real: subprocess.Popen[bytes], wait_for: Callable[..., None]
) -> None:
    _, pid = connected(acme, wait_for)
    assert os.getsid(pid) == pid, "no signal for the supervisor is one for its sessions"
    with pytest.raises(stores.StoreInUse):
        run()

    real.kill()
    real.wait()

    wait_for(lambda: not is_running(pid))


def test_it_gives_every_session_back_when_it_is_stopped(
    acme: Cast, real: subprocess.Popen[bytes], wait_for: Callable[..., None]
) -> None:
    session, pid = connected(acme, wait_for)

    real.terminate()

    assert real.wait(120) == ExitCode.DONE
    assert not is_running(pid)
    row = fresh(session)
    assert (row.state, row.wanted, row.failures) == ("WAITING", "RUNNING", 0)
    assert SessionLease.objects.get(pk=session.pk).owner is None
    with pytest.raises(leases.LeaseHeld):
        leases.acquire(session.pk, owner=uuid4(), host="one", pid=1)
