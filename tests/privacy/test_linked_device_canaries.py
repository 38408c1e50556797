"""Nobody's phone number stays behind a linked device, but for the one file that is the account."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection

from connectors.linked_device import backups, sessions, stores
from connectors.linked_device.models import PairBy, SenderSession, SessionState
from connectors.simulator import device_script
from connectors.whatsapp.processing import process_batch
from messaging import numbers
from messaging.models import Message, NumberState
from tests.conftest import Cast
from tests.linked_device import sends
from tests.privacy import places
from tests.privacy.canaries import SENT_TO, person

pytestmark = pytest.mark.django_db(transaction=True)

NUMBERS = places.disguises(SENT_TO)
OWN, PAIRED, WRITES, WRITTEN_TO = (person(n) for n in range(4))
# The account, and the part of WhatsApp, which knows everybody. All else is searched.
THE_ACCOUNT, WHATSAPP = "whatsapp.db", "whatsapp.db.script"
# The command, without a person's pause before the first message.
QUICK = """
import manage, sigma.ready
from connectors.linked_device import delivering
delivering.JITTER = (0.0, 0.1)
manage.main()
"""
HAPPENS = {
    "connect_after": 0.0,
    "paired_after": 0.4,
    "receipts": {"delivered": 0.0, "read": 0.1},
    "account": {"number": OWN, "push_name": "Front desk", "platform": "android"},
    "events": [
        {"after": 0.0, "event": "message", "from": WRITES, "name": f"+{WRITES}", "text": "Open?"},
        {"after": 0.0, "event": "message", "lid": "1700000001", "kind": "unsupported"},
        {"after": 0.0, "event": "receipt", "from": WRITES, "ids": ["3EB0AA"], "status": "read"},
    ],
}


@pytest.fixture
def session(acme: Cast, settings, tmp_path: Path) -> SenderSession:
    """A device that is about to be linked, by a code for its phone."""
    settings.SIGMA_SENDER_STORE = tmp_path / "sender"
    found = sends.linked(acme, state="STOPPED")
    device_script.write(stores.prepare(found), **HAPPENS)
    return sessions.pair(found.id, by=PairBy.CODE, number=f"+{PAIRED}", now=datetime.now(UTC))


@pytest.fixture
def process(session: SenderSession, settings) -> Iterator[subprocess.Popen[bytes]]:
    """The session's process, as its host starts it."""
    env = {
        **os.environ,
        "SIGMA_SENDER_STORE": str(settings.SIGMA_SENDER_STORE),
        "SIGMA_SENDER_DEVICE": "simulated",
        "SIGMA_LOG_LEVEL": "debug",
        "DATABASE_URL": "postgresql://{USER}:{PASSWORD}@/{NAME}?host={HOST}&port={PORT}".format(
            **connection.settings_dict
        ),
    }
    argv = [sys.executable, "-c", QUICK, "sender", "session", str(session.id)]
    root, pipe = Path(__file__).parents[2], subprocess.PIPE
    with subprocess.Popen(argv, cwd=root, env=env, stdout=pipe, stderr=subprocess.STDOUT) as one:
        yield one
        one.kill()


def state_of(session: SenderSession) -> str:
    return SenderSession.objects.get(pk=session.pk).state


def everything_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below the root of all stores, by its name; no kind of file is left out."""
    for path in folder.rglob("*"):
        if not path.is_dir():
            yield path.name, path.read_bytes()


def leaks(contents: Iterator[tuple[str, bytes]]) -> set[str]:
    return {name for name, content in contents if places.found_in_bytes(content, NUMBERS)}


def test_it_leaves_numbers_in_the_account_alone(
    acme: Cast,
    session: SenderSession,
    process: subprocess.Popen[bytes],
    settings,
    wait_for: Callable[..., None],
) -> None:
    position = places.wal_position()
    wait_for(lambda: state_of(session) == SessionState.CONNECTED)
    message = sends.queue(acme, datetime.now(UTC), number=WRITTEN_TO)

    def is_read() -> bool:
        process_batch(10)
        return Message.objects.get(pk=message.pk).status == "read"

    wait_for(is_read)
    sessions.stop(session.id, now=datetime.now(UTC))
    printed, _ = process.communicate(timeout=120)
    backup = backups.back_up(session, now=datetime.now(UTC))
    files = dict(everything_of(settings.SIGMA_SENDER_STORE))

    assert leaks(iter(files.items())) == {THE_ACCOUNT, WHATSAPP}
    assert leaks(iter([("log", printed), ("wal", places.wal_since(position))])) == set()
    assert leaks(places.database_files()) == set()
    assert leaks((name, text.encode()) for name, text in places.rows()) == set()
    assert leaks((name, text.encode("latin-1")) for name, text in places.broker_entries()) == set()

    # It was all taken in, or the search would prove nothing.
    assert Message.objects.filter(tenant_id=acme.tenant.id).count() == 3
    assert numbers.number_of(NumberState.objects.get(pk=acme.workspace.id)) == OWN
    assert {backup.name, "whatsapp.db.journal", f"session-{session.id}.log"} <= files.keys()
    assert b"message sent" in printed
