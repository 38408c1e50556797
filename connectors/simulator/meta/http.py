"""Requests and answers as values, so that everything between them is plain functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple
from urllib.parse import parse_qsl

import msgspec

from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.world import Account, App, Json, Number, Template, Token

JSON = b"application/json; charset=UTF-8"


class Conduct(Enum):
    """What becomes of the connection."""

    ANSWER = "answer"
    HANG = "hang"
    CLOSE = "close"


class Answer(NamedTuple):
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

    account: Account | None = None
    number: Number | None = None
    template: Template | None = None


@dataclass(slots=True)
class Call:
    """A request of somebody known, and what it is about."""

    request: Request
    document: Json
    token: Token
    app: App
    subject: Subject = field(default_factory=Subject)

    @property
    def account(self) -> Account:
        """The account; the handlers of accounts, numbers and templates have one."""
        assert self.subject.account is not None  # noqa: S101 - by the route
        return self.subject.account

    @property
    def number(self) -> Number:
        """The number; the handlers of numbers have one."""
        assert self.subject.number is not None  # noqa: S101 - by the route
        return self.subject.number

    @property
    def template(self) -> Template:
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


def answer(document: object, status: int = 200) -> Answer:
    """Return an answer of JSON."""
    return Answer(status, msgspec.json.encode(document))


SUCCESS = answer({"success": True})


def refusal(error: GraphError) -> Answer:
    """Return the answer that an error of Meta's is."""
    return answer(error.envelope(), error.status)
