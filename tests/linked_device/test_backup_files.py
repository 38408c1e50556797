"""Backups as files: of one session, sealed, and refused once anything of them was altered."""

from __future__ import annotations

from datetime import datetime

import pytest

from connectors.linked_device import backup_files, backups, stores
from connectors.linked_device.models import SenderSession
from connectors.linked_device.sessions import SessionErrorCode
from tests.conftest import Cast
from tests.linked_device.stored import SECRET, contacts, here, refused, session, session_of, write
from workspaces import keys

__all__ = ("here", "session")

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("here")]


def test_it_refuses_the_backup_of_another_session(
    session: SenderSession, globex: Cast, now: datetime
) -> None:
    path = backups.back_up(session, now=now)
    other = session_of(globex, now)
    write(other, "globex's")

    message = refused(SessionErrorCode.BAD_BACKUP, lambda: backups.restore(other, path, now=now))

    assert "another session" in message
    assert contacts(other) == ["globex's"]
    assert backup_files.existing(other) == []


def test_it_opens_no_backup_that_was_relabelled(
    session: SenderSession, globex: Cast, now: datetime
) -> None:
    path = backups.back_up(session, now=now)
    other = session_of(globex, now)
    ids = ((session.tenant_id, other.tenant_id), (session.id, other.id))
    content = path.read_bytes()
    for mine, theirs in ids:
        content = content.replace(str(mine).encode(), str(theirs).encode())
    path.write_bytes(content)

    refused(SessionErrorCode.BAD_BACKUP, lambda: backups.restore(other, path, now=now))


def test_it_is_unreadable_once_the_tenants_keys_are_destroyed(
    session: SenderSession, now: datetime
) -> None:
    path = backups.back_up(session, now=now)
    keys.destroy_all(session.tenant_id)

    message = refused(SessionErrorCode.BAD_BACKUP, lambda: backups.restore(session, path, now=now))

    assert "destroyed" in message
    refused(SessionErrorCode.BAD_STORE, lambda: backups.back_up(session, now=now))


def test_it_refuses_a_backup_that_was_altered_anywhere(
    session: SenderSession, now: datetime
) -> None:
    path = backups.back_up(session, now=now)
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    places = [*range(start + 60), *range(start + 60, len(whole), 997), len(whole) - 1]
    for place in places:
        altered = bytearray(whole)
        altered[place] ^= 0x01
        path.write_bytes(altered)
        refused(SessionErrorCode.BAD_BACKUP, lambda: backups.restore(session, path, now=now))

    assert contacts(session) == [SECRET]
    assert len(backup_files.existing(session)) == 1


def test_it_refuses_a_backup_that_was_cut_off_or_goes_on(
    session: SenderSession, now: datetime
) -> None:
    path = backups.back_up(session, now=now)
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    ends = [0, 10, start - 1, start, start + 8, start + 20, start + 37, len(whole) // 2]
    for content in [*(whole[:end] for end in (*ends, len(whole) - 1)), whole + b"x", b"\n" * 99]:
        path.write_bytes(content)
        refused(SessionErrorCode.BAD_BACKUP, lambda: backups.restore(session, path, now=now))


def test_it_refuses_to_restore_what_is_no_sound_database(
    session: SenderSession, now: datetime
) -> None:
    store = backup_files.content_of(stores.store_of(session))
    ruined = store[:4096] + bytes(len(store) - 4096)
    for content in (b"", b"not a database", ruined):
        backup_files.write(session, content, now=now)
        refused(SessionErrorCode.BAD_BACKUP, lambda: backups.restore(session, now=now))

    assert contacts(session) == [SECRET]


def test_it_refuses_a_store_too_large_to_seal(
    session: SenderSession, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_files, "LARGEST", 4_096)

    message = refused(SessionErrorCode.BAD_STORE, lambda: backups.back_up(session, now=now))

    assert "4,096 can be backed up" in message
