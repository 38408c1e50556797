"""The parts of a template message as its sender gave them."""

from __future__ import annotations

from typing import NamedTuple

from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.world import Json


class Given(NamedTuple):
    """The components of a request, by type, and its buttons by index."""

    parts: dict[str, Json]
    buttons: dict[int, Json]


def given_in(components: object) -> Given:
    """Return the components of a request.

    Raises:
        GraphError: 100, 131008, 131009; something that is no component.
    """
    given = Given({}, {})
    if components is not None and not isinstance(components, list):
        raise GraphError(131009, "Param template['components'] must be an array.")
    for part in components or ():
        kind = str(part.get("type", "")).lower() if isinstance(part, dict) else ""
        if kind == "button":
            index = str(part.get("index", ""))
            if not index.isdecimal():
                raise GraphError(131008, "The parameter index of a button is required.")
            given.buttons[int(index)] = part
        elif kind in ("header", "body", "footer", "carousel", "limited_time_offer"):
            given.parts[kind] = part
        else:
            raise GraphError(100, "Param template['components'][]['type'] is not valid.")
    return given


def parameters_of(part: Json | None) -> list[Json]:
    """Return a component's parameters.

    Raises:
        GraphError: 131009, they are no list of objects.
    """
    parameters = [] if part is None else part.get("parameters", [])
    if not isinstance(parameters, list) or not all(isinstance(p, dict) for p in parameters):
        raise GraphError(131009, "Param parameters must be an array of objects.")
    return parameters
