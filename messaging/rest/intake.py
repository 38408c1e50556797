"""A request that brings a file: a form with the part ``file``, or the file itself as the body.

It is fed piece by piece, by whoever reads the request (``sigma/uploads.py``), and holds no more
than a piece of it.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl
from uuid import UUID

from rest_framework.request import Request

from lib.multipart import MultipartError, MultipartParser, Part
from messaging import filetypes, uploads
from messaging.filetypes import UnsuitableFile
from messaging.sending.reading import id_of
from messaging.sending.refusals import Malformed, SendErrorCode, UnableToSend
from messaging.uploads import FileIntake, KeptUpload, ReceivedFile, UnknownWorkspace, too_large

# Under which whoever read the request (``sigma/uploads.py``) hands over what came of it.
CAME = "sigma.upload"
FORM = "multipart/form-data"
FILE = "file"
# The rest of a form: its fields, and the headers of its parts.
MOST_FIELDS, MOST_BYTES_OF_FIELDS = 40, 65_536
LARGEST = filetypes.LARGEST + 2 * MOST_BYTES_OF_FIELDS


class Brought(NamedTuple):
    """What came: the fields beside the file, and the file, whole and sealed."""

    fields: dict[str, str]
    file: ReceivedFile


def is_form(content_type: str) -> bool:
    """Whether a body is a form that may bring a file."""
    return content_type.partition(";")[0].strip().lower() == FORM


def brings(request: Request) -> bool:
    """Whether a request brought a file, or was to and was refused."""
    return CAME in request._request.META


def came_with(request: Request) -> Brought:
    """Return what a request brought.

    Raises:
        messaging.sending.refusals.UnableToSend: it was refused while it was read.
    """
    came: Any = request._request.META.get(CAME)
    if isinstance(came, Brought):
        return came
    if isinstance(came, Exception):
        raise came
    raise _malformed("The request brings no file.")


class RequestIntake:
    """Takes in the body of one request of a tenant."""

    def __init__(self, tenant_id: UUID, *, content_type: str, query: str, announced: int) -> None:
        """Prepare for a body of ``announced`` bytes (0: unknown).

        Raises:
            messaging.sending.refusals.UnableToSend: it is too large, or no proper form.
        """
        if announced > LARGEST:
            raise _refusal(too_large(filetypes.LARGEST))
        self._tenant_id, self._came = tenant_id, 0
        self.fields = dict(parse_qsl(query))
        self._file: FileIntake | None = None
        self._field, self._values = "", dict[str, bytearray]()
        self._is_file, self._room = False, MOST_BYTES_OF_FIELDS
        self._form: MultipartParser | None = None
        if not is_form(content_type):
            self._begin_file(content_type, self.fields.pop("filename", ""))
            return
        try:
            self._form = MultipartParser(content_type)
        except MultipartError as error:
            raise _malformed(str(error)) from None

    def add(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            messaging.sending.refusals.UnableToSend: they are none of a form or of a file that
                WhatsApp takes, or there is no end to them.
            messaging.sealed_storage.StorageAway: they cannot be kept.
        """
        self._came += len(data)
        if self._came > LARGEST:  # whatever follows a form's end, too
            raise _refusal(too_large(filetypes.LARGEST))
        if self._form is None:
            self._add_content(data)
            return
        try:
            for one in self._form.feed(data):
                if isinstance(one, Part):
                    self._begin(one)
                else:
                    self._add_content(one)
        except MultipartError as error:
            raise _malformed(str(error)) from None

    def finish(self) -> Brought:
        """Return what came.

        Raises:
            messaging.sending.refusals.UnableToSend: something is missing, or is not as was said.
            messaging.sealed_storage.StorageAway: it cannot be kept.
        """
        try:
            if self._form is not None:
                self._form.close()
        except MultipartError as error:
            raise _malformed(str(error)) from None
        if self._file is None:
            raise _malformed("The form has no part named file. Send the file as one.")
        for name, value in self._values.items():
            self.fields[name] = _text(name, bytes(value))
        try:
            received = self._file.finish()
        except UnsuitableFile as error:
            raise _refusal(error) from None
        self._compare("size", str(received.size))
        self._compare("sha256", received.sha256)
        return Brought(self.fields, received)

    def abandon(self) -> None:
        """Leave nothing of it."""
        if self._file is not None:
            self._file.abandon()

    def _begin(self, part: Part) -> None:
        self._is_file = part.name == FILE
        if self._is_file:
            if self._file is not None:
                raise _malformed("The form has several parts named file. Send one file at a time.")
            self._begin_file(part.content_type, part.filename or "")
            return
        if part.name in self._values or len(self._values) == MOST_FIELDS:
            raise _malformed("The form has a field twice, or too many of them.")
        self._field = part.name
        self._values[part.name] = bytearray()

    def _begin_file(self, content_type: str, filename: str) -> None:
        self._is_file = True
        self._file = FileIntake(self._tenant_id, declared=content_type, filename=filename)

    def _add_content(self, data: bytes) -> None:
        if self._is_file and self._file is not None:
            try:
                self._file.add(data)
            except UnsuitableFile as error:
                raise _refusal(error) from None
            return
        self._room -= len(data)
        if self._room < 0:
            raise _malformed("The fields of the form are too long.")
        self._values[self._field] += data

    def _compare(self, field: str, found: str) -> None:
        """Refuse a file that is not what was said of it, where anything was."""
        said = self.fields.pop(field, None)
        if said is not None and not hmac.compare_digest(said.lower().encode(), found.encode()):
            raise _malformed(f"The file that came has the {field} {found}. Send it again.", field)


def keep(came: Brought, *, now: datetime) -> KeptUpload:
    """Keep what came, for the workspace that the form names.

    Raises:
        messaging.sending.refusals.UnableToSend: the tenant has no such workspace, or no room.
        messaging.sealed_storage.StorageAway: it cannot be kept now.
    """
    workspace_id = id_of(came.fields.get("workspace_id", ""), "workspace_id")
    try:
        return uploads.keep(came.file, workspace_id=workspace_id, now=now)
    except UnsuitableFile as error:
        raise _refusal(error) from None
    except UnknownWorkspace as error:
        code = SendErrorCode.WORKSPACE_NOT_FOUND
        raise UnableToSend(code, "workspace_id", str(error)) from None


def _refusal(error: UnsuitableFile) -> UnableToSend:
    return UnableToSend(SendErrorCode(error.code), FILE, error.message)


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _malformed("This is not UTF-8.", name) from None


def _malformed(message: str, field: str = FILE) -> Malformed:
    return Malformed(SendErrorCode.INVALID_INPUT, field, message)
