from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from connectors.simulator.client import Load, LoadPlan, LoadReport, NothingListens
from connectors.simulator.wire import NotLoopback, status_of, target
from connectors.whatsapp.wire.signature import verify

SECRET = b"an app secret of the tests"
Reply = Callable[[int, bytes], Awaitable[bytes | None]]


def answer(status: int = 200) -> bytes:
    return f"HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\nok".encode()


async def always(_: int, __: bytes) -> bytes:
    return answer()


class Server:
    """Answers each request with what ``reply(number, request)`` returns; ``None`` hangs up."""

    def __init__(self, reply: Reply) -> None:
        self.requests: list[bytes] = []
        self._reply = reply

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                reply = await self._reply(len(self.requests), self.requests[-1])
                if reply is None:
                    break
                writer.write(reply)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(reply: Reply = always) -> AsyncIterator[tuple[Server, int]]:
    server = Server(reply)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    try:
        yield server, listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


def bodies(port: int, count: int) -> Iterator[bytes]:
    there = target(f"http://127.0.0.1:{port}/hook", SECRET)
    return (there.request(b'{"n":%d}' % n) for n in range(count))


async def send(port: int, count: int, plan: LoadPlan, **more: object) -> LoadReport:
    there = target(f"http://127.0.0.1:{port}/hook", SECRET)
    load = Load(there, bodies(port, count), plan, **more)  # type: ignore[arg-type]
    return await asyncio.wait_for(load.run(), 20)


def test_it_sends_everything_once_over_few_connections() -> None:
    async def scenario() -> tuple[Server, LoadReport]:
        async with listening() as (server, port):
            return server, await send(port, 50, LoadPlan(connections=4))

    server, report = asyncio.run(scenario())
    assert report.codes == {200: 50}
    assert len(report.latencies) == report.sent == len(set(server.requests)) == 50


def test_it_signs_the_raw_bytes() -> None:
    head, _, body = next(bodies(1, 1)).partition(b"\r\n\r\n")
    header = head.split(b"X-Hub-Signature-256: ")[1].split(b"\r\n")[0]
    verify(body, header, [SECRET])


def test_it_keeps_to_the_rate() -> None:
    async def scenario() -> LoadReport:
        async with listening() as (_, port):
            return await send(port, 100, LoadPlan(connections=4, rate=400))

    report = asyncio.run(scenario())
    assert report.codes == {200: 100}
    assert report.seconds > 0.24


def test_it_counts_the_wait_of_requests_that_a_stalled_server_holds_up() -> None:
    async def stalls_at_first(number: int, _: bytes) -> bytes:
        if number == 1:
            await asyncio.sleep(0.3)
        return answer()

    async def scenario() -> LoadReport:
        async with listening(stalls_at_first) as (_, port):
            return await send(port, 50, LoadPlan(connections=1, rate=500))

    assert asyncio.run(scenario()).quantile(0.5) > 0.15


def test_it_sends_again_what_was_refused_or_cut_off() -> None:
    async def fails_twice(number: int, _: bytes) -> bytes | None:
        return {1: answer(503), 2: None}.get(number, answer())

    async def scenario() -> LoadReport:
        async with listening(fails_twice) as (_, port):
            return await send(port, 5, LoadPlan(connections=1, retry=True))

    report = asyncio.run(scenario())
    assert report.codes == {503: 1, 0: 1, 200: 5}
    assert (report.retried, report.gave_up) == (2, 0)


def test_it_sends_nothing_again_that_was_answered_as_it_should_be() -> None:
    async def makes_it(number: int, _: bytes) -> bytes:
        return answer(201 if number % 2 else 200)

    async def scenario() -> LoadReport:
        async with listening(makes_it) as (_, port):
            return await send(port, 4, LoadPlan(connections=1, retry=True, accepts=(200, 201)))

    report = asyncio.run(scenario())
    assert report.codes == {201: 2, 200: 2}
    assert (report.retried, len(report.latencies)) == (0, 4)


def test_it_counts_refusals_without_sending_again_when_not_asked() -> None:
    async def refuses(_: int, __: bytes) -> bytes:
        return answer(503)

    async def scenario() -> LoadReport:
        async with listening(refuses) as (_, port):
            return await send(port, 5, LoadPlan(connections=2))

    report = asyncio.run(scenario())
    assert report.codes == {503: 5}
    assert report.gave_up == 5


def test_it_says_who_was_answered() -> None:
    heard: list[tuple[int, int]] = []

    async def scenario() -> None:
        async with listening() as (_, port):
            await send(port, 3, LoadPlan(), on_answer=lambda i, status: heard.append((i, status)))

    asyncio.run(scenario())
    assert sorted(heard) == [(0, 200), (1, 200), (2, 200)]


def test_it_says_that_nothing_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(NothingListens, match="make up"):
            asyncio.run(send(port, 1, LoadPlan()))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/webhooks",
        "https://127.0.0.1/x",
        "http://10.0.0.1:8000/",
        "http://127.0.0.1.example.com/",
        "http://127.0.0.1@example.com/",
        "http://localhost.example.com/",
        "ftp://127.0.0.1/",
        "http://127.0.0.1:99999/",
        "",
    ],
)
def test_it_refuses_to_talk_to_another_machine(url: str) -> None:
    with pytest.raises(NotLoopback, match="this machine"):
        target(url, SECRET)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1.2.3"])
def test_it_talks_to_this_machine(host: str) -> None:
    assert target(f"http://{host}:8000/a?b=c", SECRET).path == "/a?b=c"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        (b"HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\nab", 503),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", None),
        (b"HTTP/1.1 401 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 401),
        (b"HTTP/1.1 200", None),
    ],
)
def test_it_reads_an_answer_to_its_end(raw: bytes, status: int | None) -> None:
    assert status_of(raw) == status
