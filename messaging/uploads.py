"""Files that applications give us to send: taken in piece by piece, judged as they come, sealed
before they touch a disk, and kept in Django's storage until the tenant's retention window is over.

A file is complete in the storage before anything may name it. Until then it is in a temporary file
without a name, which ends with the process; its row says under which names it is being stored, so
that nothing is left of who died meanwhile.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import IO, NamedTuple
from uuid import UUID, uuid4

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Count, Min, Q, QuerySet, Sum

from lib.envelope import CannotOpen, associated_data
from lib.sealed_files import SealedWriter
from messaging import filetypes, sealed_storage
from messaging.filetypes import UnsuitableFile
from messaging.models import Upload, UploadHandle, UploadState
from messaging.sealed_storage import AWAY, FileGone, StorageAway
from workspaces import keys
from workspaces.acting import as_tenant
from workspaces.channel_errors import Rejected, Unavailable
from workspaces.channels import OutgoingFile
from workspaces.models import Tenant, Workspace

logger = logging.getLogger("sigma.whatsapp.files")
PLACE, NAME_PLACE = "uploads.content", "uploads.sealed_name"
# What was being stored for so long was cut off.
CUT_OFF = timedelta(hours=1)
MOST_NAME = 240
BATCH = 500
ALONE = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


class UnknownWorkspace(Exception):
    """The tenant has no such workspace."""


class ReceivedFile(NamedTuple):
    """A whole file, sealed, in a temporary file that is gone when it is closed."""

    tenant_id: UUID
    stored_as: UUID
    file: IO[bytes]
    mime_type: str
    size: int
    sha256: str
    name: str


class FileIntake:
    """Takes in one file of a tenant."""

    def __init__(self, tenant_id: UUID, *, declared: str, filename: str) -> None:
        """Prepare for a file of a type that was ``declared`` (empty: it was not).

        Raises:
            workspaces.keys.TenantHasNoKeys: the tenant is being erased.
        """
        self._tenant_id, self._declared = tenant_id, declared
        self._name = name_of(filename)
        self._stored_as = uuid4()
        self._head, self._type, self._most = bytearray(), "", filetypes.LARGEST
        self._size, self._digest = 0, hashlib.sha256()
        cipher, place = keys.field_cipher(tenant_id), _place(tenant_id, self._stored_as)
        self._file = sealed_storage.temporary()
        self._writer = SealedWriter(self._file, cipher, place)

    def add(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            messaging.filetypes.UnsuitableFile: WhatsApp takes no such file.
            StorageAway: the disk is full.
        """
        self._size += len(data)
        if not self._type:
            self._head += data
            if len(self._head) >= filetypes.HEAD:
                self._judge()
        self._check_size()
        self._digest.update(data)
        with sealed_storage.writing():
            self._writer.write(data)

    def finish(self) -> ReceivedFile:
        """Return the file.

        Raises:
            messaging.filetypes.UnsuitableFile: it is empty, or WhatsApp takes no such file.
            StorageAway: the disk is full.
        """
        if not self._size:
            raise UnsuitableFile("EMPTY_FILE", "The file is empty. Send its bytes.")
        if not self._type:
            self._judge()
            self._check_size()
        with sealed_storage.writing():
            self._writer.finish()
            self._file.seek(0)
        return ReceivedFile(
            self._tenant_id,
            self._stored_as,
            self._file,
            self._type,
            self._size,
            self._digest.hexdigest(),
            self._name,
        )

    def abandon(self) -> None:
        """Leave nothing of it."""
        with suppress(OSError):  # a full disk may say so once more
            self._file.close()

    def _judge(self) -> None:
        head = bytes(self._head)
        self._type = filetypes.type_of(head, declared=self._declared, filename=self._name)
        self._most = filetypes.most_bytes(self._type, head)
        self._head.clear()

    def _check_size(self) -> None:
        if self._size > self._most:
            raise too_large(self._most, self._type)


def too_large(most: int, mime_type: str = "") -> UnsuitableFile:
    """Return the refusal of a file that is larger than WhatsApp allows."""
    of_type = f" of the type {mime_type}" if mime_type else ""
    return UnsuitableFile(
        "TOO_LARGE",
        f"WhatsApp takes files{of_type} of at most {most:,} bytes. Send a smaller one, or a link.",
    )


