"""Lock a broadcast and change its state: no other module does, nor publishes the change."""

from __future__ import annotations

import logging
from datetime import datetime
from uuid import UUID

from messaging.broadcasts.refusals import BroadcastErrorCode, UnableToBroadcast
from messaging.broadcasts.states import NEXT, NotPossible, Verb, has_to_act
from messaging.models import Broadcast, BroadcastState
from workspaces.events import Event, emit

logger = logging.getLogger("sigma.whatsapp.broadcasts")

ENDED = frozenset({BroadcastState.COMPLETED, BroadcastState.CANCELLED})


class NoWay(Exception):
    """A broadcast cannot go from this state to that one: a bug of whoever asked for it."""


def held(*, tenant_id: UUID, broadcast_id: UUID) -> Broadcast:
    """Return the broadcast, locked to the end of the caller's transaction.

    Raises:
        UnableToBroadcast: there is none.
    """
    rows = Broadcast.objects.select_for_update().filter(tenant_id=tenant_id, pk=broadcast_id)
    found = rows.first()
    if found is None:
        raise missing()
    return found


def take(*, tenant_id: UUID, broadcast_id: UUID) -> Broadcast | None:
    """Return the broadcast, locked; ``None``: it is gone, or another process holds the lock."""
    rows = Broadcast.objects.select_for_update(skip_locked=True)
    return rows.filter(tenant_id=tenant_id, pk=broadcast_id).first()


def missing() -> UnableToBroadcast:
    """Return the refusal where there is no such broadcast of the tenant."""
    return UnableToBroadcast(
        BroadcastErrorCode.NOT_FOUND, "id", "Your tenant has no broadcast with this id."
    )


def locked(*, tenant_id: UUID, broadcast_id: UUID, verb: Verb) -> Broadcast:
    """Return the broadcast, locked, where ``verb`` may be used on it.

    Raises:
        UnableToBroadcast: there is none, or not in this state.
    """
    broadcast = held(tenant_id=tenant_id, broadcast_id=broadcast_id)
    must_act(broadcast, verb)
    return broadcast


def must_act(broadcast: Broadcast, verb: Verb) -> bool:
    """Return whether ``verb`` has anything left to do.

    Raises:
        UnableToBroadcast: it cannot be used in this state.
    """
    try:
        return has_to_act(verb, BroadcastState(broadcast.state))
    except NotPossible as error:
        raise UnableToBroadcast(BroadcastErrorCode.WRONG_STATE, "id", str(error)) from None


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
    _publish(broadcast, now)


def explain(broadcast: Broadcast, reason: str, *, now: datetime) -> None:
    """Write why a broadcast makes no progress though its state is the same; empty: it does."""
    if broadcast.reason != reason:
        broadcast.reason = reason
        broadcast.save(update_fields=("reason",))
        _publish(broadcast, now)


def _publish(broadcast: Broadcast, now: datetime) -> None:
    ids = {"broadcast_id": str(broadcast.id), "workspace_id": str(broadcast.workspace_id)}
    event = Event(
        broadcast.tenant_id, "broadcast.updated", {**ids, "state": str(broadcast.state)}, now
    )
    emit([event])
    logger.info("whatsapp broadcast is %s", str(broadcast.state), extra=ids)
