"""Back up, restore, clear, move: only while nobody uses the store, and nothing is lost."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.linked_device import backup_files, backups, stores
from connectors.linked_device.models import SenderSession, SessionState, Wanted
from connectors.linked_device.sessions import SessionErrorCode
from tests.linked_device.stored import (
    SECRET,
    contacts,
    held_elsewhere,
    here,
    lease,
    refused,
    session,
    write,
)

__all__ = ("here", "session")

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("here")]


def every_verb(session: SenderSession, now: datetime) -> list[Callable[[], object]]:
    return [
        lambda: backups.back_up(session, now=now),
        lambda: backups.restore(session, now=now),
        lambda: backups.clear(session, now=now),
    ]


def test_it_seals_a_store_into_a_dated_file(session: SenderSession, now: datetime) -> None:
    path = backups.back_up(session, now=now)

    assert path.name == f"{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}.backup"
    assert path.parent == stores.backups_of(session)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SECRET.encode() not in path.read_bytes()
    assert b"SQLite" not in path.read_bytes()
    assert [found.at for found in backup_files.existing(session)] == [now]
    assert SenderSession.objects.get().backed_up_at == now
    assert contacts(session) == [SECRET]


def test_it_leaves_nothing_in_the_clear_beside_the_store(
    session: SenderSession, now: datetime
) -> None:
    backups.restore(session, backups.back_up(session, now=now), now=now)

    assert {path.name for path in stores.folder_of(session).iterdir()} == {"whatsapp.db", "lock"}
    assert all(path.suffix == ".backup" for path in stores.backups_of(session).iterdir())


def test_it_backs_up_what_is_in_the_log_only(session: SenderSession, now: datetime) -> None:
    store = stores.store_of(session)
    with closing(sqlite3.connect(store)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("PRAGMA wal_autocheckpoint=0")
        writer.execute("INSERT INTO contacts VALUES ('in the log')")
        writer.commit()
        assert b"in the log" not in store.read_bytes()
        path = backups.back_up(session, now=now)
    write(session)

    backups.restore(session, path, now=now)

    assert contacts(session) == [SECRET, "in the log"]


def test_it_restores_the_account_to_a_stopped_session(
    session: SenderSession, now: datetime
) -> None:
    path = backups.back_up(session, now=now)
    backups.clear(session, now=now)
    later = now + timedelta(minutes=1)

    assert backups.restore(session, path, now=later) == path

    found = SenderSession.objects.get()
    assert contacts(session) == [SECRET]
    assert (found.state, found.wanted, found.home) == ("STOPPED", "STOPPED", "one")
    assert (found.paired_at, found.stopped_at) == (session.paired_at, later)
    assert found.reason.startswith("Restored from the backup of")


def test_it_keeps_what_a_restore_replaces(session: SenderSession, now: datetime) -> None:
    path = backups.back_up(session, now=now)
    write(session, "newer")

    backups.restore(session, path, now=now)
    assert contacts(session) == [SECRET]
    backups.restore(session, now=now)

    assert contacts(session) == ["newer"]
    assert len(backup_files.existing(session)) == 3


def test_it_applies_no_log_of_the_old_store_to_the_new_one(
    session: SenderSession, now: datetime
) -> None:
    path = backups.back_up(session, now=now)
    for end in ("-wal", "-shm", "-journal"):
        leftover = stores.store_of(session).with_name(f"whatsapp.db{end}")
        leftover.write_bytes(b"")
        leftover.chmod(0o600)

    backups.restore(session, path, now=now)

    assert [p.name for p in stores.folder_of(session).glob("whatsapp.db?*")] == []


def test_it_does_not_end_a_wait_that_whatsapp_named(session: SenderSession, now: datetime) -> None:
    path = backups.back_up(session, now=now)
    SenderSession.objects.update(state=SessionState.BANNED, until=now + timedelta(hours=1))

    backups.restore(session, path, now=now)

    assert SenderSession.objects.get().state == SessionState.BANNED


def test_it_keeps_the_newest_ten(session: SenderSession, now: datetime) -> None:
    made = [backups.back_up(session, now=now + timedelta(days=n)) for n in range(12)]

    assert [one.path for one in backup_files.existing(session)] == made[:1:-1]


def test_it_keeps_the_last_one_after_a_clock_was_set_back(
    session: SenderSession, now: datetime
) -> None:
    for n in range(10):
        backups.back_up(session, now=now + timedelta(days=n))

    path = backups.clear(session, now=now - timedelta(days=1))

    assert path is not None
    assert path.exists()


def test_it_removes_what_a_crash_left_in_the_clear(session: SenderSession, now: datetime) -> None:
    left = backup_files.stage(stores.store_of(session), b"an account")
    backups.back_up(session, now=now)
    cut_off = backup_files.stage(backup_files.existing(session)[0].path, b"half of a backup")

    backups.clear(session, now=now)

    assert not left.exists()
    assert not cut_off.exists()


def test_it_overwrites_no_backup_of_the_same_moment(session: SenderSession, now: datetime) -> None:
    assert backups.back_up(session, now=now) != backups.back_up(session, now=now)


def test_it_clears_an_account_after_backing_it_up(session: SenderSession, now: datetime) -> None:
    SenderSession.objects.update(push_name="Ann", state=SessionState.LOGGED_OUT)

    path = backups.clear(session, now=now)

    found = SenderSession.objects.get()
    assert (found.state, found.reason, found.home) == ("STOPPED", "Cleared.", "")
    assert (found.paired_at, found.push_name, found.backed_up_at) == (None, "", now)
    assert not stores.store_of(session).exists()
    assert backups.restore(session, now=now) == path


def test_it_clears_what_is_cleared_already(session: SenderSession, now: datetime) -> None:
    backups.clear(session, now=now)

    assert backups.clear(session, now=now) is None
    assert len(backup_files.existing(session)) == 1


def test_it_touches_no_store_that_a_process_has_open(session: SenderSession, now: datetime) -> None:
    backups.back_up(session, now=now)
    with held_elsewhere(session):
        for verb in every_verb(session, now):
            assert "Stop the session first" in refused(SessionErrorCode.RUNNING, verb)

    assert len(backup_files.existing(session)) == 1
    assert contacts(session) == [SECRET]


@pytest.mark.parametrize("seconds", [60, -29])
def test_it_touches_no_store_whose_lease_is_live_or_just_over(
    session: SenderSession, now: datetime, seconds: int
) -> None:
    backups.back_up(session, now=now)
    lease(session, expires_at=datetime.now(UTC) + timedelta(seconds=seconds))

    for verb in every_verb(session, now):
        assert "A process of two" in refused(SessionErrorCode.RUNNING, verb)


def test_it_replaces_no_store_of_a_session_that_is_to_run(
    session: SenderSession, now: datetime
) -> None:
    backups.back_up(session, now=now)
    SenderSession.objects.update(wanted=Wanted.RUNNING)

    for verb in every_verb(session, now)[1:]:
        refused(SessionErrorCode.RUNNING, verb)


def test_it_moves_to_another_machine_once_the_old_one_let_go(
    session: SenderSession, now: datetime, here: Callable[[str], None]
) -> None:
    path = backups.back_up(session, now=now)
    lease(session, expires_at=datetime.now(UTC) - timedelta(seconds=31))
    here("two")
    assert "on one" in refused(SessionErrorCode.NO_STORE, lambda: backups.back_up(session, now=now))

    backups.restore(session, path, now=now)

    assert SenderSession.objects.get().home == "two"
    assert contacts(session) == [SECRET]
    here("one")
    for verb in every_verb(session, now)[::2]:
        assert "on two" in refused(SessionErrorCode.NO_STORE, verb)


def test_it_forgets_an_account_whose_machine_is_gone(
    session: SenderSession, now: datetime, here: Callable[[str], None]
) -> None:
    here("two")
    refused(SessionErrorCode.NO_STORE, lambda: backups.clear(session, now=now))

    assert backups.clear(session, now=now, back_up=False) is None

    assert SenderSession.objects.get().home == ""


def test_it_clears_a_damaged_store_only_when_told_not_to_back_it_up(
    session: SenderSession, now: datetime
) -> None:
    stores.store_of(session).write_bytes(b"not a database")

    refused(SessionErrorCode.BAD_STORE, lambda: backups.clear(session, now=now))
    assert stores.store_of(session).exists()
    backups.clear(session, now=now, back_up=False)

    assert not stores.store_of(session).exists()


def test_it_gives_up_a_store_that_others_may_read(session: SenderSession, now: datetime) -> None:
    stores.store_of(session).chmod(0o644)

    backups.clear(session, now=now, back_up=False)

    assert not stores.store_of(session).exists()
    assert SenderSession.objects.get().paired_at is None


def test_it_gives_up_a_link_and_not_what_it_leads_to(
    session: SenderSession, now: datetime, tmp_path: Path
) -> None:
    elsewhere = stores.store_of(session).rename(tmp_path / "elsewhere.db")
    stores.store_of(session).symlink_to(elsewhere)

    backups.clear(session, now=now, back_up=False)

    assert not stores.store_of(session).is_symlink()
    assert elsewhere.exists()


def test_it_backs_up_nothing_that_others_may_read(session: SenderSession, now: datetime) -> None:
    stores.store_of(session).chmod(0o644)

    for verb in every_verb(session, now)[::2]:
        refused(SessionErrorCode.BAD_STORE, verb)


def test_it_says_where_there_is_nothing(session: SenderSession, now: datetime) -> None:
    stores.remove(session)

    refused(SessionErrorCode.NO_STORE, lambda: backups.back_up(session, now=now))
    refused(SessionErrorCode.BAD_BACKUP, lambda: backups.restore(session, now=now))
    missing = Path("/nowhere/it.backup")
    refused(SessionErrorCode.BAD_BACKUP, lambda: backups.restore(session, missing, now=now))
