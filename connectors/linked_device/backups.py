"""Back up, restore and clear the account of a linked device, while no process has it.

WhatsApp logs out an account whose store is copied while it is in use, or runs in two places. So
each verb holds the store's lock, looks whether a lease is live anywhere, and changes the row in a
transaction in which no process can take the lease.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from connectors.linked_device import backup_files, sessions, status, stores
from connectors.linked_device.backup_files import existing
from connectors.linked_device.leases import GRACE
from connectors.linked_device.models import TIMED, SenderSession, SessionState, Wanted
from connectors.linked_device.sessions import SessionErrorCode, UnableTo
from connectors.linked_device.status import SessionStatus
from lib.files import sync
from workspaces.keys import TenantHasNoKeys

logger = logging.getLogger("sigma.whatsapp.sender")

# As a new owner does: a lease that was not given back counts until its holder has certainly ended.
HOLDER = """
SELECT host, expires_at + %(grace)s FROM session_leases
WHERE session_id = %(id)s AND owner IS NOT NULL AND expires_at + %(grace)s > clock_timestamp()
"""
# With the row locked no process takes the lease; there has to be a row.
KEEP_FREE = (
    "INSERT INTO session_leases (session_id, tenant_id) VALUES (%(id)s, %(tenant)s) "
    "ON CONFLICT (tenant_id, session_id) DO NOTHING",
    "SELECT 1 FROM session_leases WHERE session_id = %(id)s FOR UPDATE",
)
UNPAIRED: dict[str, object] = {
    "paired_at": None,
    "pair_by": "",
    "sealed_pair_number": None,
    "sealed_pairing": None,
    "pairing_expires_at": None,
    "push_name": "",
    "device_platform": "",
    "failures": 0,
}


def back_up(session: SenderSession, *, now: datetime) -> Path:
    """Seal a session's store into a dated file beside it; return its path. Ten are kept.

    Raises:
        UnableTo: a process has the session, or its store is not here or cannot be read.
    """
    session = sessions.find(session.pk)
    _require_home(session)
    with _at_rest(session):
        return _back_up(session, now)


def restore(session: SenderSession, path: Path | None = None, *, now: datetime) -> Path:
    """Put a backup (the newest of this machine, if none is named) in the place of the store.

    What was in its place is backed up first. The session belongs to this machine afterwards, and
    stays stopped. Pairing anew is better wherever the phone is at hand: an old store has forgotten
    keys that its contacts use. Returns the backup's path.

    Raises:
        UnableTo: the session is not stopped, or the backup is of another session, altered, or
            unreadable.
    """
    session = sessions.find(session.pk)
    _require_stop(session)
    path = path or _newest(session)
    label, content = _read(session, path)
    with _at_rest(session):
        if stores.size(session):
            _back_up(session, now)
        _replace(session, content, label, now)
    logger.info("whatsapp store restored", extra={"session_id": str(session.id)})
    return path


def clear(session: SenderSession, *, now: datetime, back_up: bool = True) -> Path | None:
    """Forget the linked account: back up its store, remove it, and let a phone be paired anew.

    Returns the backup's path, if there was anything to back up. Without ``back_up`` a store that is
    damaged, open to others, or on a machine that is gone, is forgotten too.

    Raises:
        UnableTo: the session is not stopped, or its store is not here or cannot be backed up.
    """
    session = sessions.find(session.pk)
    _require_stop(session)
    if back_up:
        _require_home(session)
    with _at_rest(session, is_given_up=not back_up):
        made = _back_up(session, now) if back_up and stores.size(session) else None
        with _kept_free(session):
            stores.remove(session)
            _write(session, now, **UNPAIRED, home="")
            status.write(session.pk, SessionStatus(SessionState.STOPPED, "Cleared."), now=now)
    logger.info("whatsapp store cleared", extra={"session_id": str(session.id)})
    return made


def _replace(
    session: SenderSession, content: bytes, label: backup_files.Label, now: datetime
) -> None:
    store = stores.store_of(session)
    staged = backup_files.stage(store, content)
    try:
        with _kept_free(session):
            # The log of the old store must never be applied to the new one.
            stores.remove(session)
            staged.rename(store)
            sync(store.parent)
            restored = {**UNPAIRED, "paired_at": label.paired_at, "stopped_at": now}
            _write(session, now, **restored, home=settings.SIGMA_SENDER_HOST)
            _write_stopped(
                session, f"Restored from the backup of {label.at:%Y-%m-%d %H:%M} UTC.", now
            )
    finally:
        staged.unlink(missing_ok=True)


def _back_up(session: SenderSession, now: datetime) -> Path:
    if not stores.size(session):
        raise UnableTo(SessionErrorCode.NO_STORE, "This machine has no store of the session.")
    try:
        made = backup_files.write(
            session, backup_files.content_of(stores.store_of(session)), now=now
        )
    except (backup_files.Damaged, backup_files.TooLarge) as error:
        raise UnableTo(
            SessionErrorCode.BAD_STORE,
            f"The store cannot be backed up. {error} Where it is to be given up: "
            "manage.py sender clear --no-backup",
        ) from None
    except TenantHasNoKeys as error:
        raise UnableTo(SessionErrorCode.BAD_STORE, str(error)) from None
    SenderSession.objects.filter(pk=session.pk).update(backed_up_at=now)
    logger.info("whatsapp store backed up", extra={"session_id": str(session.id)})
    return made


def _read(session: SenderSession, path: Path) -> tuple[backup_files.Label, bytes]:
    try:
        label, content = backup_files.read(session, path)
        backup_files.verify(content)
    except (backup_files.NotUsable, backup_files.Damaged, OSError) as error:
        raise UnableTo(SessionErrorCode.BAD_BACKUP, f"{path} is not used. {error}") from None
    return label, content


def _newest(session: SenderSession) -> Path:
    for backup in existing(session):
        return backup.path
    raise UnableTo(
        SessionErrorCode.BAD_BACKUP,
        "This machine has no backup of the session; name the file of one.",
    )


@contextmanager
def _at_rest(session: SenderSession, *, is_given_up: bool = False) -> Iterator[None]:
    """Hold a store that no process uses; only one that is given up may be open to others."""
    try:
        folder = stores.folder_of(session)
        if is_given_up:
            stores.make_folder(folder)
        else:
            stores.prepare(session)
        with stores.hold(folder):
            backup_files.forget_unfinished(folder)
            _require_no_holder(session)
            yield
    except stores.StoreInUse as error:
        raise UnableTo(SessionErrorCode.RUNNING, f"{error} Stop the session first.") from None
    except stores.StoreUnsafe as error:
        raise UnableTo(SessionErrorCode.BAD_STORE, str(error)) from None


@contextmanager
def _kept_free(session: SenderSession) -> Iterator[None]:
    """Open a transaction in which the session is stopped and no process can take its lease."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            for statement in KEEP_FREE:
                cursor.execute(statement, {"id": session.pk, "tenant": session.tenant_id})
        _require_no_holder(session)
        _require_stop(sessions.find(session.pk))
        yield


