"""Messages and receipts on their way from the device's threads into the inbox of callbacks.

The device's callback returns once the inbox has the event, for then the library acknowledges it to
WhatsApp. One thread writes for all of the library's, so that a burst is one commit and the
library's threads, however many, cost no connections.

The inbox is the one of Meta's callbacks: the same processing, retention and erasure for both. So
the events are written in the shape of Meta's callbacks (:func:`body_of`).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from queue import Empty, SimpleQueue
from typing import Any

from django.db import connection, transaction

from connectors.linked_device.events import ChatMember, Content, MessageArrived, ReceiptArrived
from connectors.linked_device.models import SenderSession
from connectors.linked_device.record import DatabaseRetry
from connectors.whatsapp import raw
from connectors.whatsapp.processing import WAKE_UP
from connectors.whatsapp.wire.updates import LINKED_DEVICE
from lib import clock
from lib.brake import DATABASE_AWAY
from workspaces import keys
from workspaces.identity import digester

BATCH = 100
# How often the library's threads that wait look whether the process ends; their number is the
# library's own limit.
LOOK_SECONDS = 1.0
Json = dict[str, Any]

FILES = frozenset({"image", "video", "audio", "voice", "document", "sticker"})
# The message these refer to is in their own body; for all others it is the one they answer.
REFERRING = frozenset({"reaction", "edit", "revoke"})


class NotKept(Exception):
    """The process ends before the inbox has the event: it must not be acknowledged to WhatsApp."""


@dataclass(slots=True)
class _Pending:
    content: Content
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


class Intake:
    """Stores what arrives by ``keep``, which returns once what it was given is committed."""

    def __init__(
        self,
        keep: Callable[[Sequence[Content], datetime], None],
        *,
        clock: Callable[[], datetime] = clock.now,
    ) -> None:
        self._keep, self._clock = keep, clock
        self._waiting: SimpleQueue[_Pending | None] = SimpleQueue()
        self._retry = DatabaseRetry("inbox", wait=time.sleep)
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def take(self, content: Content) -> None:
        """Return once an event is in the inbox. From any thread.

        Raises:
            NotKept: the process ends.
            Exception: what the inbox raised, other than that the database is away.
        """
        pending = _Pending(content)
        self._waiting.put(pending)
        while not pending.done.wait(LOOK_SECONDS if self._thread.is_alive() else 0.0):
            if not self._thread.is_alive():
                raise NotKept("The session ends.")
        if pending.error is not None:
            raise pending.error

    def stop(self, seconds: float) -> None:
        """End after what waits now, within ``seconds``; call it when the device reports nothing
        more.

        What is not in the inbox by then was not acknowledged: WhatsApp sends it again.
        """
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while batch := self._next():
                self._write(batch)
        finally:
            connection.close()

    def _next(self) -> list[_Pending]:
        """Wait for the first, and take what else is there; empty: the end."""
        found = [self._waiting.get()]
        while found[-1] is not None and len(found) < BATCH:
            try:
                found.append(self._waiting.get_nowait())
            except Empty:
                break
        if found[-1] is None and len(found) > 1:
            self._waiting.put(None)
        return [one for one in found if one is not None]

    def _write(self, batch: list[_Pending]) -> None:
        contents = [one.content for one in batch]
        error: Exception | None = None
        try:
            self._retry.run(lambda: self._keep(contents, self._clock()))
        except Exception as raised:  # for the caller whose event it is
            if len(batch) > 1:
                for one in batch:
                    self._write([one])
                return
            error = raised
        for one in batch:
            one.error = error
            one.done.set()


class DeviceInbox:
    """Stores one session's messages and receipts in the inbox of callbacks."""

    def __init__(self, *, session: SenderSession) -> None:
        self._session_id, self._tenant_id = session.id, session.tenant_id
        self._external_id = session.workspace.external_id

    def keep(self, events: Sequence[Content], now: datetime) -> None:
        """Return once these events are committed.

        Raises:
            django.db.OperationalError, django.db.InterfaceError: the database is away; nothing is
                kept, and the same events may be given again: a repeat has no effect.
            workspaces.keys.TenantHasNoKeys: the tenant is erased, or is being.
        """
        if not events:
            return
        try:
            with transaction.atomic():
                self._file(events, now)
                transaction.on_commit(WAKE_UP.notify, robust=True)
        except BaseException as error:
            keys.forget()  # a key that was made in the transaction is gone with it
            if isinstance(error, DATABASE_AWAY):
                connection.close()
            raise

    def _file(self, events: Sequence[Content], now: datetime) -> None:
        seal = digester(self._tenant_id).device(self._external_id)
        body = body_of(events, external_id=self._external_id, seal=seal)
        raw.store([raw.ArrivedBody(self._tenant_id, now.astimezone(UTC), body)])
        if any(isinstance(event, MessageArrived) and not event.from_me for event in events):
            SenderSession.objects.filter(pk=self._session_id).update(last_inbound_at=now)


