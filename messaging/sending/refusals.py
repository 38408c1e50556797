"""Why a message is not queued, in codes that programs can act on, with Meta's where one fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar


class SendErrorCode(StrEnum):
    """Why something was refused; `DESCRIPTIONS` says what each means."""

    WORKSPACE_NOT_FOUND = "WORKSPACE_NOT_FOUND"
    WORKSPACE_INACTIVE = "WORKSPACE_INACTIVE"
    UNSUPPORTED_TRANSPORT = "UNSUPPORTED_TRANSPORT"
    NOT_CONNECTED = "NOT_CONNECTED"
    INVALID_INPUT = "INVALID_INPUT"
    INVALID_PHONE = "INVALID_PHONE"
    INVALID_USER_ID = "INVALID_USER_ID"
    RECIPIENT_IS_SENDER = "RECIPIENT_IS_SENDER"
    TEST_RECIPIENT = "TEST_RECIPIENT"
    BSUID_NOT_SUPPORTED = "BSUID_NOT_SUPPORTED"
    WINDOW_CLOSED = "WINDOW_CLOSED"
    OPTED_OUT = "OPTED_OUT"
    CONTACT_BLOCKED = "CONTACT_BLOCKED"
    LIMIT_REACHED = "LIMIT_REACHED"
    TEMPLATE_NOT_FOUND = "TEMPLATE_NOT_FOUND"
    TEMPLATE_LANGUAGE = "TEMPLATE_LANGUAGE"
    TEMPLATE_NOT_APPROVED = "TEMPLATE_NOT_APPROVED"
    TEMPLATE_PAUSED = "TEMPLATE_PAUSED"
    TEMPLATE_DISABLED = "TEMPLATE_DISABLED"
    TEMPLATE_PARAMETERS = "TEMPLATE_PARAMETERS"
    REPLY_TARGET_NOT_FOUND = "REPLY_TARGET_NOT_FOUND"
    REPLY_TARGET_GONE = "REPLY_TARGET_GONE"
    CONVERSATION_NOT_FOUND = "CONVERSATION_NOT_FOUND"
    CONTACT_NOT_FOUND = "CONTACT_NOT_FOUND"
    ADDRESS_EXPIRED = "ADDRESS_EXPIRED"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    RATE_LIMITED = "RATE_LIMITED"
    MESSAGE_NOT_FOUND = "MESSAGE_NOT_FOUND"
    NOT_CANCELLABLE = "NOT_CANCELLABLE"
    UNSUPPORTED_TYPE = "UNSUPPORTED_TYPE"
    TYPE_MISMATCH = "TYPE_MISMATCH"
    TOO_LARGE = "TOO_LARGE"
    EMPTY_FILE = "EMPTY_FILE"
    MEDIA_NOT_FOUND = "MEDIA_NOT_FOUND"
    MEDIA_KIND = "MEDIA_KIND"
    MEDIA_IN_USE = "MEDIA_IN_USE"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"


DESCRIPTIONS: Mapping[SendErrorCode, str] = MappingProxyType(
    {
        SendErrorCode.WORKSPACE_NOT_FOUND: "Your tenant has no workspace with this id.",
        SendErrorCode.WORKSPACE_INACTIVE: "The workspace was made inactive.",
        SendErrorCode.UNSUPPORTED_TRANSPORT: "The workspace's transport cannot send this.",
        SendErrorCode.NOT_CONNECTED: (
            "The workspace's linked device is not connected; its state says why and what to do."
        ),
        SendErrorCode.INVALID_INPUT: "A value is missing, malformed, too long, or one too many.",
        SendErrorCode.INVALID_PHONE: "The phone number is not in international form (E.164).",
        SendErrorCode.INVALID_USER_ID: "The recipient's user id is not a BSUID.",
        SendErrorCode.RECIPIENT_IS_SENDER: "The recipient is the workspace's own number.",
        SendErrorCode.TEST_RECIPIENT: "The number is a test number that may not write to this one.",
        SendErrorCode.BSUID_NOT_SUPPORTED: "This kind of template needs a phone number.",
        SendErrorCode.WINDOW_CLOSED: (
            "The person has not written within 24 hours: only a template may be sent."
        ),
        SendErrorCode.OPTED_OUT: "The person wants no marketing of this tenant.",
        SendErrorCode.CONTACT_BLOCKED: "The number blocks the person: unblock them first.",
        SendErrorCode.LIMIT_REACHED: (
            "The messaging limit leaves no room before the message expires."
        ),
        SendErrorCode.TEMPLATE_NOT_FOUND: "There is no such template in this language.",
        SendErrorCode.TEMPLATE_LANGUAGE: "The template has several languages: name one.",
        SendErrorCode.TEMPLATE_NOT_APPROVED: "The template is not approved.",
        SendErrorCode.TEMPLATE_PAUSED: "The platform paused the template.",
        SendErrorCode.TEMPLATE_DISABLED: "The platform disabled the template.",
        SendErrorCode.TEMPLATE_PARAMETERS: "The parameters do not fit the template.",
        SendErrorCode.REPLY_TARGET_NOT_FOUND: (
            "The message to answer is not there, is of somebody else, or was not sent yet."
        ),
        SendErrorCode.REPLY_TARGET_GONE: (
            "The platform's id of the message to answer was purged with its day."
        ),
        SendErrorCode.CONVERSATION_NOT_FOUND: "The workspace has no such conversation.",
        SendErrorCode.CONTACT_NOT_FOUND: "Your tenant has no such contact.",
        SendErrorCode.ADDRESS_EXPIRED: "What was known of the person's address was purged.",
        SendErrorCode.IDEMPOTENCY_CONFLICT: "The key was used for another request.",
        SendErrorCode.RATE_LIMITED: "You asked about too many phone numbers within a minute.",
        SendErrorCode.MESSAGE_NOT_FOUND: "Your tenant has no such message.",
        SendErrorCode.NOT_CANCELLABLE: "The message is no longer waiting to be sent.",
        SendErrorCode.UNSUPPORTED_TYPE: "WhatsApp takes no files of this type.",
        SendErrorCode.TYPE_MISMATCH: "The file's bytes are not of the type that it is said to be.",
        SendErrorCode.TOO_LARGE: "The file is larger than WhatsApp allows for its type.",
        SendErrorCode.EMPTY_FILE: "The file is empty.",
        SendErrorCode.MEDIA_NOT_FOUND: "Your tenant has no file with this id.",
        SendErrorCode.MEDIA_KIND: "The file cannot be sent as this kind of file.",
        SendErrorCode.MEDIA_IN_USE: "The file is kept for a message that names it.",
        SendErrorCode.QUOTA_EXCEEDED: "Your tenant keeps as many bytes of files as it may.",
    }
)

# What Meta would have answered (Cloud API, "Error codes").
PLATFORM_CODES: Mapping[SendErrorCode, int] = MappingProxyType(
    {
        SendErrorCode.RECIPIENT_IS_SENDER: 131021,
        SendErrorCode.TEST_RECIPIENT: 131030,
        SendErrorCode.WINDOW_CLOSED: 131047,
        SendErrorCode.OPTED_OUT: 131050,
        SendErrorCode.CONTACT_BLOCKED: 130403,
        SendErrorCode.BSUID_NOT_SUPPORTED: 131062,
        SendErrorCode.TEMPLATE_PARAMETERS: 132000,
        SendErrorCode.TEMPLATE_NOT_FOUND: 132001,
        SendErrorCode.TEMPLATE_LANGUAGE: 132001,
        SendErrorCode.TEMPLATE_NOT_APPROVED: 132001,
        SendErrorCode.TEMPLATE_PAUSED: 132015,
        SendErrorCode.TEMPLATE_DISABLED: 132016,
        SendErrorCode.UNSUPPORTED_TYPE: 131053,
        SendErrorCode.TYPE_MISMATCH: 131053,
        SendErrorCode.TOO_LARGE: 131053,
        SendErrorCode.MEDIA_KIND: 131053,
    }
)
# The same request may be queued later, with nothing changed in it.
RETRYABLE = frozenset(
    {
        SendErrorCode.LIMIT_REACHED,
        SendErrorCode.NOT_CONNECTED,
        SendErrorCode.RATE_LIMITED,
        SendErrorCode.TEMPLATE_PAUSED,
    }
)


class UnableToSend(Exception):
    """A message was refused; ``field`` names the input at fault (``snake_case``, dots inside).

    ``others`` are further reasons against the same request.
    """

    def __init__(
        self,
        code: SendErrorCode,
        field: str | None,
        message: str,
        platform_code: int | None = None,
        others: Sequence[UnableToSend] = (),
    ) -> None:
        super().__init__(message)
        self.code, self.field, self.message = code, field, message
        self.platform_code = platform_code or PLATFORM_CODES.get(code)
        self.others = tuple(others)

    @property
    def reasons(self) -> tuple[UnableToSend, ...]:
        """This reason and the others."""
        return (self, *self.others)

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may be queued later."""
        return all(reason.code in RETRYABLE for reason in self.reasons)


class Malformed(UnableToSend):
    """The input is not of the form of a request, whatever it was meant to say."""


class AskedTooOften(UnableToSend):
    """The caller was told of too many numbers; ``seconds`` from now there may be more."""

    def __init__(self, field: str, message: str, seconds: int) -> None:
        super().__init__(SendErrorCode.RATE_LIMITED, field, message)
        self.seconds = seconds


Kind = TypeVar("Kind", bound=UnableToSend)


def together(reasons: Sequence[Kind]) -> Kind:
    """Return several reasons (at least one) as one refusal."""
    first = reasons[0]
    return type(first)(first.code, first.field, first.message, first.platform_code, reasons[1:])
