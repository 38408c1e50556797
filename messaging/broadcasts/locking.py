"""Hold a broadcast while something is done with it: whoever comes second waits, then looks."""

from __future__ import annotations

from uuid import UUID

from messaging.broadcasts.refusals import BroadcastErrorCode, UnableToBroadcast
from messaging.broadcasts.states import NotPossible, Verb, has_to_act
from messaging.models import Broadcast, BroadcastState


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
    """Tell whether ``verb`` has anything left to do.

    Raises:
        UnableToBroadcast: it cannot be used in this state.
    """
    try:
        return has_to_act(verb, BroadcastState(broadcast.state))
    except NotPossible as error:
        raise UnableToBroadcast(BroadcastErrorCode.WRONG_STATE, "id", str(error)) from None
