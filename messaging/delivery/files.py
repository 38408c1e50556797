"""Files of ours in what is sent: given to the platform beforehand, once for each number, and put in
by the name that they have there.

A message whose file is not there yet waits, and nothing else does: files are uploaded by threads of
their own. Meta keeps a file for 30 days; one that it has forgotten before is uploaded again, once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from lib import bulk
from messaging.attempts import Result
from messaging.delivery.due import Deferral, Failed
from messaging.filetypes import FILE_MARK
from messaging.statuses import FILE_CODES
from workspaces.channel_errors import Rejected, Unavailable

MARK = FILE_MARK.encode()
# Not in a text: there a quotation mark has a backslash before it.
_NAMED = re.compile(rb'"id":"' + MARK + rb'([0-9a-f-]{36})"')
# A day less than Meta keeps what was uploaded.
LIFE = timedelta(days=29)
# How long a message waits before it looks again; it is called when its file is there.
WAIT = timedelta(seconds=15)
LATE = "The file is not with the platform yet; it is tried again."
GONE = (
    "The file is not there any more: it was removed, or cannot be read where it lay. Upload it "
    "again, and send another message."
)
# A file that was uploaded so lately is refused for other reasons than that it was forgotten.
FORGOTTEN_ONCE_IN = timedelta(hours=1)
# How long a refusal of the file itself holds.
REFUSED_FOR = timedelta(hours=1)
# What Meta says of a file that it does not have: an id that is not valid, or no such object.
VAGUE_CODES = frozenset({100, 131009})


class FileKey(NamedTuple):
    """A file as one number's."""

    tenant_id: UUID
    upload_id: UUID
    workspace_id: UUID


class SentFile(NamedTuple):
    """A file in a message that was sent, and what it was called there."""

    upload_id: UUID
    platform_media_id: str


class Handle(NamedTuple):
    """What is known of a file at the platform."""

    tenant_id: UUID
    upload_id: UUID
    workspace_id: UUID
    is_here: bool
    platform_media_id: str
    expires_at: datetime | None
    lease_until: datetime | None
    due_at: datetime | None
    error_code: int | None
    error: str


FIND = """
SELECT r.tenant_id, r.upload_id, r.workspace_id, u.id IS NOT NULL,
       coalesce(h.platform_media_id, ''), h.expires_at, h.lease_until, h.due_at, h.error_code,
       coalesce(h.error, '')
FROM {rows}
LEFT JOIN uploads u ON u.tenant_id = r.tenant_id AND u.id = r.upload_id AND u.state = 'READY'
LEFT JOIN upload_handles h ON h.tenant_id = r.tenant_id AND h.upload_id = r.upload_id
     AND h.workspace_id = r.workspace_id
"""
FORGET = """
UPDATE upload_handles h SET platform_media_id = '', expires_at = NULL, renewed_at = r.now,
       due_at = r.now, attempts = 0
FROM {rows}
WHERE h.tenant_id = r.tenant_id AND h.upload_id = r.upload_id AND h.workspace_id = r.workspace_id
  AND h.platform_media_id = r.platform_media_id
  AND coalesce(h.renewed_at < r.now - make_interval(secs => r.seconds), true)
"""
FORGET_OF_MESSAGES = """
UPDATE upload_handles h SET platform_media_id = '', expires_at = NULL, renewed_at = r.now,
       due_at = r.now, attempts = 0
FROM {rows} JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.message_id
     AND m.source = 'API'
CROSS JOIN LATERAL jsonb_array_elements_text(m.content -> 'files') f
WHERE h.tenant_id = m.tenant_id AND h.workspace_id = m.workspace_id AND h.upload_id = f::uuid
  AND h.platform_media_id <> ''
  AND coalesce(h.renewed_at < r.now - make_interval(secs => r.seconds), true)
"""
CURRENT = """
SELECT h.upload_id, h.workspace_id, h.platform_media_id FROM {rows}
JOIN upload_handles h ON h.tenant_id = r.tenant_id AND h.upload_id = r.upload_id
 AND h.workspace_id = r.workspace_id
"""
COLUMNS = bulk.columns(FileKey)


