"""Who may store messages of a workspace side by side, and who goes alone.

There is one order: workspaces, then the people of tenants, then contacts (``joining.lock``),
then rows.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from lib import bulk
from messaging.events import AMENDING, Direction, Incoming, MessageEvent
from workspaces.models import Workspace

# Most writers of a workspace go side by side. Those who look for rows that another batch may be
# adding at this moment (receipts of an echoed message, targets of an edit) go alone.
LOCK = """
SELECT CASE WHEN r.alone THEN pg_advisory_xact_lock(hashtextextended(r.key, 0))
            ELSE pg_advisory_xact_lock_shared(hashtextextended(r.key, 0)) END
FROM {rows}
"""
# What a send holds of its tenant, side by side with others, until it is committed.
SENDING = (
    "pg_advisory_xact_lock_shared(hashtextextended('people:' || workspaces.tenant_id::text, 0))"
)


def take(batch: Collection[Incoming], *, alone: Collection[UUID] = ()) -> None:
    """Lock the workspaces of a batch until the caller's transaction ends.

    For the tenants in ``alone`` nobody else stores or sends meanwhile: their contacts are merged.
    """
    workspaces = dict.fromkeys((incoming.workspace_id for incoming in batch), False)
    for incoming in batch:
        event = incoming.event
        if isinstance(event, MessageEvent) and (
            event.direction == Direction.OUTBOUND or event.type in AMENDING
        ):
            workspaces[incoming.workspace_id] = True
    keys = {f"messages:{one}": goes_alone for one, goes_alone in workspaces.items()}
    if alone:
        keys |= _everything_of(alone)
    _take(keys)


def go_alone(tenant_ids: Collection[UUID]) -> None:
    """Let nobody else store or send for these tenants until the caller's transaction ends."""
    if tenant_ids:
        _take(_everything_of(tenant_ids))


def merge_nobody(tenant_ids: Collection[UUID]) -> None:
    """Let nobody merge contacts of these tenants until the caller's transaction ends; others may do
    the same meanwhile. Call it before locking rows.
    """
    _take({f"people:{tenant_id}": False for tenant_id in tenant_ids})


def _take(keys: dict[str, bool]) -> None:
    # In the order of their names, everybody: those of messages come before those of people.
    bulk.run(LOCK, ("key text", "alone bool"), sorted(keys.items()))


def _everything_of(tenant_ids: Collection[UUID]) -> dict[str, bool]:
    everything = Workspace.objects.filter(tenant_id__in=tenant_ids).values_list("id", flat=True)
    people = {f"people:{tenant_id}": True for tenant_id in tenant_ids}
    return people | {f"messages:{workspace_id}": True for workspace_id in everything}
