"""Fetch the files that archives want from the platform, while it has them: by threads, fairly over
tenants, each file by one worker at a time.

A file is complete in the storage before its row says so; whoever is killed in between leaves its
name in ``archive_fetches``, and the next attempt removes it first. The name stays there until the
storage has removed what it means.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from functools import cache
from threading import Lock
from typing import NamedTuple
from uuid import UUID

import httpx
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from lib import bulk, clock, thumbnails, work
from lib.brake import Brake
from lib.envelope import Cipher
from lib.sealed_files import SealedWriter, opened
from lib.wakeups import WakeUp
from lib.work import AWAY, Work
from messaging import archive, filetypes, media, scanning, sealed_storage
from messaging.models import ArchiveError, ArchiveState, Media, Message, PendingFetch
from messaging.sealed_storage import StorageAway
from workspaces.channel_errors import (
    ChannelError,
    LargerThanSaid,
    MediaGone,
    MediaTooLarge,
    NotConfigured,
    Rejected,
)
from workspaces.channels import MediaStream
from workspaces.keys import TenantHasNoKeys
from workspaces.models import ArchiveKey, Tenant, Workspace

logger = logging.getLogger("sigma.whatsapp.files")
WAKE_UP = WakeUp(name="archive", task="archive.fetch", queue="maintenance")
BRAKE = Brake("archive")
# Longer than an attempt may take.
LEASE, LONGEST = timedelta(minutes=10), 300.0
# When to try again, in seconds; the last for ever, until the platform forgets the file.
DELAYS = (30, 120, 600, 3_600, 21_600, 86_400)
# The platform's clock, and what is left of its time for the attempt itself.
MARGIN = timedelta(hours=1)
SHA256_BYTES = 32
PICTURES = frozenset({"image/jpeg", "image/png", "image/webp"})


class Claim(NamedTuple):
    """A file that is ours to fetch for a while, and its name in the storage, which is new;
    ``before`` is what an attempt may have left.
    """

    tenant_id: UUID
    media_id: UUID
    attempts: int
    lease_until: datetime
    stored_as: UUID
    before: UUID | None


# Tenants by a loose index scan, each with as many files as it may have under way; of too many,
# chance decides whose turn it is.
WAITING = """
WITH RECURSIVE waiting AS (
    (SELECT tenant_id FROM archive_fetches ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT next.tenant_id FROM waiting CROSS JOIN LATERAL (
        SELECT f.tenant_id FROM archive_fetches f WHERE f.tenant_id > waiting.tenant_id
        ORDER BY f.tenant_id LIMIT 1
    ) next
), free AS (
    SELECT w.tenant_id, %(most)s - (
        SELECT count(*) FROM archive_fetches b
        WHERE b.tenant_id = w.tenant_id AND b.lease_until > %(now)s
    ) AS places
    FROM waiting w JOIN tenants t ON t.id = w.tenant_id AND t.status <> 'ERASING'
)"""
IS_DUE = f"""{WAITING}
SELECT EXISTS (SELECT FROM free JOIN archive_fetches f ON f.tenant_id = free.tenant_id
               WHERE places > 0 AND f.due_at <= %(now)s)"""  # noqa: S608 - words of ours
CLAIM = f"""{WAITING}, picked AS (
    SELECT mine.* FROM free CROSS JOIN LATERAL (
        SELECT f.tenant_id, f.media_id FROM archive_fetches f
        WHERE f.tenant_id = free.tenant_id AND f.due_at <= %(now)s
        ORDER BY f.due_at LIMIT greatest(0, places) FOR UPDATE SKIP LOCKED
    ) mine ORDER BY random() LIMIT %(limit)s
)
UPDATE archive_fetches f SET lease_until = %(until)s, due_at = %(until)s,
    attempts = f.attempts + 1
FROM picked WHERE f.tenant_id = picked.tenant_id AND f.media_id = picked.media_id
RETURNING f.tenant_id, f.media_id, f.attempts, f.lease_until, gen_random_uuid(), f.stored_as
"""  # noqa: S608 - words of ours


# What the platform's answers mean for the archive. One that has no such file is asked again: it
# says the same where the access token may not see it.
ERRORS: dict[type[Exception], ArchiveError] = {
    NotConfigured: ArchiveError.NOT_CONFIGURED,
    MediaGone: ArchiveError.MEDIA_GONE,
    LargerThanSaid: ArchiveError.SIZE_MISMATCH,
    Rejected: ArchiveError.PLATFORM_REJECTED,
}


class NotArchived(Exception):
    """A file cannot be kept; where that is for good, ``ends_as`` says what it is then."""

    def __init__(self, error: ArchiveError, *, ends_as: ArchiveState | None = None) -> None:
        super().__init__(error.value)
        self.error, self.ends_as = error, ends_as


def claim(*, now: datetime, limit: int) -> list[Claim]:
    """Claim up to so many files, of no tenant more than half of what a process fetches at once."""
    with bulk.cursor() as cursor:
        cursor.execute(CLAIM, {**_parameters(now), "until": now + LEASE, "limit": limit})
        return [Claim(*row) for row in cursor.fetchall()]


def sweep(*, now: datetime) -> bool:
    """Call for what is due; return whether a turn was called."""
    with bulk.cursor() as cursor:
        cursor.execute(IS_DUE, _parameters(now))
        (is_due,) = cursor.fetchone() or (False,)
    return bool(is_due) and WAKE_UP.notify()


def _parameters(now: datetime) -> dict[str, object]:
    return {"now": now, "most": max(1, settings.SIGMA_ARCHIVE_AT_ONCE // 2)}


def fetch(claimed: Claim) -> None:
    """Fetch one file and keep it, or write down why not and when to try again."""
    rows = Media.objects.select_related("message").filter(tenant_id=claimed.tenant_id)
    found = rows.filter(message__tenant_id=claimed.tenant_id, pk=claimed.media_id).first()
    tenant = Tenant.objects.get(pk=claimed.tenant_id)
    try:
        if claimed.before is not None:
            with _storing():
                archive.remove(claimed.tenant_id, claimed.before)
        if found is None or not _is_wanted(found, tenant):
            _drop(claimed)
        elif _row(claimed).update(stored_as=claimed.stored_as):
            _keep(claimed, found, tenant)
    except NotArchived as error:
        _failed(claimed, found, error)
    except TenantHasNoKeys:
        _drop(claimed)


def _unforeseen(claimed: Claim) -> None:
    """Write down that a file failed in a way that nobody thought of; it is tried again."""
    rows = Media.objects.filter(tenant_id=claimed.tenant_id, pk=claimed.media_id)
    with suppress(*AWAY):  # its lease will be over
        if (found := rows.first()) is not None:
            _failed(claimed, found, NotArchived(ArchiveError.FAILED))


def _is_wanted(found: Media, tenant: Tenant) -> bool:
    if tenant.archive == ArchiveKey.OFF or found.message.revoked_at is not None:
        return False
    if found.archive_state != ArchiveState.PENDING:  # refused, when somebody asked for it
        return False
    today = clock.now().date()
    return _day_of(found) >= archive.first_day_kept(tenant, tenant.archive, today=today)


def _keep(claimed: Claim, found: Media, tenant: Tenant) -> None:
    cipher = archive.sealing_cipher(tenant, _day_of(found))
    place = archive.place_of(tenant.id, claimed.stored_as)
    with _asking(), sealed_storage.temporary() as file:
        workspace = Workspace.objects.get(tenant_id=tenant.id, pk=found.workspace_id)
        stream = media.open_at_platform(found, workspace, now=clock.now())
        with closing(stream):
            size = _take(stream, SealedWriter(file, cipher, place), found.sha256)
        file.seek(0)
        scanning.scan(opened(file, cipher, place))
        file.seek(0)
        thumbnail = _thumbnail_of(opened(file, cipher, place), size)
        file.seek(0)
        with _storing():
            sealed_storage.save(tenant.id, claimed.stored_as, file)
            if thumbnail is not None:
                _store_thumbnail(claimed, cipher, thumbnail)
    _record(claimed, found, tenant, size, None if thumbnail is None else len(thumbnail))


def _thumbnail_of(pieces: Iterator[bytes], size: int) -> bytes | None:
    """Return the thumbnail of a picture; a file that has none is kept all the same."""
    first = next(pieces)
    if size > thumbnails.MOST_BYTES or not filetypes.sniff(first) & PICTURES:
        return None
    return thumbnails.thumbnail_of(b"".join((first, *pieces)))


def _store_thumbnail(claimed: Claim, cipher: Cipher, thumbnail: bytes) -> None:
    name = archive.thumbnail_name(claimed.stored_as)
    with sealed_storage.temporary() as file:
        writer = SealedWriter(file, cipher, archive.place_of(claimed.tenant_id, name))
        writer.write(thumbnail)
        writer.finish()
        file.seek(0)
        sealed_storage.save(claimed.tenant_id, name, file)


@contextmanager
def _storing() -> Iterator[None]:
    """Name what a storage raises; each has errors of its own."""
    try:
        yield
    except Exception as error:
        logger.error("whatsapp archive not written", extra={"error": type(error).__name__})
        raise NotArchived(ArchiveError.STORAGE_AWAY) from error


@contextmanager
def _asking() -> Iterator[None]:
    """Turn what can go wrong on the way into a reason that people are told."""
    try:
        yield
    except StorageAway as error:
        raise NotArchived(ArchiveError.STORAGE_AWAY) from error
    except scanning.ScannerAway as error:
        raise NotArchived(ArchiveError.SCANNER_AWAY) from error
    except scanning.Infected as error:
        logger.warning("whatsapp file refused by the scanner", extra={"found": error.found})
        raise NotArchived(ArchiveError.INFECTED, ends_as=ArchiveState.REFUSED) from error
    except MediaTooLarge as error:
        raise NotArchived(ArchiveError.TOO_LARGE, ends_as=ArchiveState.LOST) from error
    except (ChannelError, httpx.HTTPError) as error:  # broken off in the middle, too
        name = next((name for kind, name in ERRORS.items() if isinstance(error, kind)), None)
        raise NotArchived(name or ArchiveError.PLATFORM_AWAY) from error


def _take(stream: MediaStream, writer: SealedWriter, said: str) -> int:
    """Seal what comes; return its size.

    Raises:
        NotArchived: it is too large, comes too slowly, or is not what the platform said.
    """
    most, until = settings.SIGMA_ARCHIVE_MAX_BYTES, time.monotonic() + LONGEST
    size, digest = 0, hashlib.sha256()
    if stream.size is not None and stream.size > most:
        raise NotArchived(ArchiveError.TOO_LARGE, ends_as=ArchiveState.LOST)
    for piece in stream:
        size += len(piece)
        if size > most:
            raise NotArchived(ArchiveError.TOO_LARGE, ends_as=ArchiveState.LOST)
        if time.monotonic() > until:
            raise NotArchived(ArchiveError.PLATFORM_AWAY)
        digest.update(piece)
        with sealed_storage.writing():
            writer.write(piece)
    if stream.size is not None and size != stream.size:
        raise NotArchived(ArchiveError.SIZE_MISMATCH)
    expected = digest_in(said)
    if expected is not None and not hmac.compare_digest(expected, digest.digest()):
        raise NotArchived(ArchiveError.CHECKSUM_MISMATCH)
    with sealed_storage.writing():
        writer.finish()
    return size


def digest_in(said: str) -> bytes | None:
    """Return the SHA-256 that the platform told, in base64 or hex; ``None``: it told none."""
    with_hex = len(said) == 2 * SHA256_BYTES
    try:
        digest = bytes.fromhex(said) if with_hex else base64.b64decode(said, validate=True)
    except (ValueError, binascii.Error):
        return None
    return digest if len(digest) == SHA256_BYTES else None


def _record(
    claimed: Claim, found: Media, tenant: Tenant, size: int, thumbnail_bytes: int | None
) -> None:
    """Say that a file is kept, unless its message was deleted, it was refused or told anew, or the
    claim is over, meanwhile.
    """
    said = Message.objects.filter(tenant_id=tenant.id, pk=OuterRef("message_id"), revoked_at=None)
    with transaction.atomic():
        rows = _locked(claimed)
        before = rows.values_list("archived_as", flat=True).first()
        same = rows.filter(platform_media_id=found.platform_media_id, sha256=found.sha256)
        is_mine = _row(claimed).select_for_update().exists()
        is_kept = is_mine and same.filter(Exists(said), archive_state=ArchiveState.PENDING).update(
            archive_state=ArchiveState.KEPT,
            archive_error=None,
            archived_as=claimed.stored_as,
            archived_key=tenant.archive,
            archived_day=_day_of(found),
            size_bytes=size,
            thumbnail_bytes=thumbnail_bytes,
        )
        stale = before if is_kept else claimed.stored_as
        if is_kept and stale is None:
            _row(claimed).delete()
        elif is_kept:
            _row(claimed).update(stored_as=stale)
    if stale is not None and _removes(tenant.id, stale):  # the next claim sees what is wanted now
        _row(claimed).update(stored_as=None, lease_until=None, due_at=clock.now())


def _removes(tenant_id: UUID, name: UUID | None) -> bool:
    """Remove a file; return whether the storage did. Else its name has to stay."""
    try:
        with _storing():
            if name is not None:
                archive.remove(tenant_id, name)
    except NotArchived:
        return False
    return True


def _failed(claimed: Claim, found: Media | None, error: NotArchived) -> None:
    """Write down why, and try again while the platform has the file."""
    due = clock.now() + timedelta(seconds=DELAYS[min(claimed.attempts, len(DELAYS)) - 1])
    end = error.ends_as
    if found is not None and (found.expires_at is None or due > found.expires_at - MARGIN):
        end = end or ArchiveState.LOST
    extra = {"media_id": claimed.media_id, "error": error.error.value, "attempts": claimed.attempts}
    logger.log(logging.ERROR if end else logging.WARNING, "whatsapp file not archived", extra=extra)
    left = _row(claimed).values_list("stored_as", flat=True).first()
    is_over = end is not None and _removes(claimed.tenant_id, left)
    with transaction.atomic():
        rows = _locked(claimed)
        if is_over:
            is_mine, _ = _row(claimed).delete()
        else:
            is_mine = _row(claimed).update(due_at=due, lease_until=None)
        if is_mine:
            pending = rows.filter(archive_state=ArchiveState.PENDING)
            pending.update(archive_state=end or ArchiveState.PENDING, archive_error=error.error)


def _drop(claimed: Claim) -> None:
    """Fetch it no more: nobody wants it."""
    with transaction.atomic():
        pending = Media.objects.filter(
            tenant_id=claimed.tenant_id, pk=claimed.media_id, archive_state=ArchiveState.PENDING
        )
        pending.update(archive_state=None, archive_error=None)
        _row(claimed).delete()


def _locked(claimed: Claim) -> QuerySet[Media]:
    """Lock a file's row, which everybody does before that of its fetch."""
    rows = Media.objects.filter(tenant_id=claimed.tenant_id, pk=claimed.media_id)
    rows.select_for_update().first()
    return rows


def _row(claimed: Claim) -> QuerySet[PendingFetch]:
    return PendingFetch.objects.filter(
        tenant_id=claimed.tenant_id, media_id=claimed.media_id, lease_until=claimed.lease_until
    )


def _day_of(found: Media) -> date:
    return found.created_at.astimezone(UTC).date()


class Fetcher(Work):
    """The fetching of one process."""

    what = "files for archives"
    wake_up = WAKE_UP
    brake = BRAKE
    logger = logger

    def __init__(self) -> None:
        self._places = settings.SIGMA_ARCHIVE_AT_ONCE
        self._pool = ThreadPoolExecutor(self._places, thread_name_prefix="archive")
        self._busy, self._lock = 0, Lock()

    def work(self) -> int:
        """Fetch what is due until nothing is left, or the turn is over; return how many files."""
        return work.run(self)

    def step(self) -> int:
        """Claim what there is a thread for, and begin."""
        if (free := self._places - self._busy) <= 0:
            return 0
        claimed = claim(now=clock.now(), limit=free)
        self.brake.release()
        for one in claimed:
            with self._lock:
                self._busy += 1
            self._pool.submit(self._run, one)
        return len(claimed)

    def pause(self, count: int, spent: float) -> float:
        """Look again in a moment."""
        return 0.1

    def under_way(self) -> int:
        """Return how many files are."""
        return self._busy

    def close(self) -> None:
        """Begin nothing more. What is under way is tried again when its lease is over."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, claimed: Claim) -> None:
        extra: dict[str, object] = {"media_id": claimed.media_id}
        try:
            fetch(claimed)
        except AWAY as error:  # its lease will be over
            extra["error"] = type(error).__name__
            logger.warning("whatsapp file not archived", extra=extra)
        except Exception:
            logger.exception(
                "whatsapp file not archived for a reason nobody thought of", extra=extra
            )
            _unforeseen(claimed)
        finally:
            connection.close()
            with self._lock:
                self._busy -= 1


@cache
def fetcher() -> Fetcher:
    """Return this process's fetcher."""
    return Fetcher()