def name_of(filename: str) -> str:
    """Return the name that a recipient sees: without folders, and of what can be shown."""
    plain = filename.replace("\\", "/").rpartition("/")[2]
    shown = "".join(c for c in plain if c.isprintable()).strip()
    if not shown.strip("."):
        return ""
    while len(shown.encode("utf-8", "ignore")) > MOST_NAME:
        stem, dot, ending = shown.rpartition(".")
        shown = f"{stem[:-1]}{dot}{ending}" if len(stem) > 1 else shown[:-1]
    return shown


class KeptUpload(NamedTuple):
    """A file that is kept: since now, or since it was given to us before."""

    id: UUID
    is_new: bool


def keep(received: ReceivedFile, *, workspace_id: UUID, now: datetime) -> KeptUpload:
    """Keep a file, and return its id: that of the same file where it is kept already.

    Raises:
        UnknownWorkspace: the tenant has no such workspace.
        messaging.filetypes.UnsuitableFile: the tenant keeps too much.
        StorageAway: it cannot be kept now.
    """
    upload_id = _id_of(received)
    with received.file as file:
        ready = _begin(received, upload_id, workspace_id, now)
        try:
            if ready and sealed_storage.exists(received.tenant_id, ready):
                return KeptUpload(upload_id, is_new=False)
            if ready:
                _begin(received, upload_id, workspace_id, now, lost=ready)
            sealed_storage.save(received.tenant_id, received.stored_as, file)
            is_mine = _end(received, upload_id)
        except DatabaseError:
            _undo(received, upload_id)
            raise
        except Exception as error:  # each storage has its own
            _undo(received, upload_id)
            extra = {"tenant_id": received.tenant_id, "error": type(error).__name__}
            logger.error("whatsapp file not stored", extra=extra)
            raise StorageAway(AWAY) from error
    if not is_mine:  # somebody else gave us the same, and was faster
        _undo(received, upload_id)
    return KeptUpload(upload_id, is_new=is_mine)


def _begin(
    received: ReceivedFile,
    upload_id: UUID,
    workspace_id: UUID,
    now: datetime,
    lost: UUID | None = None,
) -> UUID | None:
    """Write down what is going to be stored, unless it is there already: return under which name,
    if that is not ``lost``.
    """
    tenant_id = received.tenant_id
    with as_tenant(tenant_id):
        if not Workspace.objects.filter(tenant_id=tenant_id, pk=workspace_id).exists():
            raise UnknownWorkspace("Your tenant has no workspace with this id.")
        row = Upload(
            id=upload_id,
            tenant_id=tenant_id,
            workspace_id=workspace_id,
            stored_as=received.stored_as,
            mime_type=received.mime_type,
            size_bytes=received.size,
            sealed_name=_seal_name(received, upload_id),
            created_at=now,
            used_at=now,
        )
        Upload.objects.bulk_create([row], ignore_conflicts=True)
        found = _rows(tenant_id).select_for_update().get(pk=upload_id)
        is_ready = found.state == UploadState.READY and found.stored_as != lost
        change: dict[str, object] = {}
        if found.stored_as != received.stored_as:
            # Later than whoever gave it to us before, who may discard what nobody used since.
            change["used_at"] = max(found.used_at + timedelta(microseconds=1), now)
        if not is_ready:
            _check_room(tenant_id, received.size, besides=upload_id)
            change |= {"state": UploadState.STORING, "begun": [*found.begun, received.stored_as]}
        _rows(tenant_id).filter(pk=upload_id).update(**change)
    return found.stored_as if is_ready else None


def _check_room(tenant_id: UUID, size: int, *, besides: UUID) -> None:
    """Refuse bytes that a tenant may not keep ``besides`` its other files. Until the transaction
    ends nobody else begins to keep one: two that each have room may have none together.
    """
    most = settings.SIGMA_FILES_QUOTA_BYTES
    if not most:
        return
    with connection.cursor() as cursor:
        cursor.execute(ALONE, [f"uploads:{tenant_id}"])
    kept = _rows(tenant_id).exclude(pk=besides).aggregate(size=Sum("size_bytes"))["size"] or 0
    if kept + size > most:
        raise UnsuitableFile(
            "QUOTA_EXCEEDED",
            f"Your tenant keeps {kept:,} bytes of files and may keep {most:,}. Remove files that "
            "you need no more (DELETE /api/v1/media/…), or let the operator raise "
            "SIGMA_FILES_QUOTA_BYTES.",
        )


