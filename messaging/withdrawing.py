"""Take back the marketing that waits for a person who wants none any more."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from workspaces import bulk, outbox
from workspaces.outbox import Event

# Whoever is sending a message has changed its status already. Served by messages_of_a_conversation.
# The code is Meta's word for it (Cloud API, "Error codes").
WITHDRAW = """
UPDATE messages m SET status = 'cancelled', next_attempt_at = NULL, sealed_request = NULL,
  delivery = m.delivery || jsonb_build_object('cancelled_at', now(), 'errors', jsonb_build_array(
    jsonb_build_object('code', 131050, 'title', 'The person wants no marketing any more.')))
FROM {rows} JOIN workspaces w ON w.tenant_id = r.tenant_id
WHERE m.workspace_id = w.id AND m.contact_id = r.contact_id AND m.status = 'queued'
  AND m.direction = 'OUTBOUND' AND m.content #>> '{template,category}' = 'MARKETING'
RETURNING m.tenant_id, m.workspace_id, m.id, now()
"""


def withdraw_marketing(people: Collection[tuple[UUID, UUID]]) -> int:
    """Cancel queued marketing templates to people (tenant and contact), in the caller's
    transaction, and tell who subscribed; return how many there were.
    """
    columns = ("tenant_id uuid", "contact_id uuid")
    rows = bulk.run(WITHDRAW, columns, sorted(people))
    outbox.emit(
        [
            Event(tenant_id, "message.status", _data(workspace_id, message_id), at)
            for tenant_id, workspace_id, message_id, at in rows
        ]
    )
    return len(rows)


def _data(workspace_id: UUID, message_id: UUID) -> dict[str, object]:
    return {
        "message_id": str(message_id), "workspace_id": str(workspace_id), "status": "cancelled",
    }  # fmt: skip
