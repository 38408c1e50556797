"""Supervisors whose sessions' processes are stand-ins, and what a test asks of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.utils import timezone

from connectors.linked_device import leases
from connectors.linked_device.leases import Lease
from connectors.linked_device.models import SenderSession
from connectors.linked_device.supervisor import SessionProcess, SessionSupervisor
from tests.conftest import Cast
from tests.linked_device import devices

HOUR = timedelta(hours=1)
SLEEP = ("/bin/sleep", "600")
Make = Callable[..., SessionSupervisor]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make hosts whose processes do nothing; what is left of them ends with the test."""
    made: list[SessionSupervisor] = []

    def one(name: str = "one", argv: Sequence[str] = SLEEP, **changes: object) -> SessionSupervisor:
        store = tmp_path / name
        store.mkdir(exist_ok=True)
        argv_of = argv if callable(argv) else lambda _: argv
        made.append(SessionSupervisor(host=name, store=store, argv=argv_of, every=0.01, **changes))
        return made[-1]

    yield one
    for supervisor in made:
        for process in supervisor.processes.values():
            process.kill()


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


def started(supervisor: SessionSupervisor, session: SenderSession) -> SessionProcess:
    supervisor.step()
    return supervisor.processes[session.pk]


def lease(session: SenderSession, process: SessionProcess, name: str = "one") -> Lease:
    """Take the lease as the process would."""
    return leases.acquire(session.pk, owner=uuid4(), host=name, pid=process.pid)


def is_over(supervisor: SessionSupervisor, session: SenderSession) -> bool:
    supervisor.step()
    return session.pk not in supervisor.processes


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
