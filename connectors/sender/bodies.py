"""Read the body of a request: small, in time, and not more of them at once than there is room."""

from __future__ import annotations

from connectors.sender.refusals import AGAIN, CLOSE, Refused
from lib.requests import (
    BodyIncomplete,
    BodyLate,
    BodyTooLarge,
    Budget,
    Headers,
    NoRoom,
    Reading,
    Receive,
    Unreadable,
)

# A text has at most 4,096 characters; escaped, each is up to 12 bytes.
MOST_BYTES, SECONDS = 64_000, 10.0
ALL_BYTES = 16_000_000
REFUSALS: dict[type[Unreadable], tuple[int, str, bool]] = {
    BodyTooLarge: (413, f"The body is larger than {MOST_BYTES:,} bytes.", False),
    BodyIncomplete: (400, "The body ended too early.", True),
    BodyLate: (408, "The body did not arrive in time.", True),
    NoRoom: (503, "Too much is being read; try again.", True),
}


class Bodies:
    """The bodies that one process reads at a time."""

    def __init__(self) -> None:
        self._budget = Budget(ALL_BYTES)

    async def read(self, headers: Headers, receive: Receive) -> bytes:
        """Return the body of a request.

        Raises:
            Refused: too large, too slow, cut off, encoded, or too much is being read already.
        """
        if headers.get(b"content-encoding", b"identity") != b"identity":
            message = "Send the body without Content-Encoding."
            raise Refused(415, "BAD_REQUEST", message, headers=CLOSE)
        with Reading(self._budget, MOST_BYTES, SECONDS) as reading:
            try:
                whole = reading.begin(headers, receive)
                return await reading.rest() if whole is None else whole
            except Unreadable as error:
                status, message, retryable = REFUSALS[type(error)]
                is_full = status == 503
                raise Refused(
                    status, "UNAVAILABLE" if is_full else "BAD_REQUEST", message,
                    retryable=retryable, headers=(*CLOSE, *(AGAIN if is_full else ())),
                ) from None  # fmt: skip