def _end(received: ReceivedFile, upload_id: UUID) -> bool:
    """Let a file be named that is stored; return whether nobody was faster.

    Raises:
        StorageAway: it was removed meanwhile, as after an hour.
    """
    mine = received.stored_as
    with as_tenant(received.tenant_id):
        row = _rows(received.tenant_id).select_for_update().filter(pk=upload_id).first()
        if row is None:
            raise StorageAway(AWAY)
        if row.state == UploadState.READY:
            return False
        begun = sorted({*row.begun, row.stored_as} - {mine})
        _rows(row.tenant_id).filter(pk=upload_id).update(
            state=UploadState.READY, stored_as=mine, begun=begun
        )
    return True


def _id_of(received: ReceivedFile) -> UUID:
    """Return the same id for the same file; another tenant's is another one."""
    told_apart = f"{received.sha256}|{received.mime_type}|{received.name}".encode()
    digest = hmac.digest(keys.salt(received.tenant_id), b"upload:" + told_apart, "sha256")
    return UUID(bytes=digest[:16], version=5)  # a name-based one


def _seal_name(received: ReceivedFile, upload_id: UUID) -> bytes | None:
    if not received.name:
        return None
    place = associated_data(received.tenant_id, NAME_PLACE, upload_id)
    return keys.field_cipher(received.tenant_id).seal(received.name.encode(), place)


def opened_name(tenant_id: UUID, upload_id: UUID, sealed: bytes | None) -> str:
    """Return the name that a file came with."""
    if sealed is None:
        return ""
    place = associated_data(tenant_id, NAME_PLACE, upload_id)
    return keys.field_cipher(tenant_id).open(bytes(sealed), place).decode()


def use(*, tenant_id: UUID, upload_ids: Iterable[UUID], until: datetime) -> None:
    """Keep files for a send that may need them until a time."""
    rows = _rows(tenant_id).filter(pk__in=list(upload_ids), used_at__lt=until)
    rows.update(used_at=until)


def pieces(upload: Upload) -> Iterator[bytes]:
    """Return a file's bytes.

    Raises:
        FileGone: the storage has no such file.
        lib.envelope.CannotOpen: it was altered or cut.
        StorageAway: it cannot be read now.
    """
    whose = upload.tenant_id, upload.stored_as
    return sealed_storage.pieces(*whose, keys.field_cipher(upload.tenant_id), _place(*whose))


def lose(upload: Upload) -> None:
    """Let nothing name a file that cannot be read; whoever gives it to us again mends it."""
    rows = _rows(upload.tenant_id).filter(pk=upload.pk, stored_as=upload.stored_as)
    rows.update(state=UploadState.STORING)


def outgoing(upload: Upload) -> OutgoingFile:
    """Return a file as a platform takes it, under a name of its type's own: Meta wants ending and
    bytes to agree, and the tenant's name for it is nobody's business before it is sent.
    """
    name = f"file.{filetypes.ending_of(upload.mime_type)}"
    return OutgoingFile(partial(pieces, upload), upload.size_bytes, upload.mime_type, name)


def examples(tenant_id: UUID, upload_ids: Collection[UUID]) -> dict[UUID, OutgoingFile]:
    """Return those of a tenant's files that are there, for headers of templates. Reading one raises
    ``Rejected`` where it is lost, and ``Unavailable`` while the storage is away.
    """
    rows = _rows(tenant_id).filter(pk__in=upload_ids, state=UploadState.READY)
    return {row.id: replace(outgoing(row), pieces=partial(_readable, row)) for row in rows}


def _readable(upload: Upload) -> Iterator[bytes]:
    try:
        yield from pieces(upload)
    except StorageAway as error:
        raise Unavailable(str(error)) from None
    except (FileGone, CannotOpen, keys.TenantHasNoKeys) as error:
        lose(upload)
        said = f"The file cannot be read ({type(error).__name__}); upload it again."
        raise Rejected(0, said) from None


