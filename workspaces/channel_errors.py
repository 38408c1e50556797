"""What a channel raises: errors named after the decision they force. Pure."""

from __future__ import annotations

from enum import StrEnum


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
        self,
        message: str,
        *,
        code: int = 0,
        reach: Reach = Reach.MESSAGE,
        details: str = "",
        trace_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.reach = message, code, reach
        self.details, self.trace_id = details, trace_id


class Throttled(ChannelError):
    """The platform asks to slow down; nothing was sent. Try again after ``retry_after`` seconds,
    or, where that is ``None``, after a pause that grows.
    """

    def __init__(
        self,
        retry_after: float | None = None,
        *,
        code: int = 0,
        reach: Reach = Reach.NUMBER,
        details: str = "",
        trace_id: str = "",
    ) -> None:
        wait = "slow down" if retry_after is None else f"wait {retry_after:g} seconds"
        super().__init__(
            f"The platform asks to {wait}.",
            code=code,
            reach=reach,
            details=details,
            trace_id=trace_id,
        )
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
        details: str = "",
        trace_id: str = "",
    ) -> None:
        super().__init__(message, code=code, details=details, trace_id=trace_id)
        self.most_attempts = most_attempts


class Rejected(ChannelError):
    """The platform refused, and will refuse again until somebody changes something.

    ``stops`` tells that everything within ``reach`` would be refused too: stop sending there.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reach: Reach = Reach.MESSAGE,
        stops: bool = False,
        details: str = "",
        trace_id: str = "",
    ) -> None:
        super().__init__(message, code=code, reach=reach, details=details, trace_id=trace_id)
        self.stops = stops


class WrongAppSecret(Rejected):
    """The proof made with the app secret is not that of the access token's app, or there is none
    and the app demands one. Nothing was done; another secret may fit.
    """


class OutcomeUnknown(ChannelError):
    """The request left and no answer came: it may or may not have taken effect."""


class MediaGone(Rejected):
    """The platform no longer has this file."""


class NotConfigured(ChannelError):
    """The tenant has no access token for this platform; add one in the admin."""
