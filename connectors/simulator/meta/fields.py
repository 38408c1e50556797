"""Meta's way of asking for some fields of an object, and for some objects of a list.

https://developers.facebook.com/docs/graph-api/results
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.http import Call
from connectors.simulator.meta.world import Json

NESTED = re.compile(r"\{[^{}]*\}|\.\w+\([^()]*\)")
MOST = 100
USUAL = 25


def picked(node: Json, asked: str, usual: Sequence[str]) -> Json:
    """Return the fields of ``node`` that are asked for, or the usual ones; ``id`` always.

    Raises:
        GraphError: 100, a field that does not exist.
    """
    while NESTED.search(asked):
        asked = NESTED.sub("", asked)
    names = [name.strip() for name in asked.split(",") if name.strip()] or list(usual)
    for name in names:
        if name not in node:
            raise GraphError(100, title=f"Tried accessing nonexistent field ({name})")
    chosen = {name: node[name] for name in names if node[name] is not None}
    return {**chosen, "id": node["id"]}


def page(call: Call, nodes: Sequence[Json], *, most: int = MOST) -> Json:
    """Return one page of a list, with ``paging.next`` only if there is more.

    Raises:
        GraphError: 100, a limit or cursor that is none.
    """
    limit = _whole(call.argument("limit") or str(USUAL), "limit")
    start = _position(call.argument("after"))
    end = min(len(nodes), start + max(1, min(limit, most)))
    document: Json = {"data": list(nodes[start:end])}
    if end > start:
        cursors = {"before": _cursor(start), "after": _cursor(end)}
        document["paging"] = {"cursors": cursors}
        if end < len(nodes):
            document["paging"] = {"cursors": cursors, "next": _next(call, cursors["after"])}
    return document


def _next(call: Call, after: str) -> str:
    request = call.request
    kept = {k: v for k, v in request.query.items() if k not in ("after", "access_token")}
    query = "&".join(f"{name}={value}" for name, value in {**kept, "after": after}.items())
    return f"{request.origin}/{request.version}/{'/'.join(request.parts)}?{query}"


def _cursor(position: int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def _position(cursor: str) -> int:
    if not cursor:
        return 0
    try:
        return _whole(base64.urlsafe_b64decode(cursor + "==").decode(), "after")
    except ValueError:
        raise GraphError(100, title="Invalid cursor in the parameter after") from None


def _whole(text: str, name: str) -> int:
    if not text.isdecimal():
        raise GraphError(100, title=f"Param {name} must be a whole number")
    return int(text)
