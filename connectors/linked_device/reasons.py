"""Why a session has its status, and what to do about it: sentences for operators. Pure."""

from __future__ import annotations

from connectors.linked_device.models import PairBy
from lib.masking import mask

MOST_DETAIL = 200

STARTING = "Connecting to WhatsApp."
CONNECTED = "Connected."
LINKED = "A phone linked this device; the connection restarts, as it always does then."
PAIRING = {
    PairBy.QR: (
        "On the phone, open WhatsApp > Settings > Linked devices > Link a device, and scan the QR "
        "code."
    ),
    PairBy.CODE: (
        "On the phone, open WhatsApp > Settings > Linked devices > Link a device > Link with phone "
        "number instead, and type the code."
    ),
}
NOT_PAIRED_IN_TIME = (
    "No phone was linked in time (160 seconds). Pair again, and keep the phone at hand."
)
NO_ACCOUNT = (
    "The store on this machine has no account, though a phone was linked once. Restore a backup, "
    "or clear the session and pair again."
)
REPLACED = (
    "Another program connected as this device: its store is in use in two places. Find and stop "
    "the other one, then start this session again; it does not reconnect by itself, as the two "
    "would fight for the account."
)
OUTDATED = (
    "WhatsApp no longer takes this version of the library. Update the software, then start the "
    "session again."
)
RATE_LIMITED = (
    "WhatsApp asks to slow down (429 rate-overlimit). Nothing is sent until the time beside this; "
    "it goes on by itself. Do not restart or pair meanwhile: that makes the wait longer."
)
DISCONNECTED = (
    "The connection to WhatsApp was lost{}; it reconnects by itself. If this lasts, look at this "
    "machine's network."
)
SILENT = (
    "WhatsApp's servers do not answer keep-alives; the connection is probably lost. If this lasts, "
    "look at this machine's network."
)
NO_CONNECTION = (
    "There was no connection to WhatsApp for 3 minutes; the process starts again. If this goes on, "
    "look at this machine's network and at whether the phone is still linked."
)
CONNECT_FAILED = (
    "WhatsApp could not be reached, or refused the connection{}; it is tried again. If this goes "
    "on, look at this machine's network, and whether there is an update of the software."
)
NO_CODE = "WhatsApp gave no pairing code{}. Check the number and pair again, or use the QR code."
LOGGED_OUT = "The phone, or WhatsApp, removed this device{}. Pair again: a backup does not help."
NO_LIBRARY = (
    "The library for linked devices is not installed{}. Install requirements-linked.txt on the "
    "session's host."
)
NO_STORE = "The session's store cannot be opened{}. Restore a backup, or clear it and pair again."
BROKE = (
    "The session's process broke; its log says where. It is started again after a pause that grows."
)
BANNED = (
    "WhatsApp banned this account for a time: {} Nothing can be done before it ends; the session "
    "then starts by itself. Send less, and only to people who wrote first."
)
# whatsmeow, types/events: TempBanReason.
BANS = {
    101: "too many messages to people who do not have the number in their address books.",
    102: "too many people blocked the number.",
    103: "too many groups with people who do not have the number in their address books.",
    104: "the same message to too many people.",
    106: "too many messages to a broadcast list.",
}
UNKNOWN_BAN = "it gave reason {}."


def ban(code: int) -> str:
    """Return why an account is banned, for one of WhatsApp's codes."""
    return BANNED.format(BANS.get(code) or UNKNOWN_BAN.format(code))


def with_detail(sentence: str, detail: str) -> str:
    """Return a sentence with a detail in parentheses, masked; without one where it is empty."""
    detail = mask(detail.strip())[:MOST_DETAIL]
    return sentence.format(f" ({detail})" if detail else "")
