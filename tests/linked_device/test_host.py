"""A host and its sessions' processes: started by plan, ended when they hang, and never orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings

from connectors.linked_device import exits, leases, lock, standing
from connectors.linked_device import host as hosting
from connectors.linked_device.children import Child
from connectors.linked_device.host import Host
from connectors.linked_device.leases import Lease
from connectors.linked_device.standing import Standing
from connectors.models import SenderSession, SessionLease, SessionState, StoreRemoval
from tests.conftest import Cast
from tests.linked_device import devices

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
SLEEP = ("/bin/sleep", "600")
REAL_HOST = """
import sys, django
from pathlib import Path
django.setup()
from connectors.linked_device import children, host
host.Host.__init__.__kwdefaults__["argv"] = lambda session_id: ("/bin/sleep", "600")
sys.exit(host.run())
"""
Make = Callable[..., Host]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make hosts whose processes do nothing; what is left of them ends with the test."""
    made: list[Host] = []

    def one(name: str = "one", argv: Sequence[str] = SLEEP, **changes: object) -> Host:
        store = tmp_path / name
        store.mkdir(exist_ok=True)
        argv_of = argv if callable(argv) else lambda _: argv
        made.append(Host(name=name, store=store, argv=argv_of, every=0.01, **changes))
        return made[-1]

    yield one
    for host in made:
        for child in host.children.values():
            child.kill()


def session_of(cast: Cast, home: str = "one", **columns: object) -> SenderSession:
    """Return a session that is paired and wanted, and stopped long ago."""
    wanted = {"wanted": "RUNNING", "state": "WAITING", "home": home}
    past = timezone.now() - HOUR
    return devices.session_of(
        devices.linked(cast, str(uuid4())), **{**wanted, "paired_at": past, **columns}
    )


