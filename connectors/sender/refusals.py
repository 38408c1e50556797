"""Why the sender service does not do what was asked: one shape, and a status that says whose fault.

Pure but for the words, which are those of :mod:`messaging.sending.refusals`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID

from messaging.sending.refusals import SendErrorCode, UnableToSend

Headers = tuple[tuple[str, str], ...]

RETRY_SECONDS = 5
CLOSE: Headers = (("connection", "close"),)
AGAIN: Headers = (("retry-after", str(RETRY_SECONDS)),)
# What a refusal means over HTTP; the others are 422.
STATUSES: Mapping[SendErrorCode, int] = MappingProxyType(
    {
        SendErrorCode.INVALID_INPUT: 400,
        SendErrorCode.INVALID_PHONE: 400,
        SendErrorCode.IDEMPOTENCY_CONFLICT: 409,
        SendErrorCode.NOT_CONNECTED: 503,
    }
)
# What the fields of a request are called here.
FIELDS = {"recipient_phone": "phone", "text": "message", "idempotency_key": "Idempotency-Key"}
WAY_OUT = (
    " Send an approved template instead: by the GraphQL mutation sendWhatsAppMessage, or "
    "POST /api/v1/messages."
)


class Refused(Exception):
    """A request that is not answered with what it asked for; ``retryable`` tells whether the same
    request may have success later.
    """

    def __init__(
        self, status: int, code: str, message: str, *, retryable: bool = False,
        headers: Headers = (), message_id: UUID | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.code, self.message, self.retryable = status, code, message, retryable
        self.headers, self.message_id = headers, message_id

    def body(self) -> dict[str, object]:
        """Return the answer's body."""
        error = {"code": self.code, "message": self.message, "retryable": self.retryable}
        more = {} if self.message_id is None else {"message_id": str(self.message_id)}
        return {"success": False, "error": error, **more}


def bad_request(message: str, *, code: str = "BAD_REQUEST") -> Refused:
    """Return the refusal of a request that cannot be read."""
    return Refused(400, code, message)


def unavailable(message: str) -> Refused:
    """Return the refusal of what may be possible in a moment."""
    return Refused(503, "UNAVAILABLE", message, retryable=True, headers=AGAIN)


def of_sending(error: UnableToSend) -> Refused:
    """Return the refusal of a message that was not accepted.

    Of several reasons the one that time alone does not remove comes first.
    """
    reasons = sorted(error.reasons, key=lambda reason: reason.is_retryable)
    status = STATUSES.get(reasons[0].code, 422)
    words = dict.fromkeys(_words(reason) for reason in reasons)
    return Refused(
        status, reasons[0].code.value, " ".join(words),
        retryable=error.is_retryable, headers=AGAIN if status == 503 else (),
    )  # fmt: skip


def _words(reason: UnableToSend) -> str:
    if reason.code == SendErrorCode.WINDOW_CLOSED:
        return reason.message + WAY_OUT
    named = STATUSES.get(reason.code) == 400 and FIELDS.get(reason.field or "")
    return f"{named}: {reason.message}" if named else reason.message
