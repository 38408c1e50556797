"""What a channel is told and tells: a platform's facts in its own words. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AcceptedSend:
    """The platform took a message: its id for it, and how it spells the recipient's number (digits;
    ``None`` for a recipient without one). ``state`` is its word, such as ``accepted`` or
    ``held_for_quality_assessment``; empty where it said none.
    """

    platform_message_id: str
    recipient: str | None = None
    state: str = ""


@dataclass(frozen=True, slots=True)
class PlatformPerson:
    """A person by their addresses on the platform: a number's digits, a user id (BSUID), a parent
    one; empty: not told. They are in the clear and must not be stored so.
    """

    phone: str = field(default="", repr=False)
    user_id: str = field(default="", repr=False)
    parent_user_id: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """A business number as the platform describes it, in its own words; empty: not told.

    ``number`` is in plaintext (E.164 digits) and must not be stored so. ``account_id`` is the
    account (WABA) that it belongs to.
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
    account_id: str = ""
    can_send: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """An access token as the platform describes it. ``account_ids`` are the accounts (WABAs) it was
    granted; ``expires_at`` is ``None`` for a token that does not expire; ``app_id`` is the app that
    it is of (empty: not told).
    """

    is_valid: bool
    expires_at: datetime | None = None
    scopes: tuple[str, ...] = ()
    account_ids: tuple[str, ...] = ()
    problem: str = ""
    app_id: str = ""


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