def sh(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def fresh(session: SenderSession) -> SenderSession:
    return SenderSession.objects.get(pk=session.pk)


def started(host: Host, session: SenderSession) -> Child:
    host.step()
    return host.children[session.pk]


def lease(session: SenderSession, child: Child, name: str = "one") -> Lease:
    """Take the lease as the process would."""
    return leases.acquire(session.pk, owner=uuid4(), host=name, pid=child.pid)


def is_over(host: Host, session: SenderSession) -> bool:
    host.step()
    return session.pk not in host.children


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


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


def test_a_crash_is_that_session_s_alone_and_the_pause_grows(
    acme: Cast, globex: Cast, make: Make, wait_for: Callable[..., None]
) -> None:
    broken, well = session_of(acme), session_of(globex)
    crash = sh("kill -ABRT $$")
    host = make(argv=lambda session_id: crash if session_id == broken.pk else SLEEP)
    pauses = []
    for _ in range(3):
        SenderSession.objects.filter(pk=broken.pk).update(until=None)
        started(host, broken)
        wait_for(lambda: is_over(host, broken))
        host.step()
        row = fresh(broken)
        pauses.append((row.until - timezone.now()).total_seconds())

    assert (row.state, row.failures) == (SessionState.FAILED, 3)
    assert "SIGABRT" in row.reason
    assert 3 < pauses[0] <= 5 < pauses[1] <= 10 < pauses[2] <= 20
    assert host.children.keys() == {well.pk}


@pytest.mark.parametrize("state", ["CONFLICT", "LOGGED_OUT", "BANNED", "RATE_LIMITED"])
@pytest.mark.parametrize("code", [exits.FINAL, 1])
def test_it_leaves_what_a_session_said_about_its_own_end(
    acme: Cast,
    make: Make,
    wait_for: Callable[..., None],
    tmp_path: Path,
    state: str,
    code: int,
) -> None:
    session, later = session_of(acme), timezone.now() + HOUR
    go = tmp_path / "go"
    host = make(argv=sh(f"until [ -e {go} ]; do sleep 0.01; done; exit {code}"))
    started(host, session)
    said = Standing(SessionState(state), "As WhatsApp said.", later)
    standing.write(session.pk, said, now=timezone.now())

    go.touch()
    wait_for(lambda: is_over(host, session))
    host.step()

    row = fresh(session)
    assert (row.state, row.reason, row.until) == (state, "As WhatsApp said.", later)
    assert not host.children


def test_a_dead_process_keeps_its_successor_waiting_for_its_lease(
    acme: Cast, make: Make, wait_for: Callable[..., None]
) -> None:
    session, host = session_of(acme), make()
    child = started(host, session)
    lease(session, child)
    standing.write(session.pk, Standing(SessionState.CONNECTED), now=timezone.now())
    os.kill(child.pid, signal.SIGSEGV)
    wait_for(lambda: is_over(host, session))
    host.step()

    row, ends = fresh(session), SessionLease.objects.get(pk=session.pk).expires_at
    assert (row.state, row.until) == (SessionState.FAILED, ends + leases.GRACE)
    assert row.stopped_at is not None
    assert not host.children


def test_it_kills_a_paused_process_before_anybody_else_may_start(
    acme: Cast, make: Make, wait_for: Callable[..., None]
) -> None:
    session, host = session_of(acme), make()
    child = started(host, session)
    lease(session, child)
    os.kill(child.pid, signal.SIGSTOP)
    host.step()
    assert host.children
    long_ago = timezone.now() - timedelta(seconds=46)
    SessionLease.objects.filter(pk=session.pk).update(renewed_at=long_ago, expires_at=long_ago)

    wait_for(lambda: is_over(host, session))
    host.step()

    assert not is_running(child.pid)
    assert not host.children, "the gap begins with its end, whatever the lease says"
    assert fresh(session).stopped_at > timezone.now() - timedelta(seconds=20)


def test_it_kills_what_does_not_end_when_it_should(
    acme: Cast, make: Make, wait_for: Callable[..., None]
) -> None:
    session = session_of(acme)
    host = make(argv=sh("trap '' TERM; while :; do sleep 0.05; done"), ending=0.3)
    child = started(host, session)
    lease(session, child)
    SenderSession.objects.filter(pk=session.pk).update(wanted="STOPPED", state="CONNECTED")

    host.step()
    assert is_running(child.pid)
    wait_for(lambda: is_over(host, session))
    host.step()

    assert fresh(session).state == SessionState.STOPPED
    assert not is_running(child.pid)


@pytest.mark.parametrize("way", ["removed", "inactive", "moved"])
def test_it_ends_a_session_that_is_not_to_be_served_here(
    acme: Cast, make: Make, wait_for: Callable[..., None], way: str
) -> None:
    session, host = session_of(acme), make()
    started(host, session)
    if way == "removed":
        SenderSession.objects.filter(pk=session.pk).delete()
    elif way == "moved":
        SenderSession.objects.filter(pk=session.pk).update(home="two")
    else:
        session.workspace.is_active = False
        session.workspace.save()

    wait_for(lambda: is_over(host, session))
    host.step()

    assert not host.children


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
    ready = tmp_path / "ready"
    ready.mkdir()
    slow = f"trap 'sleep 0.4; exit 0' TERM; touch {ready}/$$; while :; do sleep 0.01; done"
    host = make(argv=sh(slow))
    children = [started(host, session) for session in sessions]
    SenderSession.objects.update(state="CONNECTED")
    wait_for(lambda: len(list(ready.iterdir())) == len(sessions))
    began = time.monotonic()

    host.stop()
    assert host.run() == exits.DONE

    assert not any(is_running(child.pid) for child in children)
    assert time.monotonic() - began < 1.2
    assert {(fresh(one).state, fresh(one).wanted) for one in sessions} == {("WAITING", "RUNNING")}


def test_it_ends_sessions_that_just_began_when_it_is_stopped(acme: Cast, make: Make) -> None:
    session, host = session_of(acme), make()
    child = started(host, session)
    SenderSession.objects.update(state="STARTING")

    host.drain()

    assert (fresh(session).state, fresh(session).failures) == ("WAITING", 0)
    assert not is_running(child.pid)


def test_it_does_not_ask_again_at_once_for_a_session_that_is_held(
    acme: Cast, make: Make, wait_for: Callable[..., None]
) -> None:
    session, now = session_of(acme), [0.0]
    host = make(argv=sh(f"exit {exits.HELD}"), clock=lambda: now[0])
    started(host, session)
    wait_for(lambda: is_over(host, session))
    host.step()
    assert not host.children
    assert (fresh(session).state, fresh(session).failures) == ("WAITING", 0)

    now[0] = 10.0

    assert started(host, session)


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
    """A host in a process of its own, named ``one``."""
    settings.SIGMA_SENDER_STORE = tmp_path
    known = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items()}
    env = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "sigma.settings", "SIGMA_SENDER_HOST": "one",
        "SIGMA_SENDER_STORE": str(tmp_path),
        "DATABASE_URL": "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**known),
    }  # fmt: skip
    with subprocess.Popen((sys.executable, "-c", REAL_HOST), env=env) as process:
        yield process
        process.kill()


def children_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in children.read_text().split()] if children.exists() else []


def test_it_is_one_of_its_stores_and_leaves_no_process_when_it_is_killed(
    acme: Cast, real: subprocess.Popen[bytes], wait_for: Callable[..., None]
) -> None:
    session_of(acme)
    wait_for(lambda: len(children_of(real.pid)) == 1)
    (child,) = children_of(real.pid)
    assert os.getsid(child) == child, "no signal for the host is one for its sessions"
    with pytest.raises(lock.StoreInUse):
        hosting.run()

    real.kill()
    real.wait()

    wait_for(lambda: not is_running(child))
