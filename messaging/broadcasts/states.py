"""What may follow what in a broadcast's life: the one table. Pure.

A verb is idempotent: where its work is done already it changes nothing and is no error.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from messaging.models import BroadcastState as State


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


class NotPossible(Exception):
    """A broadcast in this state cannot be asked this."""

    def __init__(self, verb: Verb, state: State) -> None:
        allowed = ", ".join(sorted(RULES[verb].from_))
        super().__init__(f"The broadcast is {state}; it has to be {allowed}.")


def has_to_act(verb: Verb, state: State) -> bool:
    """Tell whether ``verb`` has anything to do in ``state``.

    Raises:
        NotPossible: it cannot be used in this state.
    """
    rule = RULES[verb]
    if state in rule.done:
        return False
    if state not in rule.from_:
        raise NotPossible(verb, state)
    return True
