"""Erasing a tenant ends its linked devices and removes their stores and backups."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from connectors.linked_device import backup_files, backups, stores
from connectors.linked_device.models import SenderSession, SessionLease, StoreRemoval, Wanted
from sigma import erasure, readers
from sigma.readers import UnableToMakeRole
from tests.conftest import Cast
from tests.linked_device.stored import here, lease, session, session_of

__all__ = ("here", "session")

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("here")]


@pytest.fixture
def other(globex: Cast, now: datetime) -> SenderSession:
    """The other tenant's linked device."""
    return session_of(globex, now)


def erase(
    session: SenderSession, now: datetime, sleep: Callable[[float], None] = lambda _: None
) -> dict[str, int]:
    tenant = session.workspace.tenant
    return {step.what: step.count for step in erasure.erase(tenant, now=now, sleep=sleep)}


def test_it_removes_stores_and_backups_as_it_said_it_would(
    session: SenderSession, other: SenderSession, now: datetime
) -> None:
    for one in (session, session, other):
        backups.back_up(one, now=now)
    planned = {step.what: step.count for step in erasure.plan(session.workspace.tenant)}

    assert erase(session, now) == planned

    assert (planned["sender stores"], planned["sender backups"]) == (1, 2)
    assert not stores.tenant_folder(session.tenant_id).exists()
    assert stores.store_of(other).exists()
    assert len(backup_files.existing(other)) == 1


def test_it_changes_nothing_when_it_only_says_what_would_go(
    session: SenderSession, now: datetime
) -> None:
    backups.back_up(session, now=now)
    out = StringIO()

    call_command("purge-tenant", "acme", "--dry-run", stdout=out)

    assert "1  sender stores\n" in out.getvalue()
    assert "1  sender backups\n" in out.getvalue()
    assert stores.store_of(session).exists()
    assert not StoreRemoval.objects.exists()


def test_it_waits_for_a_session_to_end(session: SenderSession, now: datetime) -> None:
    lease(session, expires_at=datetime.now(UTC) + timedelta(minutes=1))
    SenderSession.objects.update(wanted=Wanted.RUNNING)
    seen = []

    def sleep(seconds: float) -> None:
        seen.append(SenderSession.objects.values_list("wanted", flat=True).first())
        SessionLease.objects.update(owner=None)

    steps = erase(session, now, sleep)

    assert seen[0] == Wanted.STOPPED
    assert "sender sessions that did not end by themselves, cut off" not in steps


def test_it_cuts_off_a_session_that_does_not_end(
    session: SenderSession, other: SenderSession, now: datetime
) -> None:
    for one in (session, other):
        lease(one, expires_at=datetime.now(UTC) + timedelta(minutes=1))
    slept: list[float] = []
    steps = erasure.erase(session.workspace.tenant, now=now, sleep=slept.append)

    assert [next(steps).what, next(steps).what] == [
        "database roles",
        "sender sessions that did not end by themselves, cut off",
    ]

    mine, theirs = (SessionLease.objects.get(session=one) for one in (session, other))
    assert (mine.owner, mine.fencing_token) == (None, 4)
    assert theirs.owner is not None
    assert sum(slept) == pytest.approx(20)


def test_it_leaves_word_for_machines_that_are_down(
    session: SenderSession, other: SenderSession, now: datetime, here: Callable[[str], None]
) -> None:
    here("two")

    assert erase(session, now)["sender stores"] == 0

    here("one")
    assert stores.store_of(session).exists()
    assert stores.remove_erased() == 1
    assert not stores.store_of(session).exists()
    assert stores.store_of(other).exists()


def test_it_removes_all_else_before_it_says_what_a_disk_keeps(
    session: SenderSession, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(f"{path} stays.")

    monkeypatch.setattr(stores.shutil, "rmtree", refuse)
    monkeypatch.setattr(erasure, "SETTLE_SECONDS", 0)

    with pytest.raises(CommandError, match=r"are left: .* stays"):
        call_command("purge-tenant", "acme", "--yes", stdout=StringIO())

    assert not SenderSession.objects.exists()
    assert StoreRemoval.objects.get().erased_tenant == session.tenant_id


def test_it_says_all_that_is_left(
    session: SenderSession, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(error: Exception) -> None:
        raise error

    monkeypatch.setattr(stores.shutil, "rmtree", lambda path: refuse(PermissionError("It stays.")))
    monkeypatch.setattr(readers, "remove", lambda tenant: refuse(UnableToMakeRole("You may not.")))
    monkeypatch.setattr(erasure, "SETTLE_SECONDS", 0)

    with pytest.raises(CommandError, match=r"role is left: You may not\. .*are left: It stays"):
        call_command("purge-tenant", "acme", "--yes", stdout=StringIO())
