"""Change a broadcast's state: the only place that does, and that tells about it."""

from __future__ import annotations

import logging
from datetime import datetime

from messaging.broadcasts.states import NEXT
from messaging.models import Broadcast, BroadcastState
from workspaces import outbox
from workspaces.outbox import Event

logger = logging.getLogger("sigma.whatsapp.broadcasts")

ENDED = frozenset({BroadcastState.COMPLETED, BroadcastState.CANCELLED})


class NoWay(Exception):
    """A broadcast cannot go from this state to that one: a bug of whoever asked for it."""


def move(broadcast: Broadcast, to: BroadcastState, *, now: datetime, reason: str = "") -> None:
    """Write the new state of a broadcast that the caller holds locked, and emit the event.

    Raises:
        NoWay: the table of states has no such step.
    """
    if to not in NEXT[BroadcastState(broadcast.state)]:
        raise NoWay(f"A broadcast that is {broadcast.state} cannot become {to}.")
    broadcast.state, broadcast.reason = to, reason
    if to == BroadcastState.RUNNING and broadcast.started_at is None:
        broadcast.started_at = now
    if to == BroadcastState.COMPLETED:
        broadcast.ended_at = now
    broadcast.save()
    _tell(broadcast, now)


def explain(broadcast: Broadcast, reason: str, *, now: datetime) -> None:
    """Write why a broadcast does not get on though its state is the same; empty: it does."""
    if broadcast.reason != reason:
        broadcast.reason = reason
        broadcast.save(update_fields=("reason",))
        _tell(broadcast, now)


def _tell(broadcast: Broadcast, now: datetime) -> None:
    ids = {"broadcast_id": str(broadcast.id), "workspace_id": str(broadcast.workspace_id)}
    event = Event(
        broadcast.tenant_id, "broadcast.updated", {**ids, "state": str(broadcast.state)}, now
    )
    outbox.emit([event])
    logger.info("whatsapp broadcast is %s", str(broadcast.state), extra=ids)
