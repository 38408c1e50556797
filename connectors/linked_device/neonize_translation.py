"""neonize's events, messages and errors as those of the Device port. Pure: takes its protobufs.

Numbers of enums are those of neonize's own protobuf file, which differ from WhatsApp's. Messages
are https://pkg.go.dev/go.mau.fi/whatsmeow/proto/waE2E#Message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.linked_device.events import (
    ChatMember,
    ClientOutdated,
    ConnectFailed,
    Disconnected,
    Event,
    KeepAliveMissed,
    KeptAlive,
    LinkedAccount,
    LoggedOut,
    MessageArrived,
    Paired,
    PairingTimedOut,
    ReceiptArrived,
    Replaced,
    TemporarilyBanned,
)
from workspaces.channel_errors import (
    ChannelError,
    OutcomeUnknown,
    Reach,
    Rejected,
    Throttled,
    Unavailable,
)

RECEIPTS = {1: "delivered", 4: "read", 6: "played"}
PAIRED, BANS_BEGIN = 2, 100
PHONES, HIDDEN, GROUPS = ("s.whatsapp.net", "c.us"), ("lid", "hosted.lid"), "g.us"
REASONS = {
    1: "generic",
    2: "logged_out",
    3: "temporarily_banned",
    4: "main_device_gone",
    5: "unknown_logout",
    6: "client_outdated",
    7: "bad_user_agent",
    8: "internal_server_error",
    9: "experimental",
    10: "service_unavailable",
}
# These come as events of their own as well; reported twice they would be two reasons for one end.
REPORTED_OTHERWISE = {REASONS[number] for number in (2, 3, 4, 5, 6)}
MILLISECONDS = 100_000_000_000
KINDS = {
    "conversation": "text",
    "extendedTextMessage": "text",
    "imageMessage": "image",
    "videoMessage": "video",
    "ptvMessage": "video",
    "audioMessage": "audio",
    "documentMessage": "document",
    "stickerMessage": "sticker",
    "locationMessage": "location",
    "liveLocationMessage": "location",
    "contactMessage": "contacts",
    "contactsArrayMessage": "contacts",
    "reactionMessage": "reaction",
}
# Other messages are wrapped in these.
WRAPPERS = (
    "deviceSentMessage",
    "ephemeralMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "documentWithCaptionMessage",
)
# These come beside a message, or between devices; no person wrote them.
BESIDE = {
    "messageContextInfo",
    "senderKeyDistributionMessage",
    "fastRatchetKeySenderKeyDistributionMessage",
}
# Of the protocol's own messages only these two are a person's: a message taken back, and edited.
REVOKED, EDITED = 0, 14
NOT_ON_WHATSAPP = 131026
# Too many requests; and too many chats begun with people who did not write first.
TOO_MANY, RESTRICTED = 429, 463
_ANSWER = re.compile(r"server returned error:?\s*(\d{3})")
# There is no connection, so nothing was sent. The bare "websocket not connected" is not here: it
# may come of a frame that whatsmeow wanted to repeat after the first was sent.
_NOT_CONNECTED = re.compile(
    r"^(?:client is nil|client not found|the store doesn't contain a device jid|"
    r"failed to send message node: websocket not connected)",
    re.IGNORECASE,
)
# Steps before the message itself.
_BEFORE = re.compile(
    r"^(?:failed to get device list|no lid found|can't send message to unknown)", re.I
)


def connection_event(event: Any, *, now: datetime) -> Event | None:
    """Return an event of the library as one of the port's; ``None``: there is none for it.

    There is none for StreamError: 515 is the restart after pairing, and the others are reported by
    the events that they lead to.
    """
    name = event.DESCRIPTOR.name
    return TRANSLATIONS[name](event, now) if name in TRANSLATIONS else None


def login_event(word: str) -> Event | None:
    """Return how the QR codes ended, by whatsmeow's word for it; ``None``: they did not end."""
    if word in ("success", "code"):
        return None
    if word == "timeout":
        return PairingTimedOut()
    if word == "err-client-outdated":
        return ClientOutdated()
    return ConnectFailed(f"pairing ended with {word}")


def account_of(device: Any) -> LinkedAccount:
    """Return the account of the library's description of this device."""
    return LinkedAccount(
        number=device.JID.User,
        push_name=device.PushName,
        platform=device.Platform,
        business_name=device.BussinessName,
    )


def receipt(event: Any) -> ReceiptArrived | None:
    """Return a receipt for messages of ours; those between the owner's own devices are none."""
    status, source = RECEIPTS.get(event.Type), event.MessageSource
    if status is None or source.IsFromMe or not event.MessageIDs:
        return None
    chat = source.Sender if source.Chat.Server == GROUPS else source.Chat
    person = chat_member(chat, source.SenderAlt)
    return ReceiptArrived(tuple(event.MessageIDs), person, status, moment(event.Timestamp))


def chat_member(jid: Any, other: Any, name: str | None = None) -> ChatMember:
    """Return the person of one or two of WhatsApp's ids, without the device."""
    return ChatMember(
        phone=_first(PHONES, jid, other), lid=_first(HIDDEN, jid, other), name=name or None
    )


