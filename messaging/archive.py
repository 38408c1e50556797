"""Files that people sent, as tenants that have an archive keep them: sealed in Django's storage
beside the files to send, under the key of the day they came on or the tenant's own, until their
time is over. What is still to be fetched is the work of :mod:`messaging.fetching`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import NamedTuple
from uuid import UUID, uuid5

from django.db import DatabaseError
from django.db.models import Case, Count, Min, Q, QuerySet, Sum, Value, When

from lib import thumbnails
from lib.envelope import CannotOpen, Cipher, associated_data
from messaging import sealed_storage
from messaging.models import ArchiveState, Media, Message, PendingFetch
from messaging.sealed_storage import FileGone
from workspaces import keys
from workspaces.models import ArchiveKey, Tenant, Workspace

logger = logging.getLogger("sigma.whatsapp.files")
PLACE = "media.archive"
BATCH = 500
# Rows of files go at once; what lies in the storage of them, or is on its way there, goes with the
# next claims of their fetches: one that has no file has only to be removed.
LEAVE = """
WITH gone AS (
    {files} RETURNING tenant_id, id, archived_as
), kept AS (
    INSERT INTO archive_fetches (tenant_id, media_id, stored_as)
    SELECT tenant_id, gen_random_uuid(), archived_as FROM gone WHERE archived_as IS NOT NULL
), pending AS (
    UPDATE archive_fetches f SET due_at = now() FROM gone
    WHERE f.tenant_id = gone.tenant_id AND f.media_id = gone.id
      AND coalesce(f.lease_until <= now(), true)
)
SELECT FROM gone
"""


class NoThumbnail(Exception):
    """This file has no thumbnail: only pictures that are kept in an archive may have one."""


class KeptStream:
    """A kept file, open: its first piece is read, so that what is wrong with it is known."""

    def __init__(self, pieces: Iterator[bytes], mime_type: str, size: int | None) -> None:
        self._pieces, self.mime_type, self.size = pieces, mime_type, size
        self._first = next(pieces)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the file in pieces."""
        yield from chain((self._first,), self._pieces)

    def close(self) -> None:
        """Close the file."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


def first_day_kept(tenant: Tenant, key: str, *, today: date) -> date:
    """Return the first UTC day of whose files a tenant's archive keeps those under a key."""
    days = tenant.archive_days or tenant.retention_days
    return today - timedelta(
        days=min(days, tenant.retention_days) if key == ArchiveKey.DAY else days
    )


def place_of(tenant_id: UUID, stored_as: UUID) -> bytes:
    """Return what a kept file is bound to."""
    return associated_data(tenant_id, PLACE, stored_as)


def thumbnail_name(stored_as: UUID) -> UUID:
    """Return under which name the thumbnail of a kept file is stored."""
    return uuid5(stored_as, "thumbnail")


def remove(tenant_id: UUID, stored_as: UUID) -> None:
    """Remove a file from the storage, with its thumbnail."""
    sealed_storage.remove(tenant_id, thumbnail_name(stored_as))
    sealed_storage.remove(tenant_id, stored_as)


def sealing_cipher(tenant: Tenant, day: date) -> Cipher:
    """Return what seals a file that came on a day.

    Raises:
        workspaces.keys.TenantHasNoKeys: the tenant is being erased.
    """
    if tenant.archive == ArchiveKey.FIELD:
        return keys.field_cipher(tenant.id)
    return keys.day_cipher(tenant.id, day)


def open_kept(media: Media) -> KeptStream:
    """Open a file that is ``KEPT``.

    Raises:
        messaging.sealed_storage.FileGone: the storage has no such file.
        messaging.sealed_storage.StorageAway: nobody can read it now.
        lib.envelope.CannotOpen: it was altered, or its key was destroyed.
    """
    if media.archived_as is None:
        raise FileGone("The storage has no such file.")
    return _opened(media, media.archived_as, media.mime_type, media.size_bytes)


def open_thumbnail(media: Media) -> KeptStream:
    """Open a file's thumbnail.

    Raises:
        NoThumbnail: it has none, or that is gone.
        messaging.sealed_storage.StorageAway: nobody can read it now.
    """
    if media.archived_as is None or not has_thumbnail(media):
        raise NoThumbnail(NoThumbnail.__doc__)
    try:
        name = thumbnail_name(media.archived_as)
        return _opened(media, name, thumbnails.MIME_TYPE, media.thumbnail_bytes)
    except (FileGone, CannotOpen):
        raise NoThumbnail(NoThumbnail.__doc__) from None


def has_thumbnail(media: Media) -> bool:
    """Whether there is a thumbnail to show."""
    return media.archive_state == ArchiveState.KEPT and media.thumbnail_bytes is not None


