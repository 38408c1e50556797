"""Who may store messages of a workspace side by side, and who goes alone."""

from __future__ import annotations

from collections.abc import Collection

from messaging.amendments import AMENDING
from messaging.events import Direction, MessageEvent
from messaging.incoming import Incoming
from workspaces import bulk

# Most writers of a workspace go side by side. Those who look for rows that another batch may be
# adding at this moment (receipts of an echoed message, targets of an edit) go alone.
LOCK = """
SELECT CASE WHEN r.alone THEN pg_advisory_xact_lock(r.key)
            ELSE pg_advisory_xact_lock_shared(r.key) END
FROM (SELECT hashtextextended('messages:' || workspace_id, 0) AS key, alone FROM {rows}) r
"""


def take(batch: Collection[Incoming]) -> None:
    """Lock the workspaces of a batch until the caller's transaction ends."""
    everybody = {incoming.workspace_id for incoming in batch}
    alone = {incoming.workspace_id for incoming in batch if _goes_alone(incoming)}
    rows = sorted((str(workspace_id), workspace_id in alone) for workspace_id in everybody)
    bulk.run(LOCK, ("workspace_id text", "alone bool"), rows)


def _goes_alone(incoming: Incoming) -> bool:
    event = incoming.event
    if not isinstance(event, MessageEvent):
        return False
    return event.direction == Direction.OUTBOUND or event.type in AMENDING
