"""The Channel port: how the lower layers reach a platform without knowing it.

``settings.SIGMA_CHANNELS`` maps a workspace's transport to a class of ``connectors``, the way
``EMAIL_BACKEND`` does for mail. What it raises is in :mod:`workspaces.channel_errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from workspaces import secrets
from workspaces.channel_errors import ChannelError, NotConfigured
from workspaces.channel_facts import (
    AcceptedSend,
    Health,
    NumberFacts,
    PlatformPerson,
    TemplateDraft,
    TemplateFacts,
    TokenFacts,
)
from workspaces.models import SecretKind, TenantSecret, TokenCheck, Workspace


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a channel authenticates with; never logged, never stored by it.

    ``others`` are further app secrets that may fit the token: whichever does counts. An empty one
    stands for a request without a proof.
    """

    access_token: str = field(repr=False)
    app_secret: str | None = field(default=None, repr=False)
    others: tuple[str, ...] = field(default=(), repr=False)


class MediaStream(Protocol):
    """An open file: iterate once for its bytes; close it whether or not that happened."""

    mime_type: str
    size: int | None

    def __iter__(self) -> Iterator[bytes]:
        """Yield the file in pieces."""

    def close(self) -> None:
        """Give the connection back."""


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A file for the platform: ``pieces`` opens it anew each time it is asked."""

    pieces: Callable[[], Iterator[bytes]] = field(repr=False)
    size: int
    mime_type: str
    filename: str


class Channel(Protocol):
    """One business phone number on a platform."""

    def open_media(self, platform_media_id: str) -> MediaStream:
        """Open a file that a message carries.

        Raises:
            MediaGone, Throttled, Unavailable, Rejected: see there.
        """

    def upload_media(self, file: OutgoingFile) -> str:
        """Give the platform a file to send; return what it is called there, for this number alone.
        Blocks, and is harmless twice.

        Raises:
            Throttled, Unavailable, Rejected, OutcomeUnknown: see :meth:`send`.
        """

    def open_example(self, file: OutgoingFile) -> str:
        """Begin to give the platform a file that a template's header shows as its example; return
        what the upload is called, for :meth:`send_example`. Blocks, and is harmless twice.

        Raises:
            NotConfigured, Throttled, Unavailable, Rejected, OutcomeUnknown: see there.
        """

    def send_example(self, upload: str, file: OutgoingFile, *, seconds: float) -> str:
        """Give the platform what it does not have yet of a file, for so many ``seconds`` at most;
        return the name by which a template's creation or edit finds it, for a while. What breaks
        off goes on from there when it is called again.

        Raises:
            Throttled, Unavailable: part of the file may be there by now.
            Rejected: the platform knows no such upload any more, or does not take the file.
        """

    def health(self) -> Health:
        """Ask the platform whether the number and the credentials are fine."""

    async def send(self, request: bytes) -> AcceptedSend:
        """Send one message: ``request`` is the body as the platform wants it, the same bytes at
        every attempt. Never retries by itself.

        Raises:
            Throttled, Unavailable: nothing was sent; the same request may be sent again.
            Rejected: refused for good.
            OutcomeUnknown: it may have been sent; sending it again may send it twice.
        """

    async def mark_read(self, platform_message_id: str, *, typing: bool) -> None:
        """Mark a person's message as read, and show them that an answer is being typed.

        Raises:
            Throttled, Unavailable, Rejected, OutcomeUnknown: see :meth:`send`; harmless twice.
        """

    def set_blocked(
        self, people: Sequence[PlatformPerson], *, blocked: bool
    ) -> list[ChannelError | None]:
        """Block people (1,000 at most) for this number, or unblock them; return in their order why
        not, ``None`` for those for whom it is so now. Blocks, and is harmless twice.

        Raises:
            Throttled, Unavailable, OutcomeUnknown: nobody knows of any of them; ask again.
            Rejected: refused for all of them.
        """

    def blocked(self) -> Iterator[PlatformPerson]:
        """Yield whom this number has blocked, page after page.

        Raises:
            Throttled, Unavailable, Rejected: see there; what was yielded is no whole list.
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
    tokens = secrets.live(now).filter(tenant_id=workspace.tenant_id, kind=SecretKind.ACCESS_TOKEN)
    token = tokens.select_related("token_check", "tenant").first()
    make = _factory(workspace.transport)
    if token is None:
        raise NotConfigured("The tenant has no access token; add one in the admin.")
    stored = app_secrets(token, now=now)
    values = [secrets.reveal(secret) for secret in stored]
    values += configured_app_secrets(token, has_stored=bool(stored))
    return make(
        external_id=workspace.external_id,
        account_id=workspace.waba_id,
        credentials=_credentials(token, values),
    )


def app_secrets(token: TenantSecret, *, now: datetime) -> list[TenantSecret]:
    """Return the live app secrets of a token's tenant: the one that was found to fit the token
    first, then the newest.
    """
    check: TokenCheck | None = getattr(token, "token_check", None)
    fitting = check.app_secret_id if check else None
    rows = secrets.live(now).filter(tenant_id=token.tenant_id, kind=SecretKind.APP_SECRET)
    return sorted(rows, key=lambda row: row.pk != fitting)


def configured_app_secrets(token: TenantSecret, *, has_stored: bool) -> list[str]:
    """Return the app secrets that the installation has for a token's tenant, to be tried after its
    stored ones. Where there are only these, they may belong to another app than the token, which
    then is used without a proof as far as Meta allows that.
    """
    tenant = token.tenant
    found: list[str] = settings.SIGMA_WHATSAPP.app_secrets_of(tenant.slug, tenant.pk)
    return [*found, ""] if found and not has_stored else found


def channel_of_token(
    token: TenantSecret, app_secret_values: Sequence[str], *, transport: str
) -> Channel:
    """Return a channel of no number that authenticates with one access token, and with whichever of
    some app secrets fits, to ask about them.

    Raises:
        NotConfigured: no connector for the transport.
        lib.envelope.CannotOpen: the token was altered.
    """
    credentials = _credentials(token, app_secret_values)
    return _factory(transport)(external_id="", account_id="", credentials=credentials)


def _factory(transport: str) -> ChannelFactory:
    path = settings.SIGMA_CHANNELS.get(transport)
    if path is None:
        raise NotConfigured(f"There is no connector for the transport {transport}.")
    make: ChannelFactory = import_string(path)
    return make


def _credentials(token: TenantSecret, values: Sequence[str]) -> Credentials:
    first = values[0] if values else None
    return Credentials(secrets.reveal(token), first, tuple(values[1:]))
