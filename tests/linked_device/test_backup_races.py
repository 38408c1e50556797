"""A store is replaced, or a process takes the session: never both."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from django.db import connection

from connectors.linked_device import backup_files, backups, leases
from connectors.linked_device.models import SenderSession, SessionLease
from connectors.linked_device.sessions import SessionErrorCode, UnableTo
from lib.ids import uuid7
from tests.linked_device.stored import contacts, here, session, write

__all__ = ("here", "session")

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("here")]

ROUNDS = 8


def restore(session: SenderSession) -> str:
    oldest = backup_files.existing(session)[-1].path
    try:
        backups.restore(session, oldest, now=datetime.now(UTC))
    except UnableTo as error:
        assert error.code == SessionErrorCode.RUNNING
        return "refused"
    return "restored"


def acquire(session: SenderSession) -> str:
    try:
        leases.acquire(session.pk, owner=uuid7(), host="two", pid=1)
    except leases.LeaseHeld:
        return "refused"
    return "acquired"


@pytest.mark.parametrize("is_first", [True, False])
def test_it_is_either_restored_or_taken(
    session: SenderSession, now: datetime, is_first: bool
) -> None:
    backups.back_up(session, now=now)
    for _ in range(ROUNDS):
        SessionLease.objects.all().delete() if is_first else SessionLease.objects.update(owner=None)
        SenderSession.objects.update(stopped_at=now - timedelta(hours=1))
        write(session, "newer")

        outcome = raced(session)

        assert outcome in ({"restored", "refused"}, {"acquired", "refused"}), outcome
        assert (contacts(session) == ["newer"]) == ("acquired" in outcome)


def raced(session: SenderSession) -> set[str]:
    """Restore and take a session at the same moment."""
    together = Barrier(2)

    def run(verb: Callable[[SenderSession], str]) -> str:
        together.wait()
        try:
            return verb(session)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        return set(pool.map(run, (restore, acquire)))
