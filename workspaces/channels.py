"""The Channel port: how the lower layers reach a platform without knowing it.

``settings.SIGMA_CHANNELS`` maps a workspace's transport to a class of ``connectors``, the way
``EMAIL_BACKEND`` does for mail. Errors are named after the decision they force.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string

from workspaces import secrets
from workspaces.models import SecretKind, TenantSecret, Workspace


class Reach(StrEnum):
    """What else an answer of the platform is about, beside the one request it answers."""

    MESSAGE = "MESSAGE"
    RECIPIENT = "RECIPIENT"
    TEMPLATE = "TEMPLATE"
    NUMBER = "NUMBER"
    ACCOUNT = "ACCOUNT"
    TENANT = "TENANT"


class ChannelError(Exception):
    """Base of everything a channel raises; never raised itself.

    ``code`` is the platform's own error code (0: there is none), ``reach`` what else the answer is
    about, ``details`` and ``trace_id`` what the platform's support wants to hear. None of them
    holds a token or a phone number.
    """

    def __init__(
        self, message: str, *, code: int = 0, reach: Reach = Reach.MESSAGE, details: str = "",
        trace_id: str = "",
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.message, self.code, self.reach = message, code, reach
        self.details, self.trace_id = details, trace_id


class Throttled(ChannelError):
    """The platform asks to slow down; nothing was sent. Try again after ``retry_after`` seconds,
    or, where that is ``None``, after a pause that grows.
    """

    def __init__(
        self, retry_after: float | None = None, *, code: int = 0, reach: Reach = Reach.NUMBER,
        details: str = "", trace_id: str = "",
    ) -> None:  # fmt: skip
        wait = "slow down" if retry_after is None else f"wait {retry_after:g} seconds"
        super().__init__(
            f"The platform asks to {wait}.", code=code, reach=reach, details=details,
            trace_id=trace_id,
        )  # fmt: skip
        self.retry_after = retry_after


class Unavailable(ChannelError):
    """The request did not reach the platform, or it said that it did nothing with it: the same
    request may be sent again, ``most_attempts`` times in all (``None``: the caller's own limit).
    """

    def __init__(
        self, message: str, *, code: int = 0, most_attempts: int | None = None, details: str = "",
        trace_id: str = "",
    ) -> None:  # fmt: skip
        super().__init__(message, code=code, details=details, trace_id=trace_id)
        self.most_attempts = most_attempts


class Rejected(ChannelError):
    """The platform refused, and will refuse again until somebody changes something.

    ``stops`` tells that everything within ``reach`` would be refused too: stop sending there.
    """

    def __init__(
        self, code: int, message: str, *, reach: Reach = Reach.MESSAGE, stops: bool = False,
        details: str = "", trace_id: str = "",
    ) -> None:  # fmt: skip
        super().__init__(message, code=code, reach=reach, details=details, trace_id=trace_id)
        self.stops = stops


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
class Accepted:
    """The platform took a message: its id for it, and how it spells the recipient's number (digits;
    ``None`` for a recipient without one). ``state`` is its word, such as ``accepted`` or
    ``held_for_quality_assessment``; empty where it said none.
    """

    platform_message_id: str
    recipient: str | None = None
    state: str = ""


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """A business number as the platform describes it, in its own words; empty: not told.

    ``number`` is in the clear (E.164 digits) and must not be stored so.
    """

    number: str = field(default="", repr=False)
    verified_name: str = ""
    status: str = ""
    quality_rating: str = ""
    messaging_limit: str = ""
    throughput_level: str = ""
    account_mode: str = ""
    is_on_business_app: bool = False
    portfolio_id: str = ""
    can_send: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """An access token as the platform describes it. ``account_ids`` are the accounts (WABAs) it was
    granted; ``expires_at`` is ``None`` for a token that does not expire.
    """

    is_valid: bool
    expires_at: datetime | None = None
    scopes: tuple[str, ...] = ()
    account_ids: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """A template as the platform describes it, in its own words; empty: not told."""

    platform_template_id: str
    name: str
    language: str
    status: str
    category: str = ""
    sub_category: str = ""
    parameter_format: str = "POSITIONAL"
    components: tuple[dict[str, object], ...] = ()
    quality: str = ""
    rejected_reason: str = ""
    previous_category: str = ""
    ttl_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class TemplateDraft:
    """A template to create, or what an existing one is to become (``components`` as a whole)."""

    name: str
    language: str
    category: str
    components: tuple[dict[str, object], ...]
    parameter_format: str = "POSITIONAL"
    ttl_seconds: int | None = None


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
        NotConfigured: no access token, or no connector for the workspace's transport.
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
