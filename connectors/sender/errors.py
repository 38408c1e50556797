"""Errors of the sender service: one shape, and an HTTP status that says whose fault it is.

What is wrong with a message is said in the words of :mod:`messaging.sending.refusals`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple
from uuid import UUID

from messaging.sending.refusals import SendErrorCode, UnableToSend

HttpHeaders = tuple[tuple[str, str], ...]

# What the headers of every error with a status say.
HEADERS: dict[int, HttpHeaders] = {
    401: (("www-authenticate", "Bearer"),),
    503: (("retry-after", "5"),),
}
# What a refusal of a message means over HTTP; the others are 422.
STATUSES = {
    SendErrorCode.INVALID_INPUT: 400,
    SendErrorCode.INVALID_PHONE: 400,
    SendErrorCode.IDEMPOTENCY_CONFLICT: 409,
    SendErrorCode.NOT_CONNECTED: 503,
}
# What the fields of a message are called here.
FIELDS = {"recipient_phone": "phone", "text": "message", "idempotency_key": "Idempotency-Key"}
USE_A_TEMPLATE = (
    " Send an approved template instead: by the GraphQL mutation sendWhatsAppMessage, or "
    "POST /api/v1/messages."
)


class JsonAnswer(NamedTuple):
    """What a request is answered with; without a ``document`` the body is empty."""

    status: int
    document: Mapping[str, object] | None = None
    headers: HttpHeaders = ()


@dataclass(eq=False)
class ServiceError(Exception):
    """A request is not answered with what it asked for; ``retryable`` tells whether the same
    request may succeed later, ``message_id`` which message it is about.
    """

    status: int
    code: str
    message: str
    _: KW_ONLY
    retryable: bool = False
    headers: HttpHeaders = ()
    message_id: UUID | None = None

    @property
    def facts(self) -> dict[str, object]:
        """What the answer says of the error."""
        return {"code": self.code, "message": self.message, "retryable": self.retryable}

    def answer(self) -> JsonAnswer:
        """Return what the caller is told."""
        about = {} if self.message_id is None else {"message_id": str(self.message_id)}
        document = {"success": False, "error": self.facts, **about}
        return JsonAnswer(self.status, document, self.headers + HEADERS.get(self.status, ()))


def unavailable(message: str) -> ServiceError:
    """Return the error of what may be possible in a moment."""
    return ServiceError(503, "UNAVAILABLE", message, retryable=True)


def not_queued(refusal: UnableToSend) -> ServiceError:
    """Return the error of a message that was not queued.

    Of several reasons the one that time alone does not remove comes first.
    """
    reasons = sorted(refusal.reasons, key=lambda reason: reason.is_retryable)
    status = STATUSES.get(reasons[0].code, 422)
    words = " ".join(dict.fromkeys(_words(reason) for reason in reasons))
    return ServiceError(status, reasons[0].code.value, words, retryable=refusal.is_retryable)


def _words(reason: UnableToSend) -> str:
    if reason.code == SendErrorCode.WINDOW_CLOSED:
        return reason.message + USE_A_TEMPLATE
    named = STATUSES.get(reason.code) == 400 and FIELDS.get(reason.field or "")
    return f"{named}: {reason.message}" if named else reason.message
