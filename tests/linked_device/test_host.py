"""A host and its sessions' processes: started by plan, kept, and never orphans."""

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

from connectors.linked_device import exits, leases, lock, standing, stores
from connectors.linked_device import host as hosting
from connectors.linked_device.events import Account
from connectors.linked_device.standing import Standing
from connectors.models import SenderSession, SessionLease, SessionState, StoreRemoval
from connectors.simulator import device_script
from connectors.simulator.device_store import DeviceStore
from tests.conftest import Cast
from tests.linked_device import devices
from tests.linked_device.hosts import (
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
    host = make()

    host.step()
    host.step()

    assert host.children.keys() == {mine.pk, new.pk}
    assert [fresh(one).home for one in (mine, new, theirs)] == ["one", "one", "two"]
    assert fresh(stopped).state == SessionState.STOPPED


def test_two_hosts_never_both_adopt_a_session(acme: Cast, make: Make) -> None:
    session_ids = {session_of(acme, "").pk for _ in range(5)}
    one, two = make("one"), make("two")

    for host in (one, two, one, two):
        host.step()

    assert one.children.keys() | two.children.keys() == session_ids
    assert not one.children.keys() & two.children.keys()


def test_two_hosts_of_one_name_have_one_owner_between_them(acme: Cast, make: Make) -> None:
    session = session_of(acme)
    one, two = make("one"), make("one")
    child, other = started(one, session), started(two, session)
    lease(session, child)

    with pytest.raises(leases.Held):
        lease(session, other)
    other.kill()
    while not is_over(two, session):
        pass
    two.step()

    row = fresh(session)
    assert (row.state, row.failures, row.stopped_at) == ("WAITING", 0, None), "not its to judge"
    assert not two.children
    assert one.children


def test_it_keeps_its_sessions_while_the_database_is_away(
    acme: Cast, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    session, host = session_of(acme), make()
    child = started(host, session)
    known = connection.settings_dict["PORT"]
    connection.close()
    try:
        connection.settings_dict["PORT"] = "1"
        host.step()
        host.step()
    finally:
        connection.close()
        connection.settings_dict["PORT"] = known
    host.step()

    assert host.children == {session.pk: child}
    assert is_running(child.pid)
    assert [one.message for one in caplog.records if "is away" in one.message] == [
        "whatsapp session host: the database is away"
    ]


def test_it_says_where_sessions_stand_whose_host_was_killed(acme: Cast, make: Make) -> None:
    running, stopped = (session_of(acme, wanted=w) for w in ("RUNNING", "STOPPED"))
    for session in (running, stopped):
        leases.acquire(session.pk, owner=uuid4(), host="one", pid=1)
        standing.write(session.pk, Standing(SessionState.CONNECTED), now=timezone.now())
    host = make()

    host.step()
    assert fresh(running).state == SessionState.CONNECTED, "its lease is not over"
    SessionLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    host.step()

    assert [fresh(one).state for one in (running, stopped)] == ["WAITING", "STOPPED"]
    assert not host.children


def test_it_ends_its_sessions_together_when_it_is_stopped(
    acme: Cast, make: Make, wait_for: Callable[..., None], tmp_path: Path
) -> None:
    sessions = [session_of(acme) for _ in range(3)]
    ready, told = tmp_path / "ready", tmp_path / "told"
    ready.mkdir()
    told.mkdir()
    # None of them ends before all were told to.
    slow = (
        f"trap 'touch {told}/$$; while [ $(ls {told} | wc -l) -lt 3 ]; do sleep 0.01; done; exit 0'"
        f" TERM; touch {ready}/$$; while :; do sleep 0.01; done"
    )
    host = make(argv=sh(slow))
    children = [started(host, session) for session in sessions]
    SenderSession.objects.update(state="CONNECTED")
    wait_for(lambda: len(list(ready.iterdir())) == len(sessions))

    host.stop()
    assert host.run() == exits.DONE

    assert not any(is_running(child.pid) for child in children)
    assert {(fresh(one).state, fresh(one).wanted) for one in sessions} == {("WAITING", "RUNNING")}


def test_it_ends_sessions_that_just_began_when_it_is_stopped(acme: Cast, make: Make) -> None:
    session, host = session_of(acme), make()
    child = started(host, session)
    SenderSession.objects.update(state="STARTING")

    host.drain()

    assert (fresh(session).state, fresh(session).failures) == ("WAITING", 0)
    assert not is_running(child.pid)


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
    host, store = make(), tmp_path / "one"
    assert not hosting.is_alive(store)

    host.step()

    assert hosting.is_alive(store)
    assert not hosting.is_alive(store, now=time.time() + 31)


@pytest.fixture
def real(settings: Settings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command that hosts sessions, on the machine ``one``."""
    settings.SIGMA_SENDER_STORE = tmp_path
    known = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items()}
    env = {
        **os.environ, "SIGMA_SENDER_HOST": "one", "SIGMA_SENDER_STORE": str(tmp_path),
        "SIGMA_SENDER_DEVICE": "simulated",
        "DATABASE_URL": "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**known),
    }  # fmt: skip
    with subprocess.Popen((sys.executable, MANAGE, "sender", "host"), env=env) as process:
        yield process
        process.kill()


def connected(cast: Cast, wait_for: Callable[..., None]) -> tuple[SenderSession, int]:
    """Return a session that the real host connected, and its process."""
    session = session_of(cast, state="STOPPED")
    store = stores.prepare(session)
    device_script.write(store, connect_after=0.0)
    DeviceStore(store).link(Account(number="447700900123"))
    wait_for(lambda: fresh(session).state == SessionState.CONNECTED)
    return session, SessionLease.objects.get(pk=session.pk).pid


def test_it_is_one_of_its_stores_and_leaves_no_process_when_it_is_killed(
    acme: Cast, real: subprocess.Popen[bytes], wait_for: Callable[..., None]
) -> None:
    _, pid = connected(acme, wait_for)
    assert os.getsid(pid) == pid, "no signal for the host is one for its sessions"
    with pytest.raises(lock.StoreInUse):
        hosting.run()

    real.kill()
    real.wait()

    wait_for(lambda: not is_running(pid))


def test_it_gives_every_session_back_when_it_is_stopped(
    acme: Cast, real: subprocess.Popen[bytes], wait_for: Callable[..., None]
) -> None:
    session, pid = connected(acme, wait_for)

    real.terminate()

    assert real.wait(120) == exits.DONE
    assert not is_running(pid)
    row = fresh(session)
    assert (row.state, row.wanted, row.failures) == ("WAITING", "RUNNING", 0)
    assert SessionLease.objects.get(pk=session.pk).owner is None
    with pytest.raises(leases.Held):
        leases.acquire(session.pk, owner=uuid4(), host="one", pid=1)
