"""The entries of a simulated device's script, as the events they stand for. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from connectors.linked_device.events import (
    ChatMember,
    ClientOutdated,
    Connected,
    ConnectFailed,
    Disconnected,
    Event,
    KeepAliveMissed,
    KeptAlive,
    LinkedAccount,
    LoggedOut,
    MessageArrived,
    PairingTimedOut,
    RateLimited,
    ReceiptArrived,
    Replaced,
    TemporarilyBanned,
)
from connectors.simulator.device_script import InvalidScript, Script, ScriptStep

STRANGER = "447700900001"
TOO_MANY_TO_STRANGERS = 101
# What ends a connection; the device is not reconnected by itself after any but the first. Being
# asked to slow down does not: who waits goes on hearing.
ENDS = (
    Disconnected,
    Replaced,
    LoggedOut,
    TemporarilyBanned,
    ClientOutdated,
    ConnectFailed,
)

Fields = Mapping[str, Any]


def event_of(step: ScriptStep, account: LinkedAccount, *, now: datetime) -> Event:
    """Return the event of a step of a script.

    Raises:
        InvalidScript: there is no such event.
    """
    fields = {"id": message_id(step.key), **step.fields}
    if step.event in CONTENT:
        return CONTENT[step.event](fields, now)
    return connection_event(step.event, fields, account, now=now)


def connection_event(name: str, fields: Fields, account: LinkedAccount, *, now: datetime) -> Event:
    """Return the event about the connection that a word of a script stands for.

    Raises:
        InvalidScript: there is no such event.
    """
    if name == "connected":
        return Connected(account)
    if name in PLAIN:
        return PLAIN[name]()
    if name not in TELLING:
        raise InvalidScript(f"There is no event {name!r} of a linked device.")
    return TELLING[name](fields, now)


def refusal(script: Script, *, now: datetime) -> Event:
    """Return how a connection ends that the script does not let happen."""
    fields = {"seconds": script.ban_seconds, "retry_after": script.retry_after}
    return connection_event(script.connect, fields, LinkedAccount(), now=now)


def reply(text: str, number: str, *, to: str, now: datetime) -> MessageArrived:
    """Return what somebody answers to a message."""
    fields = {"id": message_id(f"{to}:reply"), "from": number, "text": text, "quoted": to}
    return _message(fields, now)


def receipt(number: str, sent_id: str, status: str, *, now: datetime) -> ReceiptArrived:
    """Return the receipt for one message of ours."""
    return ReceiptArrived((sent_id,), ChatMember(phone=number), status, now)


def message_id(seed: str) -> str:
    """Return a message id as WhatsApp's clients make them; the same seed gives the same one."""
    return "3EB0" + hashlib.sha256(seed.encode()).hexdigest()[:18].upper()


def _message(fields: Fields, now: datetime) -> MessageArrived:
    phone = fields.get("from", None if fields.get("lid") else STRANGER)
    person = ChatMember(phone, fields.get("lid"), fields.get("name"))
    kind = str(fields.get("kind", "text"))
    return MessageArrived(
        id=str(fields["id"]),
        chat=person,
        sender=person,
        at=now,
        kind=kind,
        text=fields.get("text", "Hello" if kind == "text" else None),
        from_me=bool(fields.get("from_me", False)),
        group_id=fields.get("group"),
        quoted_id=fields.get("quoted"),
        mime_type=fields.get("mime_type"),
        emoji=fields.get("emoji"),
    )


def _receipt(fields: Fields, now: datetime) -> ReceiptArrived:
    ids = tuple(str(one) for one in fields.get("ids", ()))
    person = ChatMember(phone=str(fields.get("from", STRANGER)))
    return ReceiptArrived(ids, person, str(fields.get("status", "delivered")), now)


def _ban(fields: Fields, now: datetime) -> TemporarilyBanned:
    until = now + timedelta(seconds=float(fields.get("seconds", 3600)))
    return TemporarilyBanned(int(fields.get("code", TOO_MANY_TO_STRANGERS)), until)


PLAIN: dict[str, Callable[[], Event]] = {
    "kept_alive": KeptAlive,
    "replaced": Replaced,
    "outdated": ClientOutdated,
    "timed_out": PairingTimedOut,
}
TELLING: dict[str, Callable[[Fields, datetime], Event]] = {
    "disconnected": lambda fields, _: Disconnected(str(fields.get("reason", "simulated"))),
    "logged_out": lambda fields, _: LoggedOut(str(fields.get("reason", "device_removed"))),
    "unreachable": lambda fields, _: ConnectFailed(str(fields.get("reason", "simulated"))),
    "rate_limited": lambda fields, _: RateLimited(fields.get("retry_after")),
    "keep_alive_missed": lambda fields, _: KeepAliveMissed(int(fields.get("misses", 1))),
    "banned": _ban,
}
CONTENT: dict[str, Callable[[Fields, datetime], Event]] = {"message": _message, "receipt": _receipt}
