"""The Channel port: how the lower layers reach a platform without knowing it.

``settings.SIGMA_CHANNELS`` maps a workspace's transport to a class of ``connectors``, the way
``EMAIL_BACKEND`` does for mail. Errors are named after the decision they force.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from workspaces import secrets
from workspaces.models import SecretKind, Workspace


class ChannelError(Exception):
    """Base of everything a channel raises; never raised itself."""


class Throttled(ChannelError):
    """The platform asks to slow down; try again after ``retry_after`` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"The platform asks to wait {retry_after:g} seconds.")
        self.retry_after = retry_after


class Unavailable(ChannelError):
    """The platform did not answer properly; the same request may succeed later."""


class Rejected(ChannelError):
    """The platform refused, and will refuse again; ``code`` is its own error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class OutcomeUnknown(ChannelError):
    """The request left and no answer came: it may or may not have taken effect."""


class MediaGone(Rejected):
    """The platform no longer has this file."""


class NotConfigured(ChannelError):
    """The tenant has no access token for this platform; add one in the admin."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a channel authenticates with; never logged, never stored by it."""

    access_token: str = field(repr=False)
    app_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the platform accepts our credentials for a number; ``detail`` is for operators."""

    ok: bool
    detail: str


class MediaStream(Protocol):
    """An open file: iterate once for its bytes; close it whether or not that happened."""

    mime_type: str
    size: int | None

    def __iter__(self) -> Iterator[bytes]:
        """Yield the file in pieces."""

    def close(self) -> None:
        """Give the connection back."""


class Channel(Protocol):
    """One business phone number on a platform."""

    def open_media(self, platform_media_id: str) -> MediaStream:
        """Open a file that a message carries.

        Raises:
            MediaGone, Throttled, Unavailable, Rejected: see there.
        """

    def health(self) -> Health:
        """Ask the platform whether the number and the credentials are fine."""


class ChannelFactory(Protocol):
    """How a channel is made: for a number, with credentials."""

    def __call__(self, *, external_id: str, credentials: Credentials) -> Channel:
        """Return the channel of ``external_id`` (Meta: the phone number id)."""


def channel_for(workspace: Workspace, *, now: datetime) -> Channel:
    """Return the channel of a workspace, with the newest live credentials of its tenant.

    Raises:
        NotConfigured: no access token, or no connector for the workspace's transport.
    """
    path = settings.SIGMA_CHANNELS.get(workspace.transport)
    if path is None:
        raise NotConfigured(f"There is no connector for the transport {workspace.transport}.")
    token = _newest(workspace, SecretKind.ACCESS_TOKEN, now)
    if token is None:
        raise NotConfigured("The tenant has no access token; add one in the admin.")
    make: ChannelFactory = import_string(path)
    app_secret = _newest(workspace, SecretKind.APP_SECRET, now)
    return make(external_id=workspace.external_id, credentials=Credentials(token, app_secret))


def _newest(workspace: Workspace, kind: SecretKind, now: datetime) -> str | None:
    return secrets.newest(tenant_id=workspace.tenant_id, kind=kind, now=now)
