"""The states of a message of the business, what may follow what, and what the outbox holds in each:
the one table. Pure.

Receipts may skip states (``accepted`` to ``read``) and a report of the platform about a message is
proof that it was sent, whatever we thought of it: hence ``accepted`` after everything else of ours.
A message that was echoed or imported begins without a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class State(StrEnum):
    """Where a message of the business is; the names are those of the API."""

    QUEUED = "queued"
    SENDING = "sending"
    ACCEPTED = "accepted"
    HELD = "held"
    UNKNOWN = "unknown"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    PLAYED = "played"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PendingWork(StrEnum):
    """What the outbox holds of a message (:class:`messaging.models.PendingSend`)."""

    # No row: there is nothing left to do that only we can do.
    NONE = "none"
    # A row without a lease: it is due at its time, or suspended with its broadcast.
    WAITING = "waiting"
    # A row with a lease, and not due: somebody is sending it.
    LEASED = "leased"


class Edge(NamedTuple):
    """One step of a message's life; ``before`` is ``None`` for a message we did not send."""

    before: State | None
    after: State


_S = State
# Meta's own words, in the order in which a message goes through them.
_REPORTED = (_S.SENT, _S.DELIVERED, _S.READ, _S.PLAYED)
_ARRIVING = frozenset({*_REPORTED, _S.FAILED})

NEXT: Mapping[State | None, frozenset[State]] = MappingProxyType(
    {
        None: frozenset({_S.ACCEPTED, *_ARRIVING}),
        _S.QUEUED: frozenset({_S.SENDING, _S.FAILED, _S.CANCELLED, _S.ACCEPTED}),
        _S.SENDING: frozenset({_S.ACCEPTED, _S.HELD, _S.QUEUED, _S.FAILED, _S.UNKNOWN}),
        _S.ACCEPTED: _ARRIVING,
        _S.HELD: frozenset({_S.ACCEPTED, *_ARRIVING}),
        _S.UNKNOWN: frozenset({_S.ACCEPTED, _S.HELD}),
        _S.SENT: frozenset({_S.DELIVERED, _S.READ, _S.PLAYED, _S.FAILED}),
        _S.DELIVERED: frozenset({_S.READ, _S.PLAYED}),
        _S.READ: frozenset({_S.PLAYED}),
        _S.PLAYED: frozenset(),
        _S.FAILED: frozenset({_S.ACCEPTED}),
        _S.CANCELLED: frozenset({_S.ACCEPTED}),
    }
)
_PENDING: Mapping[State | None, PendingWork] = MappingProxyType(
    {_S.QUEUED: PendingWork.WAITING, _S.SENDING: PendingWork.LEASED}
)
# ``queued`` is what the caller was answered, and neither this nor ``sending`` is news:
# a message may go to and fro between them while it is tried.
WITHOUT_EVENT = frozenset({_S.QUEUED, _S.SENDING})
EDGES = tuple(Edge(before, after) for before in NEXT for after in State if after in NEXT[before])


def work_of(state: State | None) -> PendingWork:
    """Return what the outbox holds of a message in this state."""
    return _PENDING.get(state, PendingWork.NONE)


def has_event(edge: Edge) -> bool:
    """Whether the event ``message.status`` is emitted for a step."""
    return edge.after not in WITHOUT_EVENT