def moment(timestamp: int) -> datetime:
    """Return a time of the library's: seconds, or milliseconds in some of its versions."""
    seconds = timestamp / 1000 if timestamp > MILLISECONDS else timestamp
    return datetime.fromtimestamp(seconds, UTC)


def _first(servers: tuple[str, ...], *jids: Any) -> str | None:
    return next((jid.User for jid in jids if jid.Server in servers and jid.User), None)


def _pair_status(event: Any, _: datetime) -> Event:
    if event.Status != PAIRED:
        return ConnectFailed("the phone could not be linked")
    return Paired(
        LinkedAccount(event.ID.User, platform=event.Platform, business_name=event.BusinessName)
    )


def _banned(event: Any, now: datetime) -> Event:
    until = now + timedelta(seconds=event.Expire) if event.Expire > 0 else None
    return TemporarilyBanned(BANS_BEGIN + event.Code, until)


def _refused(event: Any, _: datetime) -> Event | None:
    reason = REASONS.get(event.Reason, "unknown")
    return None if reason in REPORTED_OTHERWISE else ConnectFailed(reason)


TRANSLATIONS: dict[str, Callable[[Any, datetime], Event | None]] = {
    "PairStatus": _pair_status,
    "Disconnected": lambda event, now: Disconnected(),
    "KeepAliveTimeout": lambda event, now: KeepAliveMissed(max(1, event.ErrorCount)),
    "KeepAliveRestored": lambda event, now: KeptAlive(),
    "StreamReplaced": lambda event, now: Replaced(),
    "LoggedOut": lambda event, now: LoggedOut(REASONS.get(event.Reason, "device_removed")),
    "TemporaryBan": _banned,
    "ClientOutdated": lambda event, now: ClientOutdated(),
    "ConnectFailure": _refused,
}


def message(event: Any) -> MessageArrived | None:
    """Return a message of a person; ``None`` for others: status updates, channels, and messages
    between devices.
    """
    info, source = event.Info, event.Info.MessageSource
    servers = (*PHONES, *HIDDEN, GROUPS)
    if source.Chat.Server not in servers or info.Category == "peer":
        return None
    content = _unwrapped(event.Message)
    field = _field(content)
    if field is None:
        return None
    kind = "unsupported" if event.IsEdit else KINDS.get(field, "unsupported")
    return _arrived(info, kind, getattr(content, field))


def _arrived(info: Any, kind: str, body: Any) -> MessageArrived:
    source = info.MessageSource
    sender = chat_member(
        source.Sender, source.SenderAlt, None if source.IsFromMe else info.Pushname
    )
    is_group = source.Chat.Server == GROUPS
    chat = sender
    if not is_group:
        other = source.RecipientAlt if source.IsFromMe else source.SenderAlt
        chat = chat_member(source.Chat, other, sender.name)
    return MessageArrived(
        id=info.ID,
        chat=chat,
        sender=sender,
        at=moment(info.Timestamp),
        kind=kind,
        text=_text(kind, body),
        from_me=source.IsFromMe,
        group_id=f"{source.Chat.User}@{GROUPS}" if is_group else None,
        quoted_id=_quoted(kind, body),
        mime_type=getattr(body, "mimetype", None) or None,
        emoji=body.text or None if kind == "reaction" else None,
    )


def _unwrapped(content: Any) -> Any:
    for _ in range(4):
        inside = next((name for name in WRAPPERS if content.HasField(name)), None)
        if inside is None:
            break
        content = getattr(content, inside).message
    return content


def _field(content: Any) -> str | None:
    """Return which of a message's many fields holds its content."""
    names = [field.name for field, _ in content.ListFields() if field.name not in BESIDE]
    if names == ["protocolMessage"]:
        return names[0] if content.protocolMessage.type in (REVOKED, EDITED) else None
    return next((name for name in names if name in KINDS), names[0] if names else None)


def _text(kind: str, body: Any) -> str | None:
    if kind in ("reaction", "unsupported"):
        return None
    if isinstance(body, str):
        return body
    return getattr(body, "text", "") or getattr(body, "caption", "") or None


def _quoted(kind: str, body: Any) -> str | None:
    if kind == "reaction" or hasattr(body, "key"):
        return body.key.ID or None
    context = getattr(body, "contextInfo", None)
    return getattr(context, "stanzaID", "") or None


def send_error(sentence: str) -> ChannelError:
    """Return the error of a send that failed, by whatsmeow's sentence, all that neonize passes on.

    A sentence that does not certainly come from before the message left means that it may have been
    sent: such a message is never sent again by itself.
    """
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
    text = "This number is not on WhatsApp."
    return Rejected(NOT_ON_WHATSAPP, text, reach=Reach.RECIPIENT)


def is_limit(sentence: str) -> bool:
    """Return whether WhatsApp asks to slow down."""
    return "rate-overlimit" in sentence or re.search(r"\b429\b", sentence) is not None


def _answered(code: int) -> ChannelError:
    if code in (TOO_MANY, RESTRICTED):
        return Throttled(code=code)
    if code >= 500:
        return Unavailable("WhatsApp had an error of its own.", code=code, most_attempts=3)
    return Rejected(code, f"WhatsApp refused the message (error {code}).")