def purge(*, now: datetime) -> int:
    """Remove files that nothing used within their tenant's retention window, and what was cut off;
    return how many. Where the storage refuses one tenant's, the others go on.
    """
    count = 0
    for tenant in Tenant.objects.all():
        window = timedelta(days=tenant.retention_days)
        cut = Q(state=UploadState.STORING, used_at__lt=now - CUT_OFF)
        try:
            count += _discard(_rows(tenant.id).filter(cut | Q(used_at__lt=now - window)))
            _remove_leftovers(tenant.id, now - CUT_OFF)
        except DatabaseError:
            raise
        except Exception as error:  # each storage has its own
            extra = {"tenant": tenant.slug, "error": type(error).__name__}
            logger.error("whatsapp files not purged", extra=extra)
    return count


def erase(tenant_id: UUID) -> int:
    """Remove all files of a tenant; return how many."""
    count = _discard(_rows(tenant_id))
    sealed_storage.remove_folder(tenant_id)
    return count


def discard(*, tenant_id: UUID, upload_id: UUID, unless_used_since: datetime) -> bool:
    """Remove one file, unless somebody gave us the same, or used it, since a time; return whether
    it was there.
    """
    rows = _rows(tenant_id).filter(pk=upload_id, used_at__lte=unless_used_since)
    return bool(_discard(rows))


def used_at(*, tenant_id: UUID, upload_id: UUID) -> datetime | None:
    """Return until when a send may need a file, or when it came; nothing where there is none."""
    return _rows(tenant_id).filter(pk=upload_id).values_list("used_at", flat=True).first()


def _discard(rows: QuerySet[Upload]) -> int:
    """Remove files, one by one, each while nobody may begin to use it; return how many."""
    count = 0
    while found := list(rows.values_list("tenant_id", "pk")[:BATCH]):
        for tenant_id, upload_id in found:
            with transaction.atomic():
                row = rows.select_for_update().filter(tenant_id=tenant_id, pk=upload_id).first()
                if row is not None:
                    for name in {row.stored_as, *row.begun}:
                        sealed_storage.remove(tenant_id, name)
                    mine = UploadHandle.objects.filter(tenant_id=tenant_id, upload_id=upload_id)
                    mine.delete()
                    _rows(tenant_id).filter(pk=upload_id).delete()
                    count += 1
    return count


def _remove_leftovers(tenant_id: UUID, before: datetime) -> None:
    """Remove what was begun, and cut off, beside files that are there."""
    rows = _rows(tenant_id).filter(used_at__lt=before, state=UploadState.READY)
    for row in rows.exclude(begun=[]):
        for name in row.begun:
            _forget(tenant_id, row.pk, name)


def _forget(tenant_id: UUID, upload_id: UUID, name: UUID) -> None:
    """Remove what was begun under a name, and, where there is no more, its row."""
    sealed_storage.remove(tenant_id, name)
    with as_tenant(tenant_id):
        row = _rows(tenant_id).select_for_update().filter(pk=upload_id).first()
        if row is None:
            return
        begun = [one for one in row.begun if one != name]
        if row.state == UploadState.STORING and not begun:
            _rows(tenant_id).filter(pk=upload_id).delete()
        else:
            _rows(tenant_id).filter(pk=upload_id).update(begun=begun)


class Held(NamedTuple):
    """How much lies there for one tenant."""

    tenant: str
    files: int
    bytes: int
    oldest: datetime | None


def held(*, tenant_id: UUID | None = None) -> list[Held]:
    """Return how much lies there, of each tenant that has something."""
    rows = Upload.objects.all() if tenant_id is None else _rows(tenant_id)
    slugs = dict(Tenant.objects.values_list("id", "slug"))
    counted = rows.values("tenant_id").annotate(
        files=Count("id"), size=Sum("size_bytes"), oldest=Min("created_at")
    )
    found = [
        Held(slugs.get(one["tenant_id"], ""), one["files"], one["size"], one["oldest"])
        for one in counted.order_by("tenant_id")
    ]
    return sorted(found)


def _rows(tenant_id: UUID) -> QuerySet[Upload]:
    return Upload.objects.filter(tenant_id=tenant_id)


def _place(tenant_id: UUID, stored_as: UUID) -> bytes:
    return associated_data(tenant_id, PLACE, stored_as)


def _undo(received: ReceivedFile, upload_id: UUID) -> None:
    """Leave nothing of what could not be stored; what is left even so, the purge finds."""
    try:
        _forget(received.tenant_id, upload_id, received.stored_as)
    except Exception as error:
        logger.warning("whatsapp file left", extra={"error": type(error).__name__})
