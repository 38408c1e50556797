"""What a path of the Graph API is about, and who answers it."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import NamedTuple, Protocol, TypeAlias

from connectors.simulator.meta.http import Answer, Call
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import SCOPES

MESSAGING, MANAGEMENT = SCOPES
Answered: TypeAlias = Answer | Coroutine[None, None, Answer]


class Handler(Protocol):
    """Answers a call; a coroutine where it has to ask somebody else first."""

    def __call__(self, sim: Simulator, call: Call, /) -> Answered:
        """Return the answer.

        Raises:
            GraphError: the refusal.
        """


class Route(NamedTuple):
    """A handler and the permission that it needs."""

    handler: Handler
    scope: str = MANAGEMENT


# Method and last part of the path, for the objects of one kind; "" is the object itself.
Table: TypeAlias = Mapping[tuple[str, str], Route]
