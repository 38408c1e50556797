"""What neonize tells about the connection, and receipts, in our words. Pure: takes its messages.

Numbers of enums are those of neonize's own protobuf file, which differ from WhatsApp's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.linked_device.events import (
    Account,
    ClientOutdated,
    ConnectFailed,
    Disconnected,
    Event,
    KeepAliveMissed,
    KeptAlive,
    LoggedOut,
    Paired,
    PairingTimedOut,
    ReceiptArrived,
    Replaced,
    Someone,
    TemporarilyBanned,
)

RECEIPTS = {1: "delivered", 4: "read", 6: "played"}
PAIRED, BANS_BEGIN = 2, 100
PHONES, HIDDEN, GROUPS = ("s.whatsapp.net", "c.us"), ("lid", "hosted.lid"), "g.us"
REASONS = {
    1: "generic", 2: "logged_out", 3: "temporarily_banned", 4: "main_device_gone",
    5: "unknown_logout", 6: "client_outdated", 7: "bad_user_agent", 8: "internal_server_error",
    9: "experimental", 10: "service_unavailable",
}  # fmt: skip
# These come as events of their own as well; told twice they would be two reasons for one end.
TOLD_OTHERWISE = {"logged_out", "temporarily_banned", "main_device_gone", "unknown_logout"}
TOLD_OTHERWISE |= {"client_outdated"}
MILLISECONDS = 100_000_000_000


def connection_event(event: Any, *, now: datetime) -> Event | None:
    """Return what an event of the library is in our words; ``None``: nothing to tell.

    A StreamError is none: 515 is the restart after pairing, and the others are told as what they
    lead to.
    """
    name = event.DESCRIPTOR.name
    return TOLD[name](event, now) if name in TOLD else None


def login_event(word: str) -> Event | None:
    """Return what the end of the QR codes was, by whatsmeow's word for it."""
    if word in ("success", "code"):
        return None
    if word == "timeout":
        return PairingTimedOut()
    if word == "err-client-outdated":
        return ClientOutdated()
    return ConnectFailed(f"pairing ended with {word}")


def account_of(device: Any) -> Account:
    """Return the account of the library's description of this device."""
    return Account(
        number=device.JID.User, push_name=device.PushName, platform=device.Platform,
        business_name=device.BussinessName,
    )  # fmt: skip


def receipt(event: Any) -> ReceiptArrived | None:
    """Return a receipt for messages of ours; those between the owner's own devices are none."""
    status, source = RECEIPTS.get(event.Type), event.MessageSource
    if status is None or source.IsFromMe or not event.MessageIDs:
        return None
    chat = source.Sender if source.Chat.Server == GROUPS else source.Chat
    person = someone(chat, source.SenderAlt)
    return ReceiptArrived(tuple(event.MessageIDs), person, status, moment(event.Timestamp))


def someone(jid: Any, other: Any, name: str | None = None) -> Someone:
    """Return the person whom one or two ids of WhatsApp's name; devices are left out."""
    return Someone(
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
    return Paired(Account(event.ID.User, platform=event.Platform, business_name=event.BusinessName))


def _banned(event: Any, now: datetime) -> Event:
    until = now + timedelta(seconds=event.Expire) if event.Expire > 0 else None
    return TemporarilyBanned(BANS_BEGIN + event.Code, until)


def _refused(event: Any, _: datetime) -> Event | None:
    reason = REASONS.get(event.Reason, "unknown")
    return None if reason in TOLD_OTHERWISE else ConnectFailed(reason)


TOLD: dict[str, Callable[[Any, datetime], Event | None]] = {
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
