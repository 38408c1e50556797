"""The events that tenants' apps can subscribe to, and what the ``data`` of each may hold.

Ids, states and codes: whoever receives an event asks for the rest with its API key. What is not
listed here cannot be sent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple


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
TEST = "event.test"
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
