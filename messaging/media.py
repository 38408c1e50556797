"""Files of messages: what came of them with the message, links that expire, and the bytes: from the
archive of a tenant that has one, else fetched from the platform on demand.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import httpx
from django.conf import settings
from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.db.models import Exists, OuterRef

from lib import bulk
from lib.envelope import CannotOpen, Cipher
from lib.sealed_files import SealedWriter, opened
from messaging import archive, scanning, sealed_storage
from messaging.models import ArchiveError, ArchiveState, Media, MediaState, Message
from messaging.scanning import Infected
from messaging.sealed_storage import FileGone
from messaging.sealed_values import fill, open_values
from workspaces.channel_errors import MediaGone, Unavailable
from workspaces.channels import MediaStream, channel_for
from workspaces.models import Workspace

logger = logging.getLogger("sigma.whatsapp.files")
LINK_LIFETIME = timedelta(minutes=15)
LINK_SALT = "messaging.media"


class NewFile(NamedTuple):
    """A file that a message brought, as a row of ``media``."""

    id: UUID
    tenant_id: UUID
    workspace_id: UUID
    message_id: UUID
    platform_media_id: str
    mime_type: str
    sha256: str
    filename: str
    voice: bool
    animated: bool
    sent_at: datetime


# A file that its tenant's archive wants has to be fetched; one that is kept already stays, and so
# does one that the virus scanner refused, whether there is an archive or not.
INSERT = """
WITH stored AS (
    INSERT INTO media AS m (id, tenant_id, workspace_id, message_id, platform_media_id, mime_type,
                            sha256, filename, voice, animated, expires_at, archive_state)
    SELECT r.id, r.tenant_id, r.workspace_id, r.message_id, r.platform_media_id, r.mime_type,
           r.sha256, r.filename, r.voice, r.animated, r.sent_at + interval '7 days',
           CASE WHEN t.archive <> 'OFF' THEN 'PENDING' END
    FROM {rows} LEFT JOIN tenants t ON t.id = r.tenant_id
    ON CONFLICT (tenant_id, message_id) DO UPDATE SET
      platform_media_id = excluded.platform_media_id, mime_type = excluded.mime_type,
      sha256 = excluded.sha256, filename = excluded.filename, voice = excluded.voice,
      animated = excluded.animated, expires_at = excluded.expires_at, state = 'AVAILABLE',
      (archive_state, archive_error) = (SELECT
        CASE WHEN stays THEN m.archive_state ELSE excluded.archive_state END,
        CASE WHEN stays THEN m.archive_error END
        FROM (SELECT m.archive_state IN ('KEPT', 'REFUSED') AND m.sha256 <> ''
                     AND m.sha256 = excluded.sha256 AS stays) same)
    RETURNING m.tenant_id, m.id, m.archive_state
)
INSERT INTO archive_fetches (tenant_id, media_id)
SELECT tenant_id, id FROM stored WHERE archive_state = 'PENDING'
ON CONFLICT (tenant_id, media_id) DO UPDATE SET due_at = now(), attempts = 0
"""


class InvalidLink(Exception):
    """This download link was altered, or belongs to another file."""


class ExpiredLink(Exception):
    """This download link has expired; ask GraphQL for a new one."""


class Revoked(Exception):
    """The sender deleted the message with this file; it is gone for good."""


class NoSuchMedia(Exception):
    """There is no such file."""


def insert(files: Sequence[NewFile]) -> None:
    """Store files in the transaction that stores their messages; what was told of one before gives
    way.
    """
    bulk.run(INSERT, bulk.columns(NewFile), files)


def download_url(media: Media) -> str:
    """Return a link that serves the file to whoever holds it, for 15 minutes."""
    token = _signer().sign(f"{media.tenant_id.hex}{media.id.hex}")
    return f"{settings.SIGMA_PUBLIC_URL}/media/{media.id}?token={token}"


def thumbnail_url(media: Media) -> str | None:
    """Return such a link of its thumbnail, if it has one."""
    return f"{download_url(media)}&thumbnail" if archive.has_thumbnail(media) else None


def tenant_of_link(token: str, media_id: UUID) -> UUID:
    """Return the tenant for which the link was signed.

    Raises:
        InvalidLink: altered, or another file's.
        ExpiredLink: older than 15 minutes.
    """
    try:
        signed = _signer().unsign(token, max_age=LINK_LIFETIME)
    except SignatureExpired:
        raise ExpiredLink(ExpiredLink.__doc__) from None
    except BadSignature:
        raise InvalidLink(InvalidLink.__doc__) from None
    if signed[32:] != media_id.hex:
        raise InvalidLink(InvalidLink.__doc__)
    return UUID(signed[:32])


def find(*, tenant_id: UUID, media_id: UUID) -> tuple[Media, Workspace]:
    """Return a tenant's file and the workspace through which it can be fetched.

    Raises:
        NoSuchMedia: not there, or another tenant's.
        Revoked: its message was deleted by the sender.
    """
    rows = Media.objects.select_related("message")
    try:
        media = rows.get(tenant_id=tenant_id, message__tenant_id=tenant_id, pk=media_id)
        workspace = Workspace.objects.get(tenant_id=tenant_id, pk=media.workspace_id)
    except (Media.DoesNotExist, Workspace.DoesNotExist):
        raise NoSuchMedia(NoSuchMedia.__doc__) from None
    if media.message.revoked_at is not None:
        raise Revoked(Revoked.__doc__)
    media.filename = _filename(media)
    return media, workspace


def can_be_had(media: Media) -> bool:
    """Whether there is something to download."""
    if media.archive_state == ArchiveState.REFUSED:
        return False
    return media.state == MediaState.AVAILABLE or media.archive_state == ArchiveState.KEPT


def open_file(media: Media, workspace: Workspace, *, now: datetime) -> MediaStream:
    """Open the file where it is kept; else, or where it is kept no more, at the platform. Where
    there is a scanner, that has to pass it first: what is kept was scanned when it came.

    Raises:
        messaging.scanning.Infected: the scanner refuses it.
        messaging.scanning.ScannerAway: the scanner says nothing.
        messaging.sealed_storage.StorageAway: it is kept where nobody can read now.
        workspaces.channel_errors.ChannelError: see :func:`open_at_platform`.
    """
    if media.archive_state == ArchiveState.KEPT:
        try:
            return archive.open_kept(media)
        except (FileGone, CannotOpen) as error:
            extra = {"media_id": media.id, "error": type(error).__name__}
            logger.error("whatsapp archived file not readable", extra=extra)
    if media.archive_state == ArchiveState.REFUSED:
        raise Infected
    stream = open_at_platform(media, workspace, now=now)
    return _scanned(media, stream) if scanning.is_on() else stream


def _scanned(media: Media, stream: MediaStream) -> MediaStream:
    """Take a file whole, sealed under a key that nobody else has, and have it scanned."""
    cipher, place = Cipher(0, os.urandom(32)), archive.place_of(media.tenant_id, media.id)
    try:
        with closing(stream), sealed_storage.writing():
            file = sealed_storage.temporary()
            writer = SealedWriter(file, cipher, place)
            for piece in stream:
                writer.write(piece)
            writer.finish()
            size = writer.size
            file.seek(0)
        scanning.scan(opened(file, cipher, place))
        file.seek(0)
        return archive.KeptStream(opened(file, cipher, place), stream.mime_type, size)
    except httpx.HTTPError as error:
        raise Unavailable(f"The platform broke off ({type(error).__name__}).") from None
    except Infected as error:
        logger.warning("whatsapp file refused by the scanner", extra={"found": error.found})
        rows = Media.objects.filter(tenant_id=media.tenant_id, pk=media.pk)
        rows.update(archive_state=ArchiveState.REFUSED, archive_error=ArchiveError.INFECTED)
        raise


def open_at_platform(media: Media, workspace: Workspace, *, now: datetime) -> MediaStream:
    """Open the file at the platform, which is asked each time.

    The platform's word that it is gone is recorded, and taken back should it change its mind (Meta
    gives the same answer when the access token may not see the file). Its size is recorded, too.

    Raises:
        workspaces.channel_errors.ChannelError: see ``Channel.open_media`` and ``channel_for``.
    """
    channel = channel_for(workspace, now=now)
    try:
        stream = channel.open_media(media.platform_media_id)
    except MediaGone:
        _record(media, MediaState.GONE)
        raise
    try:
        _record(media, MediaState.AVAILABLE, stream.size)
    except BaseException:  # or its connection stays taken
        stream.close()
        raise
    return stream


def _filename(media: Media) -> str:
    sealed = media.message.sealed_values
    if sealed is None:
        return media.filename
    opened = open_values({media.message_id: bytes(sealed)}, tenant_id=media.tenant_id)
    return str(fill(media.filename, opened[media.message_id]))


def _record(media: Media, state: MediaState, size: int | None = None) -> None:
    size = media.size_bytes if size is None else size
    if (media.state, media.size_bytes) == (state, size):
        return
    row = Media.objects.filter(tenant_id=media.tenant_id, pk=media.pk)
    # The message may have been revoked since it was looked at: that stands.
    said = Message.objects.filter(
        tenant_id=media.tenant_id, pk=OuterRef("message_id"), revoked_at=None
    )
    row.filter(Exists(said)).update(state=state, size_bytes=size)


def _signer() -> TimestampSigner:
    return TimestampSigner(salt=LINK_SALT)
