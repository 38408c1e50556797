"""Messages that neonize tells, in our words. Pure: takes its protobuf messages.

https://pkg.go.dev/go.mau.fi/whatsmeow/proto/waE2E#Message
"""

from __future__ import annotations

from typing import Any

from connectors.linked_device.events import MessageArrived
from connectors.linked_device.neonize_events import GROUPS, HIDDEN, PHONES, moment, someone

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
# What others are wrapped in.
WRAPPERS = (
    "deviceSentMessage", "ephemeralMessage", "viewOnceMessage", "viewOnceMessageV2",
    "viewOnceMessageV2Extension", "documentWithCaptionMessage",
)  # fmt: skip
# What comes beside a message, or between devices, and is nothing that anybody wrote.
BESIDE = {
    "messageContextInfo", "senderKeyDistributionMessage",
    "fastRatchetKeySenderKeyDistributionMessage",
}  # fmt: skip
# Of the protocol's own messages only these two are somebody's: taken back, and edited.
REVOKED, EDITED = 0, 14


def message(event: Any) -> MessageArrived | None:
    """Return a message of a person; ``None`` for what is none: status updates, channels, and what
    devices tell one another.
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
    sender = someone(source.Sender, source.SenderAlt, None if source.IsFromMe else info.Pushname)
    is_group = source.Chat.Server == GROUPS
    chat = sender
    if not is_group:
        other = source.RecipientAlt if source.IsFromMe else source.SenderAlt
        chat = someone(source.Chat, other, sender.name)
    return MessageArrived(
        id=info.ID, chat=chat, sender=sender, at=moment(info.Timestamp), kind=kind,
        text=_text(kind, body), from_me=source.IsFromMe,
        group_id=f"{source.Chat.User}@{GROUPS}" if is_group else None,
        quoted_id=_quoted(kind, body),
        mime_type=getattr(body, "mimetype", None) or None,
        emoji=body.text or None if kind == "reaction" else None,
    )  # fmt: skip


def _unwrapped(content: Any) -> Any:
    for _ in range(4):
        inside = next((name for name in WRAPPERS if content.HasField(name)), None)
        if inside is None:
            break
        content = getattr(content, inside).message
    return content


def _field(content: Any) -> str | None:
    """Return which of a message's many fields says what it is."""
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
