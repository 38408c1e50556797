"""What tenants' apps are told about messages: ids, types and states, nothing of the content."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from lib import bulk, clock
from messaging.conversation_states import ConversationState
from messaging.conversations import Reopened
from messaging.people import SURVIVOR
from workspaces.events import Event

RECEIVED = "message.received"
RECEIVED_IN_GROUP = "message.received.group"
SENT_ELSEWHERE = "message.sent_elsewhere"
STATUS = "message.status"
CONVERSATION = "conversation.updated"
# Whose a message is and where it stands. There are no conversations with groups.
PLACES = f"""
SELECT m.id, p.contact_id, c.id, m.group_id
FROM {{rows}} JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.id
CROSS JOIN LATERAL (
    SELECT {SURVIVOR.format(tenant_id="m.tenant_id", contact_id="m.contact_id")} AS contact_id
    OFFSET 0
) p
LEFT JOIN conversations c
  ON c.tenant_id = m.tenant_id AND c.workspace_id = m.workspace_id
 AND c.contact_id = p.contact_id AND m.group_id IS NULL
"""  # noqa: S608 - names of ours


class Arrival(NamedTuple):
    """A message that was stored just now and is news, and the event that tells of it."""

    event: str
    tenant_id: UUID
    workspace_id: UUID
    message_id: UUID
    type: str
    sent_at: datetime

    @property
    def data(self) -> dict[str, object]:
        """What is told."""
        return {
            "message_id": str(self.message_id),
            "workspace_id": str(self.workspace_id),
            "type": self.type,
        }


class StatusChange(NamedTuple):
    """A message of the business that went into a new state (:mod:`messaging.states`);
    ``error_codes`` are the platform's, or ours in letters.
    """

    message_id: UUID
    tenant_id: UUID
    workspace_id: UUID
    status: str
    error_codes: Sequence[object] = ()

    @property
    def data(self) -> dict[str, object]:
        """What is told."""
        return {
            "message_id": str(self.message_id),
            "workspace_id": str(self.workspace_id),
            "status": self.status,
            "error_codes": list(self.error_codes),
        }


def arrived(arrivals: Collection[Arrival]) -> list[Event]:
    """Return the events of messages that were stored in the caller's transaction."""
    places = _places(arrivals)
    return [
        Event(one.tenant_id, one.event, one.data | places[one.message_id], one.sent_at)
        for one in arrivals
    ]


def moved(changes: Collection[StatusChange], *, now: datetime) -> list[Event]:
    """Return the events of new states, of which the caller's transaction makes the changes."""
    places = _places(changes)
    return [Event(one.tenant_id, STATUS, one.data | places[one.message_id], now) for one in changes]


class ConversationChange(NamedTuple):
    """What changed of a conversation, by whom, and how it is now."""

    tenant_id: UUID
    id: UUID
    workspace_id: UUID
    contact_id: UUID
    state: str
    assignee_id: int | None
    label_ids: Sequence[UUID]
    changed: Sequence[str]
    by: str


def handled(changes: Iterable[ConversationChange], *, now: datetime) -> list[Event]:
    """Return the events of conversations that the caller's transaction changes."""
    return [
        Event(
            one.tenant_id,
            CONVERSATION,
            {
                "conversation_id": str(one.id),
                "workspace_id": str(one.workspace_id),
                "contact_id": str(one.contact_id),
                "changed": list(one.changed),
                "state": one.state,
                "assignee_id": one.assignee_id,
                "label_ids": [str(label_id) for label_id in one.label_ids],
                "by": one.by,
            },
            now,
        )
        for one in changes
    ]


def reopened(conversations: Iterable[Reopened]) -> list[Event]:
    """Return the events of conversations that people opened again by writing."""
    changes = [
        ConversationChange(
            *one[:4], ConversationState.OPEN.value, *one[4:], changed=("state",), by="person"
        )
        for one in conversations
    ]
    return handled(changes, now=clock.now())


def _places(news: Iterable[Arrival | StatusChange]) -> dict[UUID, dict[str, object]]:
    """Return of each message what its event says of where it belongs."""
    rows = {(one.tenant_id, one.message_id) for one in news}
    nowhere: tuple[None, None, None] = (None, None, None)
    columns = ("tenant_id uuid", "id uuid")
    found = {row[0]: row[1:] for row in bulk.run(PLACES, columns, list(rows))}
    return {one: _place(*found.get(one, nowhere)) for _, one in rows}


def _place(
    contact_id: UUID | None, conversation_id: UUID | None, group_id: str | None
) -> dict[str, object]:
    place: dict[str, object] = {
        "contact_id": contact_id and str(contact_id),
        "conversation_id": conversation_id and str(conversation_id),
    }
    return place if group_id is None else place | {"group_id": group_id}
