"""Streams end with the server, and no rush passes their limit; asked as a server asks."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest
from django.conf import settings

from connectors.events import stream
from connectors.events.stream import Streams
from lib.requests import Message
from sigma import stopping
from tests.conftest import Cast

pytestmark = pytest.mark.django_db(transaction=True)


async def watch(streams: Streams, cast: Cast, greeted: Callable[[], object]) -> list[Message]:
    """Open a stream of a cast's; return all that it said until its end."""
    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)
        if b"hello" in message.get("body", b""):
            greeted()

    scope = {
        "type": "http",
        "method": "GET",
        "path": stream.PATH,
        "query_string": b"",
        "headers": [(b"x-api-key", cast.api_key.encode())],
    }
    await asyncio.wait_for(streams(scope, asyncio.Event().wait, send), 5)
    return said


def test_a_stream_ends_when_the_server_is_told_to_stop(acme: Cast) -> None:
    heard: list[int] = []

    async def serve() -> list[Message]:
        streams = Streams()
        stopping.on_stop(streams.end)
        said = await watch(streams, acme, lambda: signal.raise_signal(signal.SIGTERM))
        late = await watch(streams, acme, streams.end)
        await streams.close()
        return [*said, late[0]]

    before = {
        number: signal.signal(number, lambda number, frame: heard.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        *_, last, late = asyncio.run(serve())
        signal.raise_signal(signal.SIGINT)  # once the server has ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert heard == [signal.SIGTERM, signal.SIGINT]
    assert last == {"type": "http.response.body", "body": b"", "more_body": False}
    assert late["status"] == 503


def test_a_rush_does_not_pass_the_limit(acme: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SIGMA_STREAMS", 1)

    async def rush() -> list[int]:
        streams = Streams()
        each = [watch(streams, acme, streams.end) for _ in range(3)]
        said = await asyncio.gather(*each)
        await streams.close()
        return sorted(one[0]["status"] for one in said)

    assert asyncio.run(rush()) == [200, 503, 503]
