"""Linked devices with stores: made, read, held and refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from connectors.linked_device import stores
from connectors.linked_device.models import SenderSession, SessionLease
from connectors.linked_device.sessions import SessionErrorCode, UnableTo
from lib.ids import uuid7
from tests.conftest import Cast

# The number of the only contact: what no backup shows.
SECRET = "27711558396"
HOLD = """
import fcntl, sys
from pathlib import Path
with Path(sys.argv[1], "lock").open("a") as file:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def here(settings, tmp_path: Path) -> Callable[[str], None]:
    """Be on the machine ``one``, and move to another one, with other disks, when asked."""

    def move(host: str) -> None:
        settings.SIGMA_SENDER_STORE = tmp_path / host
        settings.SIGMA_SENDER_HOST = host

    move("one")
    return move


def session_of(cast: Cast, now: datetime) -> SenderSession:
    session = SenderSession.objects.create(
        tenant_id=cast.tenant.id,
        workspace=cast.workspace,
        home="one",
        paired_at=now - timedelta(days=2),
    )
    write(session, SECRET)
    return session


@pytest.fixture
def session(acme: Cast, now: datetime) -> SenderSession:
    """acme's linked device, stopped, with one contact."""
    return session_of(acme, now)


def write(session: SenderSession, *contacts: str) -> None:
    """Make the store anew, as a library would that was stopped."""
    stores.remove(session)
    with closing(sqlite3.connect(stores.prepare(session))) as database:
        database.execute("CREATE TABLE contacts (number TEXT)")
        database.executemany("INSERT INTO contacts VALUES (?)", [(one,) for one in contacts])
        database.commit()
    stores.store_of(session).chmod(0o600)


def contacts(session: SenderSession) -> list[str]:
    with closing(sqlite3.connect(stores.store_of(session))) as database:
        return [number for (number,) in database.execute("SELECT number FROM contacts")]


@contextmanager
def held_elsewhere(session: SenderSession) -> Iterator[None]:
    """Let another process of this machine hold the store."""
    command = [sys.executable, "-c", HOLD, str(stores.folder_of(session))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=Path(__file__).parents[2]) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        yield
        other.communicate()


def lease(session: SenderSession, *, expires_at: datetime) -> None:
    SessionLease.objects.update_or_create(
        session=session,
        defaults={
            "tenant_id": session.tenant_id,
            "owner": uuid7(),
            "host": "two",
            "expires_at": expires_at,
            "fencing_token": 3,
        },
    )


def refused(code: SessionErrorCode, verb: Callable[[], object]) -> str:
    with pytest.raises(UnableTo) as caught:
        verb()
    assert caught.value.code == code, caught.value
    return caught.value.message
