"""Files in memory: what was uploaded, and for how long it can be had.

https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from connectors.simulator.meta.failures import GraphError

DAY = 24 * 3600.0
UPLOADED_FOR, RECEIVED_FOR = 30 * DAY, 7 * DAY
MB = 1024 * 1024
LIMITS = {
    "image/jpeg": 5 * MB,
    "image/png": 5 * MB,
    "video/mp4": 16 * MB,
    "video/3gpp": 16 * MB,
    "audio/aac": 16 * MB,
    "audio/amr": 16 * MB,
    "audio/mpeg": 16 * MB,
    "audio/mp4": 16 * MB,
    "audio/ogg": 16 * MB,
    "image/webp": 500 * 1024,
    "text/plain": 100 * MB,
    "application/pdf": 100 * MB,
    "application/msword": 100 * MB,
    "application/vnd.ms-excel": 100 * MB,
    "application/vnd.ms-powerpoint": 100 * MB,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": 100 * MB,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": 100 * MB,
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": 100 * MB,
}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a number, until ``expires_at`` (virtual Unix seconds)."""

    id: str
    phone_number_id: str
    mime_type: str
    content: bytes = field(repr=False)
    expires_at: float

    @property
    def sha256(self) -> str:
        """The digest as Meta writes it, base64."""
        return base64.b64encode(hashlib.sha256(self.content).digest()).decode()


@dataclass(slots=True)
class ExampleSession:
    """A file on its way, until ``expires_at`` (virtual Unix seconds)."""

    id: str
    signature: str
    app_id: str
    file_type: str
    length: int
    expires_at: float
    content: bytearray = field(default_factory=bytearray, repr=False)

    @property
    def name(self) -> str:
        """What it is called in answers, and in the path of requests."""
        return f"{self.id}?sig={self.signature}"


class ExampleHandle(NamedTuple):
    """What a whole file is called: of which app and type it is."""

    app_id: str
    file_type: str
    expires_at: float


class MediaStore:
    """Files by their ids."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._files: dict[str, StoredFile] = {}

    def __len__(self) -> int:
        """Return the number of files, expired ones too."""
        return len(self._files)

    def upload(
        self, phone_number_id: str, mime_type: str, content: bytes, now: float
    ) -> StoredFile:
        """Keep a file for 30 days.

        Raises:
            GraphError: 131053, a type that WhatsApp does not take, or too large for its type.
        """
        plain = mime_type.partition(";")[0].strip().lower()
        limit = LIMITS.get(plain)
        if limit is None:
            raise GraphError(131053, f"Unsupported file type {plain}.")
        if len(content) > limit:
            raise GraphError(131053, f"The file is larger than {limit} bytes.")
        return self.keep(phone_number_id, mime_type, content, now + UPLOADED_FOR)

    def keep(
        self, phone_number_id: str, mime_type: str, content: bytes, expires_at: float
    ) -> StoredFile:
        """Keep any file."""
        media_id = str(self._rng.randrange(10**14, 10**15))
        file = StoredFile(media_id, phone_number_id, mime_type, content, expires_at)
        self._files[media_id] = file
        return file

    def find(self, media_id: str, now: float) -> StoredFile | None:
        """Return a file that has not expired."""
        file = self._files.get(media_id)
        return file if file is not None and file.expires_at > now else None

    def clear(self) -> None:
        """Forget all files."""
        self._files.clear()

    def delete(self, media_id: str) -> None:
        """Forget a file."""
        self._files.pop(media_id, None)
