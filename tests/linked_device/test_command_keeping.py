"""``manage.py sender backup``, ``restore`` and ``clear``: nothing is lost by a slip."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime

import pytest
from django.core.management import CommandError

from connectors.linked_device import stores
from connectors.linked_device.models import SenderSession
from tests.conftest import Cast
from tests.linked_device.conftest import Sender, Typed
from tests.linked_device.rows import hold, linked, session_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def stopped(sender: Sender, acme: Cast, now: datetime) -> SenderSession:
    """A session of acme that is stopped, with a store on this machine."""
    session = session_of(linked(acme), now, "STOPPED", wanted="STOPPED")
    store = stores.prepare(session)
    with closing(sqlite3.connect(store)) as database:
        database.execute("CREATE TABLE account (id)")
    store.chmod(0o600)
    return session


def test_clear_asks_for_the_name_and_backs_up(sender: Sender, stopped: SenderSession) -> None:
    with pytest.raises(CommandError, match="Nothing was changed"):
        sender("clear", stdin=Typed("yes\n"))
    assert stores.store_of(stopped).exists()
    shown = sender("clear", stdin=Typed("Front desk\n"))
    assert "Type Front desk to go on" in shown
    assert "Its backup: " in shown
    assert not stores.store_of(stopped).exists()
    assert SenderSession.objects.get().paired_at is None


def test_clear_and_restore_refuse_where_nobody_can_be_asked(
    sender: Sender, stopped: SenderSession
) -> None:
    for verb in ("clear", "restore"):
        with pytest.raises(CommandError, match="Say --yes if you mean it"):
            sender(verb)
    assert stores.store_of(stopped).exists()


def test_a_backup_comes_back(sender: Sender, stopped: SenderSession) -> None:
    assert "is backed up: " in sender("backup")
    sender("clear", "--yes")
    assert "is restored from " in sender("restore", "--yes")
    assert stores.store_of(stopped).exists()
    assert SenderSession.objects.get().paired_at == stopped.paired_at


def test_a_running_session_is_not_backed_up(sender: Sender, acme: Cast, now: datetime) -> None:
    hold(session_of(linked(acme), now), now)
    with pytest.raises(CommandError, match="stop it first"):
        sender("backup")


def test_a_damaged_store_is_forgotten_when_that_is_said(
    sender: Sender, stopped: SenderSession
) -> None:
    stores.store_of(stopped).write_bytes(b"damaged")
    with pytest.raises(CommandError, match="--no-backup"):
        sender("clear", "--yes")
    shown = sender("clear", "--no-backup", stdin=Typed("Front desk\n"))
    assert "without a backup" in shown
    assert not stores.store_of(stopped).exists()