def waiting_for(upload_id: UUID) -> str:
    """Return why messages wait whose file is on its way."""
    return f"The file {upload_id} is on its way to the platform."


def named_in(request: bytes) -> list[UUID]:
    """Return the files of ours that a request names."""
    return [UUID(one.decode()) for one in _NAMED.findall(request)]


def with_ids(request: bytes, files: Iterable[SentFile]) -> bytes:
    """Return a request with the platform's ids in the places of ours."""
    names = {str(one.upload_id).encode(): one.platform_media_id.encode() for one in files}
    return _NAMED.sub(lambda found: b'"id":"' + names[found[1]] + b'"', request)


def look_up(wanted: Collection[FileKey]) -> dict[FileKey, Handle]:
    """Return what is known of files."""
    rows = [Handle(*row) for row in bulk.run(FIND, COLUMNS, list(wanted))]
    return {FileKey(*row[:3]): row for row in rows}


def verdict(handle: Handle, *, now: datetime) -> SentFile | Failed | Deferral | None:
    """Return a file's name at the platform, or why a message that needs it waits or fails; ``None``
    for one that has to be uploaded first.
    """
    if not handle.is_here:
        return Failed("FILE_GONE", GONE)
    if handle.platform_media_id and handle.expires_at and handle.expires_at > now:
        return SentFile(handle.upload_id, handle.platform_media_id)
    if handle.error_code is not None and handle.due_at and handle.due_at > now:
        return Failed(handle.error_code, handle.error)
    if handle.lease_until is not None and handle.lease_until > now:
        return Deferral(now + WAIT, waiting_for(handle.upload_id))
    if handle.due_at is not None and handle.due_at > now:
        return Deferral(handle.due_at, f"{LATE} {handle.error}".strip())
    return None


class Refused(NamedTuple):
    """A message that the platform refused, with files in it."""

    tenant_id: UUID
    workspace_id: UUID
    files: Sequence[SentFile]
    error: Rejected


def is_about_files(result: Result) -> bool:
    """Whether a refusal can be for a file that the platform does not have any more."""
    if not isinstance(result, Rejected):
        return False
    if result.code in FILE_CODES:
        return True
    words = f"{result.message} {result.details}".lower()
    return result.code in VAGUE_CODES and (result.stops or "media" in words)


def forgotten(refused: Sequence[Refused], *, now: datetime) -> list[Result]:
    """Return what refusals come to: to be sent again, where the platform has forgotten a file or
    that has another name by now; else the refusal.
    """
    rows = [
        (one.tenant_id, file.upload_id, one.workspace_id, file.platform_media_id)
        for one in refused
        for file in one.files
    ]
    seconds = FORGOTTEN_ONCE_IN.total_seconds()
    bulk.run(
        FORGET,
        (*COLUMNS, "platform_media_id text", "now timestamptz", "seconds float8"),
        sorted({(*row, now, seconds) for row in rows}, key=str),
    )
    keys = sorted({row[:3] for row in rows}, key=str)
    current = {row[:2]: row[2] for row in bulk.run(CURRENT, COLUMNS, keys)}
    return [_again(one, current) for one in refused]


def forget_of(messages: Iterable[tuple[UUID, UUID]], *, now: datetime) -> None:
    """Let files be given anew of messages (tenant, id) that the platform failed for them after it
    took them; of each file once in an hour.
    """
    columns = ("tenant_id uuid", "message_id uuid", "now timestamptz", "seconds float8")
    seconds = FORGOTTEN_ONCE_IN.total_seconds()
    rows = [(*one, now, seconds) for one in sorted(messages, key=str)]
    bulk.run(FORGET_OF_MESSAGES, columns, rows)


def _again(one: Refused, current: Mapping[tuple[UUID, UUID], str]) -> Result:
    names = ((current.get((f.upload_id, one.workspace_id)), f.platform_media_id) for f in one.files)
    if all(now == before for now, before in names):
        return one.error
    error = one.error
    return Unavailable(
        "Meta no longer has the file; it is uploaded again.",
        code=error.code,
        details=error.details,
        trace_id=error.trace_id,
    )