def body_of(events: Sequence[Content], *, external_id: str, seal: str) -> bytes:
    """Return a callback's body with these events, each in a change of its own. Pure.

    A receipt of several messages is one update for each of them. The envelope's object tells these
    callbacks from Meta's, and its entry's id is the ``seal`` that shows who wrote it. A LID stands
    where Meta has the parent BSUID, as ``lid:<digits>``: it cannot be mistaken for a number or a
    BSUID. It finds a person again whose number is not known, and where it is new the number
    decides: the same person may write to a number of the Cloud API too, under a BSUID.
    """
    metadata = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": external_id}}
    changes = [
        {"field": field, "value": {**metadata, **value}}
        for field, value in (_change(event) for event in events)
    ]
    envelope = {"object": LINKED_DEVICE, "entry": [{"id": seal, "changes": changes}]}
    return json.dumps(envelope, separators=(",", ":")).encode()  # texts may hold any character


def _change(event: Content) -> tuple[str, Json]:
    if isinstance(event, ReceiptArrived):
        return "messages", {"statuses": list(_statuses(event))}
    if event.from_me:
        message = _message(event) | _compact(**_ids("to", event.chat))
        return "smb_message_echoes", {"message_echoes": [message], **_contacts(event.chat)}
    return "messages", {"messages": [_message(event)], **_contacts(_writer(event))}


def _writer(event: MessageArrived) -> ChatMember:
    """Return who wrote a message; in a chat of two that is the other participant."""
    if event.group_id is not None:
        return event.sender
    sender, chat = event.sender, event.chat
    return ChatMember(sender.phone or chat.phone, sender.lid or chat.lid, sender.name or chat.name)


def _message(event: MessageArrived) -> Json:
    author = event.sender if event.from_me else _writer(event)
    message = _compact(
        id=event.id,
        timestamp=_seconds(event.at),
        type=event.kind,
        group_id=event.group_id,
        **_ids("from", author),
    )
    if event.quoted_id and event.kind not in REFERRING:
        message["context"] = {"id": event.quoted_id}
    reader = _BODIES.get(event.kind)
    if event.kind in FILES:
        reader = _file
    # The type may be any word: one that is also the name of a key replaces nothing of the message.
    return {**_content(reader, event), **message}


def _content(reader: Callable[[MessageArrived], object] | None, event: MessageArrived) -> Json:
    return {event.kind: reader(event)} if reader is not None else {}


def _file(event: MessageArrived) -> Json:
    """Return what is known of a file. Its id is made up by us: the file cannot be fetched."""
    file_id = "device-" + sha256(event.id.encode("utf-8", "replace")).hexdigest()
    return _compact(id=file_id, mime_type=event.mime_type, caption=event.text)


def _statuses(event: ReceiptArrived) -> Iterator[Json]:
    for message_id in event.ids:
        yield _compact(
            id=message_id,
            status=event.status,
            timestamp=_seconds(event.at),
            recipient_id=event.chat.phone,
            recipient_parent_user_id=_lid(event.chat),
        )


def _contacts(member: ChatMember) -> Json:
    if not (member.phone or member.lid):
        return {}
    profile = {"name": member.name} if member.name else None
    contact = _compact(wa_id=member.phone, parent_user_id=_lid(member), profile=profile)
    return {"contacts": [contact]}


def _ids(key: str, member: ChatMember) -> Mapping[str, str | None]:
    return {key: member.phone, f"{key}_parent_user_id": _lid(member)}


def _lid(member: ChatMember) -> str | None:
    return f"lid:{member.lid}" if member.lid else None


def _seconds(moment: datetime) -> str:
    return str(int(moment.timestamp()))


def _compact(**parts: object) -> Json:
    return {key: value for key, value in parts.items() if value is not None}


def _edited(event: MessageArrived) -> Json:
    inner = {"type": "text", "text": {"body": event.text}} if event.text is not None else None
    return _compact(original_message_id=event.quoted_id, message=inner)


def _button_reply(event: MessageArrived) -> Json:
    return {"type": "button_reply", "button_reply": _compact(title=event.text)}


_BODIES: Mapping[str, Callable[[MessageArrived], object]] = {
    "text": lambda event: _compact(body=event.text),
    "location": lambda event: _compact(name=event.text),
    "contacts": lambda event: [],
    "button": lambda event: _compact(text=event.text),
    "interactive": _button_reply,
    "reaction": lambda event: _compact(message_id=event.quoted_id, emoji=event.emoji),
    "edit": _edited,
    "revoke": lambda event: _compact(original_message_id=event.quoted_id),
}
