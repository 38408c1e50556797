"""What became of a message, in the words of the sender service. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from connectors.sender.refusals import Refused
from lib.masking import mask
from messaging.sealed_values import is_placeholder
from messaging.sending.refusals import PLATFORM_CODES

# The platform has it, or had it: the sender has done its part.
SENT = frozenset({"accepted", "held", "sent", "delivered", "read", "played"})
PENDING = frozenset({"queued", "sending"})
NOT_ON_WHATSAPP = 131026
# The words for the platform's codes; whatever has none was REJECTED.
WORDS: Mapping[object, str] = {
    **{number: code.value for code, number in PLATFORM_CODES.items()},
    NOT_ON_WHATSAPP: "NOT_ON_WHATSAPP",
    "EXPIRED": "EXPIRED",
}


class Seen(NamedTuple):
    """How far a message is; once that is settled, what is known of its way and its transport."""

    status: str
    delivery: Mapping[str, Any] = MappingProxyType({})
    transport: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether there is an outcome to tell."""
        return self.status not in PENDING


def failure_of(seen: Seen, message_id: UUID) -> Refused | None:
    """Return what went wrong with a message, if anything did."""
    if seen.status == "failed":
        return _failed(seen.delivery, message_id)
    if seen.status == "unknown":
        return Refused(
            504, "OUTCOME_UNKNOWN",
            "The message may or may not have been sent; it is not sent again by itself. Look at "
            "the phone, or ask for the message later, before you send it anew.",
            message_id=message_id,
        )  # fmt: skip
    if seen.status == "cancelled":
        return Refused(
            409, "CANCELLED", "The message was taken back before it was sent.",
            message_id=message_id,
        )  # fmt: skip
    return None


def _failed(delivery: Mapping[str, Any], message_id: UUID) -> Refused:
    errors = delivery.get("errors") or [{}]
    first = errors[0] if isinstance(errors[0], Mapping) else {}
    code = first.get("code")
    told = [first[name] for name in ("title", "details") if first.get(name)]
    parts = [str(one).strip() for one in told if not is_placeholder(one)]
    message = mask(" ".join(dict.fromkeys(parts))) or "WhatsApp refused the message."
    shown = f"{message} (code {code})" if isinstance(code, int) else message
    return Refused(502, WORDS.get(code, "REJECTED"), shown, message_id=message_id)
