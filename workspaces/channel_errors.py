"""What a channel raises: errors named after the decision they force. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TypedDict, Unpack


class Reach(StrEnum):
    """What else an answer of the platform is about, beside the one request it answers."""

    MESSAGE = "MESSAGE"
    RECIPIENT = "RECIPIENT"
    TEMPLATE = "TEMPLATE"
    NUMBER = "NUMBER"
    ACCOUNT = "ACCOUNT"
    TENANT = "TENANT"


class About(TypedDict, total=False):
    """What an answer of the platform is about beside the one request, and what the platform's
    support wants to hear. Nothing of it holds a token or a phone number.
    """

    reach: Reach
    details: str
    trace_id: str


class ChannelError(Exception):
    """Base of everything a channel raises; never raised itself. ``code`` is the platform's own
    error code (0: there is none).
    """

    usual_reach = Reach.MESSAGE

    def __init__(self, message: str, *, code: int = 0, **about: Unpack[About]) -> None:
        super().__init__(message)
        self.message, self.code = message, code
        self.reach = about.get("reach", self.usual_reach)
        self.details, self.trace_id = about.get("details", ""), about.get("trace_id", "")


class Throttled(ChannelError):
    """The platform asks to slow down; nothing was sent. Try again after ``retry_after`` seconds,
    or, where that is ``None``, after a pause that grows.
    """

    usual_reach = Reach.NUMBER

    def __init__(
        self, retry_after: float | None = None, *, code: int = 0, **about: Unpack[About]
    ) -> None:
        wait = "slow down" if retry_after is None else f"wait {retry_after:g} seconds"
        super().__init__(f"The platform asks to {wait}.", code=code, **about)
        self.retry_after = retry_after


class Unavailable(ChannelError):
    """The request did not reach the platform, or it said that it did nothing with it: the same
    request may be sent again, ``most_attempts`` times in all (``None``: the caller's own limit).
    """

    def __init__(
        self,
        message: str,
        *,
        code: int = 0,
        most_attempts: int | None = None,
        **about: Unpack[About],
    ) -> None:
        super().__init__(message, code=code, **about)
        self.most_attempts = most_attempts


class Rejected(ChannelError):
    """The platform refused, and will refuse again until somebody changes something.

    ``stops`` tells that everything within ``reach`` would be refused too: stop sending there.
    """

    def __init__(
        self, code: int, message: str, *, stops: bool = False, **about: Unpack[About]
    ) -> None:
        super().__init__(message, code=code, **about)
        self.stops = stops


class WrongAppSecret(Rejected):
    """The proof made with the app secret is not that of the access token's app, or there is none
    and the app demands one. Nothing was done; another secret may fit.
    """


class OutcomeUnknown(ChannelError):
    """The request left and no answer came: it may or may not have taken effect."""


class MediaGone(Rejected):
    """The platform no longer has this file."""


class MediaTooLarge(Rejected):
    """The file is larger than 100 MB, the most that Meta allows."""

    def __init__(self) -> None:
        super().__init__(0, "The file is larger than 100 MB, the most that Meta allows.")


class LargerThanSaid(Rejected):
    """The file has more bytes than the platform said; it was not taken."""

    def __init__(self) -> None:
        super().__init__(0, "The file has more bytes than the platform said; it was not taken.")


class NotConfigured(ChannelError):
    """The tenant has no access token for this platform; add one in the admin."""
