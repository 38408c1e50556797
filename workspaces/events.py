"""The events that tenants' apps can subscribe to, what the ``data`` of each may hold, and the port
through which lower layers tell of them.

Ids, states and codes: whoever receives an event asks for the rest with its API key. What is not
listed here cannot be sent. ``settings.SIGMA_EVENT_SINK`` names the function of ``connectors`` that
takes them, as ``SIGMA_CHANNELS`` does for platforms.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import ModuleType
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string


class EventDefinition(NamedTuple):
    """What an event means, and what each field of its ``data`` holds.

    ``only_if_named``: who asks for all types does not get it.
    """

    description: str
    data: Mapping[str, str]
    only_if_named: bool = False


NUMBER = {"workspace_id": "the workspace (phone number)"}
WHICH = {"message_id": "the message's UUID", **NUMBER}
MESSAGE = {
    **WHICH,
    "contact_id": "the person at the other end, where known",
    "conversation_id": "the conversation with that person; null where there is none",
}
KIND = {"type": "Meta's type: text, image, reaction, edit …"}
GROUP = {"group_id": "digest of the group's id, of a message in a group only"}
PAUSE = {"workspace_id": "the number; null: all numbers", "code": "Meta's code"}
BLOCK = {
    **NUMBER,
    "contact_id": "the person",
    "by": "user or api_key and its id; rule: your rule; platform: found in Meta's list",
}
TEST = "event.test"
NO_SINK = (
    "SIGMA_EVENT_SINK is {!r}, which is no function that can be imported. "
    "Name the one that writes events down: connectors.events.outbox.record"
)
EVENT_TYPES: Mapping[str, EventDefinition] = {
    "message.received": EventDefinition(
        "A customer's message arrived and was stored.", {**MESSAGE, **KIND}
    ),
    "message.received.group": EventDefinition(
        "A message in a group arrived and was stored. Only a subscription that names this type "
        "receives it.",
        {**MESSAGE, **KIND, **GROUP},
        only_if_named=True,
    ),
    "message.sent_elsewhere": EventDefinition(
        "The business wrote with WhatsApp's own app, on its phone or the web.", {**MESSAGE, **KIND}
    ),
    "message.status": EventDefinition(
        "A message of the business moved on: accepted, held, sent, delivered, read, played, "
        "failed, unknown, cancelled.",
        {
            **MESSAGE,
            **GROUP,
            "status": "the new status",
            "error_codes": "Meta's codes, where it failed",
        },
    ),
    "conversation.updated": EventDefinition(
        "The state, the assignee or the labels of a conversation changed.",
        {
            "conversation_id": "the conversation's UUID",
            **NUMBER,
            "contact_id": "the person",
            "changed": "which of state, assignee and labels",
            "state": "OPEN, SNOOZED or CLOSED, as it is now",
            "assignee_id": "the user it is assigned to, or null",
            "label_ids": "the UUIDs of its labels",
            "by": "user or api_key and its id; person: a message opened it; clock: its time came",
        },
    ),
    "contact.blocked": EventDefinition("A number of yours blocks a person at Meta.", BLOCK),
    "contact.unblocked": EventDefinition(
        "A number of yours blocks a person at Meta no longer.", BLOCK
    ),
    "contact.block_refused": EventDefinition(
        "Meta did not block a person who was to be blocked; the block's `error` says why.",
        {**BLOCK, "code": "Meta's code; 0: a reason of ours"},
    ),
    "payment.updated": EventDefinition(
        "A payment that a message asked for moved on; the message's own status does not.",
        {**WHICH, "status": "Meta's word: pending, captured, success, failed …"},
    ),
    "template.updated": EventDefinition(
        "A message template was added, changed or deleted.",
        {
            "template_id": "the template's UUID",
            "waba_id": "its WhatsApp Business Account",
            "name": "its name",
            "language": "its locale",
            "status": "Meta's status, or DELETED",
            "category": "Meta's category",
            "quality": "Meta's quality score",
        },
    ),
    "broadcast.updated": EventDefinition(
        "A broadcast changed its state.",
        {"broadcast_id": "the broadcast's UUID", **NUMBER, "state": "the new state"},
    ),
    "sending.paused": EventDefinition("Sending stopped; messages wait.", PAUSE),
    "sending.resumed": EventDefinition("Sending goes on.", PAUSE),
    "number.updated": EventDefinition(
        "Facts of a phone number changed.",
        {
            **NUMBER,
            "status": "Meta's status",
            "quality_rating": "Meta's rating",
            "messaging_limit": "Meta's tier",
            "throughput_level": "Meta's level",
            "can_send": "AVAILABLE, LIMITED or BLOCKED",
        },
    ),
    TEST: EventDefinition(
        "You asked for it with `sendTestEvent`.", {"subscription_id": "who receives it"}
    ),
}


def is_wanted(name: str, types: Collection[str]) -> bool:
    """Whether who asked for ``types`` (for all, where they name none) wants events of a type."""
    known = EVENT_TYPES.get(name)
    return name in types if types or (known and known.only_if_named) else True


class UnknownEvent(ValueError):
    """An event, or a field of its data, that is not in ``EVENT_TYPES``: it could be a text."""


class NoSink(Exception):
    """``SIGMA_EVENT_SINK`` names no function; the message says so in one line."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a tenant; ``data`` holds ids, states and codes only."""

    tenant_id: UUID
    type: str
    data: Mapping[str, object]
    occurred_at: datetime


# Takes the tenants whose events they are, and what makes the events.
Sink = Callable[[Collection[UUID], Callable[[], Iterable[Event]]], None]


def emit(events: Sequence[Event]) -> None:
    """Write events for the subscriptions that want them, in the caller's transaction, and publish
    them to live streams on commit.

    Costs one query where nobody subscribed.

    Raises:
        UnknownEvent: its type or a field of its data is not in ``EVENT_TYPES``.
    """
    known = list(_checked(lambda: events))
    emit_lazily({event.tenant_id for event in known}, lambda: known)


def emit_lazily(tenants: Collection[UUID], make: Callable[[], Iterable[Event]]) -> None:
    """Do the same for events that are only made where one of these tenants wants them.

    For paths with hundreds of events at once: to make them costs ten times the query.

    Raises:
        UnknownEvent: as ``emit``, where somebody subscribed; else it is logged and not published.
    """
    if tenants:
        sink()(tenants, partial(_checked, make))


def sink() -> Sink:
    """Return what writes events down.

    Raises:
        NoSink: there is none of that name.
    """
    path = settings.SIGMA_EVENT_SINK
    try:
        found: Sink | ModuleType = import_string(path)
    except ImportError as error:
        raise NoSink(NO_SINK.format(path)) from error
    if not callable(found):
        raise NoSink(NO_SINK.format(path))
    return found


def _checked(make: Callable[[], Iterable[Event]]) -> Iterator[Event]:
    for event in make():
        known = EVENT_TYPES.get(event.type)
        if known is None:
            raise UnknownEvent(f"{event.type!r} is not a type of event; see EVENT_TYPES.")
        if not event.data.keys() <= known.data.keys():
            more = ", ".join(sorted(event.data.keys() - known.data.keys()))
            raise UnknownEvent(f"{event.type} has no field {more}; see EVENT_TYPES.")
        yield event
