"""Answers of the sender service: JSON, never cached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import json

from connectors.sender.refusals import Headers, Refused
from lib.requests import Send

JSON: Headers = (
    ("content-type", "application/json"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; without a ``body`` it is empty."""

    status: int
    body: Mapping[str, object] | None = None
    headers: Headers = ()

    async def send(self, send: Send, more: Headers = ()) -> None:
        """Send it with some headers more."""
        text = b"" if self.body is None else json.encode(self.body)
        fields = (*(JSON if text else ()), *self.headers, *more)
        headers = [(name.encode(), value.encode()) for name, value in fields]
        headers.append((b"content-length", str(len(text)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": text})


def reply_of(refusal: Refused) -> Reply:
    """Return the answer that a refusal is."""
    return Reply(refusal.status, refusal.body(), refusal.headers)