def _opened(media: Media, stored_as: UUID, mime_type: str, size: int | None) -> KeptStream:
    tenant_id = media.tenant_id
    is_of_day = media.archived_key == ArchiveKey.DAY
    try:
        cipher = keys.cipher_of if is_of_day else keys.field_cipher(tenant_id)
        place = place_of(tenant_id, stored_as)
        pieces = sealed_storage.pieces(tenant_id, stored_as, cipher, place)
        return KeptStream(pieces, mime_type, size)
    except keys.TenantHasNoKeys as error:
        raise CannotOpen(str(error)) from error


def purge(*, now: datetime) -> int:
    """Remove kept files that are past their tenant's time, and those of deleted messages; return
    how many. Where the storage refuses one tenant's, the others go on.
    """
    count = 0
    today = now.astimezone(UTC).date()
    for tenant in Tenant.objects.all():
        late = Q(archived_day=None)
        for key in (ArchiveKey.DAY, ArchiveKey.FIELD):
            first = first_day_kept(tenant, key, today=today)
            late |= Q(archived_key=key, archived_day__lt=first)
        try:
            count += _discard(_kept(tenant.id).filter(late))
        except DatabaseError:
            raise
        except Exception as error:  # each storage has its own
            extra = {"tenant": tenant.slug, "error": type(error).__name__}
            logger.error("whatsapp archive not purged", extra=extra)
    return count


def erase(tenant_id: UUID, contact_ids: Collection[UUID] | None = None) -> int:
    """Remove all kept files of a tenant, or of these people, and halves of those being fetched;
    return how many.
    """
    pending, kept = PendingFetch.objects.filter(tenant_id=tenant_id), _kept(tenant_id)
    if contact_ids is not None:
        theirs = Message.objects.filter(
            tenant_id=tenant_id,
            workspace_id__in=Workspace.objects.filter(tenant_id=tenant_id).values("id"),
            contact_id__in=list(contact_ids),
        )
        files = Media.objects.filter(tenant_id=tenant_id, message_id__in=theirs.values("id"))
        kept = kept.filter(message_id__in=theirs.values("id"))
        pending = pending.filter(media_id__in=files.values("id"))
    for row in pending.exclude(stored_as=None).iterator():
        if row.stored_as is not None:
            remove(tenant_id, row.stored_as)
    return _discard(kept)


def _discard(rows: QuerySet[Media]) -> int:
    """Remove files, one by one; return how many. What the storage refuses is found again."""
    count = 0
    while found := list(rows.order_by()[:BATCH]):
        for media in found:
            if media.archived_as is not None:
                remove(media.tenant_id, media.archived_as)
            mine = _kept(media.tenant_id).filter(pk=media.pk, archived_as=media.archived_as)
            # One that is being fetched anew, or whose message was deleted, stays what it is.
            is_kept = When(archive_state=ArchiveState.KEPT, then=Value(ArchiveState.REMOVED.value))
            count += mine.update(
                archive_state=Case(is_kept, default="archive_state"),
                archived_as=None,
                archived_key=None,
                archived_day=None,
                thumbnail_bytes=None,
            )
    return count


class HeldArchive(NamedTuple):
    """How much is kept for one tenant, how much is still to be fetched, and what could not be."""

    tenant: str
    files: int
    bytes: int
    oldest: datetime | None
    pending: int
    lost: int


def held(*, tenant_id: UUID | None = None) -> list[HeldArchive]:
    """Return how much lies there, of each tenant that has, or wanted, something."""
    rows = Media.objects.exclude(archive_state=None)
    if tenant_id is not None:
        rows = rows.filter(tenant_id=tenant_id)
    slugs = dict(Tenant.objects.values_list("id", "slug"))
    kept = Q(archive_state=ArchiveState.KEPT)
    counted = rows.values("tenant_id").annotate(
        files=Count("id", filter=kept),
        bytes=Sum("size_bytes", filter=kept, default=0),
        oldest=Min("created_at", filter=kept),
        pending=Count("id", filter=Q(archive_state=ArchiveState.PENDING)),
        lost=Count("id", filter=Q(archive_state=ArchiveState.LOST)),
    )
    each = counted.order_by("tenant_id").values_list("tenant_id", *HeldArchive._fields[1:])
    found = [HeldArchive(slugs.get(tenant_id, ""), *counts) for tenant_id, *counts in each]
    return sorted(found, key=lambda one: one.tenant)


def _kept(tenant_id: UUID) -> QuerySet[Media]:
    return Media.objects.filter(tenant_id=tenant_id, archived_as__isnull=False)
