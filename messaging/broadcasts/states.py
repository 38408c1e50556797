"""What may follow what in a broadcast's life, and the changes: no other module writes a state or
publishes a change.

A verb is idempotent: where its work is done already it changes nothing and is no error.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from messaging.broadcasts.refusals import BroadcastErrorCode, UnableToBroadcast
from messaging.models import Broadcast
from messaging.models import BroadcastState as State
from workspaces.events import Event, emit

logger = logging.getLogger("sigma.whatsapp.broadcasts")


class Verb(StrEnum):
    """What a caller may ask of a broadcast."""

    FILL = "FILL"
    START = "START"
    PAUSE = "PAUSE"
    RESUME = "RESUME"
    CANCEL = "CANCEL"
    RETRY = "RETRY"


class VerbRule(NamedTuple):
    """From where a verb may be used, and where its work is done already."""

    from_: frozenset[State]
    done: frozenset[State]


RULES: Mapping[Verb, VerbRule] = MappingProxyType(
    {
        Verb.FILL: VerbRule(frozenset({State.DRAFT, State.REFUSED}), frozenset()),
        Verb.START: VerbRule(
            frozenset({State.DRAFT, State.REFUSED}),
            frozenset({State.CHECKING, State.SCHEDULED, State.RUNNING}),
        ),
        Verb.PAUSE: VerbRule(
            frozenset({State.SCHEDULED, State.RUNNING}), frozenset({State.PAUSED})
        ),
        Verb.RESUME: VerbRule(
            frozenset({State.PAUSED}), frozenset({State.SCHEDULED, State.RUNNING})
        ),
        Verb.CANCEL: VerbRule(
            frozenset(
                {
                    State.DRAFT,
                    State.REFUSED,
                    State.CHECKING,
                    State.SCHEDULED,
                    State.RUNNING,
                    State.PAUSED,
                }
            ),
            frozenset({State.CANCELLED}),
        ),
        Verb.RETRY: VerbRule(
            frozenset({State.RUNNING, State.PAUSED, State.COMPLETED}), frozenset()
        ),
    }
)

# Every change there is, the software's own included; nothing leaves the last one, and only what
# failed is sent again of a broadcast that was completed.
NEXT: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.DRAFT: frozenset({State.CHECKING, State.CANCELLED}),
        State.REFUSED: frozenset({State.DRAFT, State.CHECKING, State.CANCELLED}),
        State.CHECKING: frozenset({State.REFUSED, State.SCHEDULED, State.RUNNING, State.CANCELLED}),
        State.SCHEDULED: frozenset({State.RUNNING, State.PAUSED, State.CANCELLED}),
        State.RUNNING: frozenset({State.PAUSED, State.COMPLETED, State.CANCELLED}),
        State.PAUSED: frozenset({State.SCHEDULED, State.RUNNING, State.CANCELLED}),
        State.COMPLETED: frozenset({State.RUNNING}),
        State.CANCELLED: frozenset(),
    }
)


class NoWay(Exception):
    """A broadcast cannot go from this state to that one: a bug of whoever asked for it."""


def for_update(*, tenant_id: UUID, broadcast_id: UUID) -> Broadcast:
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
    broadcast = for_update(tenant_id=tenant_id, broadcast_id=broadcast_id)
    must_act(broadcast, verb)
    return broadcast


def must_act(broadcast: Broadcast, verb: Verb) -> bool:
    """Return whether ``verb`` has anything left to do.

    Raises:
        UnableToBroadcast: it cannot be used in this state.
    """
    rule, state = RULES[verb], State(broadcast.state)
    if state in rule.done:
        return False
    if state not in rule.from_:
        raise UnableToBroadcast(
            BroadcastErrorCode.WRONG_STATE,
            "id",
            f"The broadcast is {state}; it has to be {', '.join(sorted(rule.from_))}.",
        )
    return True


def move(broadcast: Broadcast, to: State, *, now: datetime, reason: str = "") -> None:
    """Write the new state of a broadcast that the caller holds locked, and emit the event.

    Raises:
        NoWay: the table of states has no such step.
    """
    if to not in NEXT[State(broadcast.state)]:
        raise NoWay(f"A broadcast that is {broadcast.state} cannot become {to}.")
    broadcast.state, broadcast.reason = to, reason
    if to == State.RUNNING and broadcast.started_at is None:
        broadcast.started_at = now
    if to == State.COMPLETED:
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
