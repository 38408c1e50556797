"""Whether a failed send had left: "not sent" only where no byte of the request can have."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import ExitStack, suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.whatsapp import graph
from tests.whatsapp.wires import (
    REQUEST,
    Serve,
    answering,
    channel,
    read_request,
    response,
    self_signed,
    send_to,
    serving,
)
from workspaces.channel_errors import ChannelError, OutcomeUnknown, Unavailable

ACCEPTED = {"messages": [{"id": "wamid.X"}]}
WHOLE = response(ACCEPTED)


def fail_at(url: str, settings) -> ChannelError:
    settings.SIGMA_GRAPH_URL = url
    with pytest.raises(ChannelError) as caught:
        asyncio.run(channel().send(REQUEST))
    return caught.value


def fail_with(serve: Serve, settings) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        send_to(serve, settings)
    return caught.value


def test_it_was_not_sent_when_nobody_listens(settings) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

    assert type(fail_at(f"http://127.0.0.1:{port}/v26.0", settings)) is Unavailable


def test_it_was_not_sent_when_the_name_is_unknown(settings) -> None:
    assert type(fail_at("http://graph.invalid/v26.0", settings)) is Unavailable


async def _speaks_no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def _is_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


def fail_over_tls(serve: Serve, settings, tls: ssl.SSLContext | None = None) -> ChannelError:
    async def run() -> None:
        async with serving(serve, tls) as port:
            settings.SIGMA_GRAPH_URL = f"https://127.0.0.1:{port}/v26.0"
            await channel().send(REQUEST)

    with pytest.raises(ChannelError) as caught:
        asyncio.run(run())
    return caught.value


def test_it_was_not_sent_when_the_handshake_fails(settings) -> None:
    assert type(fail_over_tls(_speaks_no_tls, settings)) is Unavailable


def test_it_was_not_sent_when_the_handshake_does_not_end(settings, monkeypatch) -> None:
    monkeypatch.setattr(graph, "TIMEOUT", httpx.Timeout(5, connect=0.1))

    assert type(fail_over_tls(_is_silent, settings)) is Unavailable


def test_it_was_not_sent_to_somebody_without_a_good_certificate(settings) -> None:
    seen: list[bytes] = []

    error = fail_over_tls(answering(WHOLE, seen), settings, self_signed())

    assert (type(error), seen) == (Unavailable, [])
    assert "Certificate" in str(error)


def test_it_was_not_sent_when_the_connection_is_not_made_in_time(settings, monkeypatch) -> None:
    monkeypatch.setattr(graph, "TIMEOUT", httpx.Timeout(5, connect=0.1))
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        with full_backlog(deaf.getsockname()):
            error = fail_at(f"http://127.0.0.1:{deaf.getsockname()[1]}/v26.0", settings)

    assert type(error) is Unavailable


def test_it_was_not_sent_when_no_connection_becomes_free(settings, monkeypatch) -> None:
    settings.SIGMA_SEND_CONCURRENCY = 1
    monkeypatch.setattr(graph, "TIMEOUT", httpx.Timeout(5, pool=0.1))
    seen: list[bytes] = []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        await asyncio.sleep(0.3)
        writer.write(response(ACCEPTED))

    async def run() -> list[object]:
        async with serving(slow) as port:
            settings.SIGMA_GRAPH_URL = f"http://127.0.0.1:{port}/v26.0"
            sends = (channel().send(REQUEST) for _ in range(2))
            return await asyncio.gather(*sends, return_exceptions=True)

    first, second = asyncio.run(run())

    assert (type(second), len(seen)) == (Unavailable, 1), first


async def _closes_before_reading(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _closes_after_reading(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await read_request(reader)


async def _resets_after_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.transport.abort()


def _says(content: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(content)

    return serve


AMBIGUOUS: dict[str, Serve] = {
    "closed before reading": _closes_before_reading,
    "closed after reading": _closes_after_reading,
    "reset after reading": _resets_after_reading,
    "half a status line": _says(b"HTTP/1.1 20"),
    "half the headers": _says(WHOLE[:25]),
    "half the body": _says(WHOLE[:-3]),
    "half a chunk": _says(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{"),
    "a broken chunk": _says(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    "no HTTP": _says(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "bytes": _says(bytes(range(256))),
    "endless headers": _says(b"HTTP/1.1 200 x\r\nX: " + b"x" * 100_000),
    "two lengths": _says(b"HTTP/1.1 200 x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a false encoding": _says(response(b"not gzip", content_encoding="gzip")),
    "no JSON": _says(response(b"<html>")),
    "a list": _says(response([])),
    "no message id": _says(response({"messages": [{}]})),
    "an empty answer": _says(response(b"")),
    "no content": _says(b"HTTP/1.1 204 x\r\n\r\n"),
    "too long": _says(response(b" " * 300_000)),
    "500 of a proxy": _says(response(b"<html>", 500)),
    "502": _says(response(b"", 502)),
    "504": _says(response({"message": "Endpoint request timed out"}, 504)),
    "408": _says(response(b"", 408)),
    "an error without a code": _says(response({"error": "x"}, 500)),
}


@pytest.mark.parametrize("serve", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_it_does_not_know_once_the_request_may_have_left(serve: Serve, settings) -> None:
    assert type(fail_with(serve, settings)) is OutcomeUnknown


def test_it_does_not_know_when_no_answer_comes_in_time(settings, monkeypatch) -> None:
    monkeypatch.setattr(graph, "TIMEOUT", httpx.Timeout(0.1))

    assert type(fail_with(_is_silent, settings)) is OutcomeUnknown


def test_it_does_not_wait_for_an_answer_that_trickles_in(settings, monkeypatch) -> None:
    monkeypatch.setattr(graph, "TOTAL_SECONDS", 0.2)

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 x\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    assert type(fail_with(trickle, settings)) is OutcomeUnknown


def test_it_asks_once_even_when_a_kept_connection_turns_out_dead(settings) -> None:
    """A library that repeats by itself would make two messages of one."""
    seen: list[bytes] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(WHOLE)
        await writer.drain()
        seen.append(await read_request(reader))

    async def run() -> None:
        async with serving(once) as port:
            settings.SIGMA_GRAPH_URL = f"http://127.0.0.1:{port}/v26.0"
            await channel().send(REQUEST)
            await channel().send(REQUEST)

    with pytest.raises(OutcomeUnknown):
        asyncio.run(run())
    assert len(seen) == 2


def test_it_tells_nothing_of_the_token_or_the_recipient(settings) -> None:
    error = fail_with(_closes_after_reading, settings)

    assert "EAAG" not in repr(error) + str(error)
    assert error.__cause__ is None


def test_it_keeps_few_connections_for_files_and_opens_as_many_as_are_wanted() -> None:
    """An idle one costs a place at the other end; 25 at once are served all the same."""
    opened: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(1)
        await answering(WHOLE)(reader, writer)

    def fetch(client: httpx.Client, url: str) -> int:
        with ExitStack() as stack:
            answers = [stack.enter_context(client.stream("GET", url)) for _ in range(25)]
            for answer in answers:
                answer.read()
        return len(opened)

    async def run() -> tuple[int, int]:
        async with serving(serve) as port:
            with graph.downloads.__wrapped__() as client:  # not the one that others have used
                args = fetch, client, f"http://127.0.0.1:{port}/file"
                return await asyncio.to_thread(*args), await asyncio.to_thread(*args)

    assert asyncio.run(run()) == (25, 30)


class full_backlog:
    """Fill the queue of a socket that accepts nobody, so that the next one waits."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address, self.waiting = address, []

    def __enter__(self) -> None:
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(self.address)
            self.waiting.append(client)

    def __exit__(self, *_: object) -> None:
        for client in self.waiting:
            client.close()


@given(whole=st.binary(max_size=64), size=st.integers(1, 9), offset=st.integers(0, 70))
def test_the_rest_of_a_file_is_what_follows_an_offset(whole: bytes, size: int, offset: int) -> None:
    pieces = (whole[start : start + size] for start in range(0, len(whole), size))

    assert b"".join(graph._rest(pieces, offset)) == whole[offset:]
