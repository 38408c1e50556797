"""HTTP of the Graph API as values: requests, answers, routes, fields and pages.

Everything between a request and its answer is plain functions.
https://developers.facebook.com/docs/graph-api/results
"""

from __future__ import annotations

import base64
import re
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import (
    SCOPES,
    App,
    BusinessAccount,
    Json,
    PhoneNumber,
    SimulatedTemplate,
    Token,
)

JSON = b"application/json; charset=UTF-8"
MESSAGING, MANAGEMENT = SCOPES
NESTED = re.compile(r"\{[^{}]*\}|\.\w+\([^()]*\)")
MOST = 100
USUAL = 25


class Conduct(Enum):
    """What becomes of the connection."""

    ANSWER = "answer"
    HANG = "hang"
    CLOSE = "close"


class HttpAnswer(NamedTuple):
    """An answer, given after ``delay`` seconds of real time, or how there will be none."""

    status: int = 200
    body: bytes = b""
    content_type: bytes = JSON
    conduct: Conduct = Conduct.ANSWER
    delay: float = 0.0
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(slots=True)
class Request:
    """An HTTP request. ``parts`` is the path without slashes and version; names are lower case."""

    method: str
    parts: list[str]
    version: str
    query: Mapping[str, str]
    headers: dict[bytes, bytes]
    body: bytes = field(repr=False)

    @property
    def origin(self) -> str:
        """The address that it was sent to."""
        return f"http://{self.headers.get(b'host', b'127.0.0.1').decode('latin-1')}"

    @property
    def content_type(self) -> str:
        """The kind of body, in lower case only where that makes no difference."""
        return self.headers.get(b"content-type", b"").decode("latin-1")

    def document(self) -> Json:
        """Return the body of JSON or of a form; an empty one is an empty document.

        Raises:
            GraphError: 100, neither.
        """
        kind = self.content_type.partition(";")[0].strip().lower()
        is_file = kind == "multipart/form-data" or self.parts[0].startswith("upload:")
        if not self.body or is_file:
            return {}
        if kind == "application/x-www-form-urlencoded":
            return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))
        try:
            document = msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            document = None
        if not isinstance(document, dict):
            raise GraphError(100, "The request's body is not a JSON object.")
        return document


class Subject(NamedTuple):
    """What the path of a request names, and the account that it belongs to."""

    account: BusinessAccount | None = None
    number: PhoneNumber | None = None
    template: SimulatedTemplate | None = None


@dataclass(slots=True)
class GraphCall:
    """An authenticated request, and what it is about."""

    request: Request
    document: Json
    token: Token
    app: App
    subject: Subject = field(default_factory=Subject)

    @property
    def account(self) -> BusinessAccount:
        """The account; the handlers of accounts, numbers and templates have one."""
        assert self.subject.account is not None  # noqa: S101 - by the route
        return self.subject.account

    @property
    def number(self) -> PhoneNumber:
        """The number; the handlers of numbers have one."""
        assert self.subject.number is not None  # noqa: S101 - by the route
        return self.subject.number

    @property
    def template(self) -> SimulatedTemplate:
        """The template; the handlers of templates have one."""
        assert self.subject.template is not None  # noqa: S101 - by the route
        return self.subject.template

    def argument(self, name: str) -> str:
        """Return a parameter from the query or the body, empty where there is none."""
        value = self.request.query.get(name, self.document.get(name))
        return "" if value is None else value if isinstance(value, str) else str(value)

    def listed(self, name: str) -> object:
        """Return a parameter of the body that is a list, which may also come as a text of JSON."""
        value = self.document.get(name)
        if not isinstance(value, str):
            return value
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return None


def answer(document: object, status: int = 200) -> HttpAnswer:
    """Return an answer of JSON."""
    return HttpAnswer(status, msgspec.json.encode(document))


SUCCESS = answer({"success": True})


def refusal(error: GraphError) -> HttpAnswer:
    """Return the answer that an error of Meta's is."""
    return answer(error.envelope(), error.status)


Answered: TypeAlias = HttpAnswer | Coroutine[None, None, HttpAnswer]


class Handler(Protocol):
    """Answers a call; a coroutine where it has to ask an address first."""

    def __call__(self, sim: Simulator, call: GraphCall, /) -> Answered:
        """Return the answer.

        Raises:
            GraphError: the refusal.
        """


class GraphRoute(NamedTuple):
    """A handler and the permission that it needs."""

    handler: Handler
    scope: str = MANAGEMENT


# Method and last part of the path, for the objects of one kind; "" is the object itself.
Table: TypeAlias = Mapping[tuple[str, str], GraphRoute]


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


def page(call: GraphCall, nodes: Sequence[Json], *, most: int = MOST) -> Json:
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


def _next(call: GraphCall, after: str) -> str:
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
