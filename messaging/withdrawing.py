"""Take back the marketing that waits for a person who wants none any more."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from lib import bulk, clock
from messaging import changing, notices
from messaging.identities import ALL_IDS
from messaging.notices import Change

UNWANTED = 131050

# Whoever is sending a message has changed its status already. Served by messages_of_a_conversation:
# OFFSET 0 keeps the planner to that, who would rather read the whole table for what is so rare.
# The code is Meta's word for it (Cloud API, "Error codes").
WITHDRAW = changing.statement(
    found=f"""{{rows}} JOIN workspaces w ON w.tenant_id = r.tenant_id
    CROSS JOIN LATERAL ({ALL_IDS.format(contact_id="r.contact_id")}) person (id)
    CROSS JOIN LATERAL (
        SELECT q.id FROM messages q WHERE q.workspace_id = w.id AND q.contact_id = person.id
          AND q.status = 'queued' AND q.direction = 'OUTBOUND'
          AND q.content #>> '{{template,category}}' = 'MARKETING' OFFSET 0
    ) waiting
    JOIN messages m ON m.id = waiting.id AND m.status = 'queued'""",  # noqa: S608 - names of ours
    assign=f"""status = 'cancelled', next_attempt_at = NULL, sealed_request = NULL,
    delivery = m.delivery || jsonb_build_object(
      'cancelled_at', now(), 'errors', jsonb_build_array(jsonb_build_object(
        'code', {UNWANTED}, 'title', 'The person wants no marketing any more.')))""",
    returning="m.id, m.tenant_id, m.workspace_id",
)


def withdraw_marketing(people: Collection[tuple[UUID, UUID]]) -> int:
    """Cancel queued marketing templates to people (tenant and contact), in the caller's
    transaction, and tell who subscribed; return how many there were.
    """
    columns = ("tenant_id uuid", "contact_id uuid")
    rows = bulk.run(WITHDRAW, columns, sorted(people))
    changes = [Change(one, t, w, "cancelled", [UNWANTED]) for one, t, w in rows]
    notices.changed(changes, now=clock.now())
    return len(rows)
