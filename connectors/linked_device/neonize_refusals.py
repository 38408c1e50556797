"""What went wrong, by whatsmeow's sentences, as the errors of the port. Pure.

neonize passes on nothing but the sentence. One that is not known for certain to come before the
message left means that it may have left: such a message is never sent again by itself.
"""

from __future__ import annotations

import re

from workspaces.channel_errors import (
    ChannelError,
    OutcomeUnknown,
    Reach,
    Rejected,
    Throttled,
    Unavailable,
)

NOT_ON_WHATSAPP = 131026
# Too many requests; and too many chats begun with people who did not write first.
TOO_MANY, RESTRICTED = 429, 463
_ANSWER = re.compile(r"server returned error:?\s*(\d{3})")
# Nothing is connected, so nothing leaves. The bare "websocket not connected" is not here: it may
# come of a frame that whatsmeow wanted to repeat after the first had left.
_NOT_CONNECTED = re.compile(
    r"^(?:client is nil|client not found|the store doesn't contain a device jid|"
    r"failed to send message node: websocket not connected)",
    re.IGNORECASE,
)
# Steps before the message itself.
_BEFORE = re.compile(
    r"^(?:failed to get device list|no lid found|can't send message to unknown)", re.I
)


def send_error(sentence: str) -> ChannelError:
    """Return the error of a send that failed."""
    answer = _ANSWER.search(sentence)
    if answer is not None:
        return _answered(int(answer[1]))
    if _NOT_CONNECTED.search(sentence):
        return Unavailable("The account is not connected.")
    if _BEFORE.search(sentence):
        return look_up_error(sentence)
    return OutcomeUnknown("WhatsApp did not confirm the message; it may have been sent.")


def look_up_error(sentence: str) -> ChannelError:
    """Return the error of a question that failed before anything was sent."""
    if is_limit(sentence):
        return Throttled(code=TOO_MANY)
    return Unavailable("WhatsApp did not answer a question before the message was sent.")


def pairing_error(sentence: str) -> ChannelError:
    """Return the error of a pairing code that was not given."""
    if is_limit(sentence):
        return Throttled(code=TOO_MANY)
    if "400" in sentence or "bad-request" in sentence:
        return Rejected(400, "WhatsApp makes no pairing code for this number.", reach=Reach.NUMBER)
    return Unavailable("WhatsApp did not answer with a pairing code.")


def not_on_whatsapp() -> Rejected:
    """Return the refusal of a number that is not on WhatsApp."""
    return Rejected(
        NOT_ON_WHATSAPP, "This number is not on WhatsApp.", reach=Reach.RECIPIENT
    )  # fmt: skip


def is_limit(sentence: str) -> bool:
    """Tell whether WhatsApp asks to slow down."""
    return "rate-overlimit" in sentence or re.search(r"\b429\b", sentence) is not None


def _answered(code: int) -> ChannelError:
    if code in (TOO_MANY, RESTRICTED):
        return Throttled(code=code)
    if code >= 500:
        return Unavailable("WhatsApp had an error of its own.", code=code, most_attempts=3)
    return Rejected(code, f"WhatsApp refused the message (error {code}).")
