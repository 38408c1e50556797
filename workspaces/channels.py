"""The Channel port: how the lower layers reach a platform without knowing it.

``settings.SIGMA_CHANNELS`` maps a workspace's transport to a class of ``connectors``, the way
``EMAIL_BACKEND`` does for mail. What it raises is in :mod:`workspaces.channel_errors`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string

from workspaces import secrets
from workspaces.channel_errors import NotConfigured
from workspaces.channel_facts import (
    Accepted,
    Health,
    NumberFacts,
    TemplateDraft,
    TemplateFacts,
    TokenFacts,
)
from workspaces.models import SecretKind, TenantSecret, Workspace


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a channel authenticates with; never logged, never stored by it."""

    access_token: str = field(repr=False)
    app_secret: str | None = field(default=None, repr=False)


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

    async def send(self, request: bytes) -> Accepted:
        """Send one message: ``request`` is the body as the platform wants it, the same bytes at
        every attempt. Never retries by itself.

        Raises:
            Throttled, Unavailable: nothing was sent; the same request may be sent again.
            Rejected: refused for good.
            OutcomeUnknown: it may have been sent; sending it again may send it twice.
        """

    async def mark_read(self, platform_message_id: str, *, typing: bool) -> None:
        """Mark a person's message as read, and show him that an answer is being typed.

        Raises:
            Throttled, Unavailable, Rejected, OutcomeUnknown: see :meth:`send`; harmless twice.
        """

    def number(self) -> NumberFacts:
        """Ask the platform about the number.

        Raises:
            Throttled, Unavailable, Rejected: see there.
        """

    def token(self) -> TokenFacts:
        """Ask the platform about the access token; an invalid one is an answer, not an error.

        Raises:
            Throttled, Unavailable, Rejected: see there.
        """

    def fetch_templates(self, *, name: str | None = None) -> Iterator[TemplateFacts]:
        """Yield the templates of the number's account, page after page.

        Raises:
            NotConfigured: the workspace has no account id (Meta: WABA id).
            Throttled, Unavailable, Rejected: see there.
        """

    def create_template(self, draft: TemplateDraft) -> TemplateFacts:
        """Submit a new template for review.

        Raises:
            NotConfigured, Throttled, Unavailable, Rejected, OutcomeUnknown: see there.
        """

    def edit_template(self, platform_template_id: str, draft: TemplateDraft) -> None:
        """Replace a template's components.

        Raises:
            NotConfigured, Throttled, Unavailable, Rejected, OutcomeUnknown: see there.
        """

    def delete_template(self, name: str, *, platform_template_id: str | None = None) -> None:
        """Delete a template in all its languages, or in the one of ``platform_template_id``.

        Raises:
            NotConfigured, Throttled, Unavailable, Rejected, OutcomeUnknown: see there.
        """


class ChannelFactory(Protocol):
    """How a channel is made: for a number, with credentials."""

    def __call__(self, *, external_id: str, account_id: str, credentials: Credentials) -> Channel:
        """Return the channel of ``external_id`` (Meta: the phone number id), whose account is
        ``account_id`` (Meta: the WABA id; empty where it is not known).
        """


def channel_for(workspace: Workspace, *, now: datetime) -> Channel:
    """Return the channel of a workspace, with the newest live credentials of its tenant.

    Raises:
        NotConfigured: no access token, or no connector for the workspace's transport; hosted ones
            are reached by the process that holds their connection, and by nobody else.
    """
    token = secrets.newest(tenant_id=workspace.tenant_id, kind=SecretKind.ACCESS_TOKEN, now=now)
    make = _factory(workspace.transport)
    if token is None:
        raise NotConfigured("The tenant has no access token; add one in the admin.")
    return make(
        external_id=workspace.external_id,
        account_id=workspace.waba_id,
        credentials=_with_app_secret(token, workspace.tenant_id, now),
    )


def channel_of_token(secret: TenantSecret, *, transport: str, now: datetime) -> Channel:
    """Return a channel of no number that authenticates with one access token, to ask about it.

    Raises:
        NotConfigured: no connector for the transport.
        workspaces.envelope.CannotOpen: the token was altered.
    """
    credentials = _with_app_secret(secrets.reveal(secret), secret.tenant_id, now)
    return _factory(transport)(external_id="", account_id="", credentials=credentials)


def _factory(transport: str) -> ChannelFactory:
    path = settings.SIGMA_CHANNELS.get(transport)
    if path is None:
        raise NotConfigured(f"There is no connector for the transport {transport}.")
    make: ChannelFactory = import_string(path)
    return make


def _with_app_secret(token: str, tenant_id: UUID, now: datetime) -> Credentials:
    kind = SecretKind.APP_SECRET
    return Credentials(token, secrets.newest(tenant_id=tenant_id, kind=kind, now=now))