def _require_no_holder(session: SenderSession) -> None:
    with connection.cursor() as cursor:
        facts: dict[str, Any] = {"id": session.pk, "grace": GRACE}
        cursor.execute(HOLDER, facts)
        holder = cursor.fetchone()
    if holder is not None:
        host, until = holder
        raise UnableTo(
            SessionErrorCode.RUNNING,
            f"A process of {host} has the session: stop it first. If it died, the session is "
            f"free from {until:%H:%M:%S} UTC on.",
        )


def _require_stop(session: SenderSession) -> None:
    if session.wanted != Wanted.STOPPED:
        raise UnableTo(SessionErrorCode.RUNNING, "The session is to run: stop it first.")


def _require_home(session: SenderSession) -> None:
    if session.home and session.home != settings.SIGMA_SENDER_HOST:
        raise UnableTo(
            SessionErrorCode.NO_STORE,
            f"The session's store is on {session.home}: do this there. If that machine is gone for "
            "good: manage.py sender clear --no-backup",
        )


def _write(session: SenderSession, now: datetime, **values: object) -> None:
    changed = {**values, "restart_asked_at": None, "updated_at": now}
    SenderSession.objects.filter(pk=session.pk).update(**changed)


def _write_stopped(session: SenderSession, reason: str, now: datetime) -> None:
    """Write that it is stopped, unless WhatsApp said for how long the account has to wait."""
    is_timed = session.state in TIMED and (session.until is None or session.until > now)
    if not is_timed:
        status.write(session.pk, SessionStatus(SessionState.STOPPED, reason), now=now)
