"""``make attack``: an anonymous attacker for ten minutes, beside callbacks and calls of the API.

Headers without an end, half requests, silence, requests sent ahead, bodies that do not come or come
byte by byte, sign-ins, refused documents, wrong signatures, paths that are not there and made-up
links, all at once against a real web process; 200 callbacks and 20 pages of GraphQL a second must
not notice.
"""

from __future__ import annotations

# First, because what follows needs Django's apps.
from sigma.ready import IS_READY

# isort: split
import argparse
import asyncio
import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import httpx
import uvloop

from benchmarks import engines, product
from benchmarks.load import Generator, Outcome
from benchmarks.processes import Server
from benchmarks.product import Product
from benchmarks.reading import Reader
from benchmarks.report import Figure, save, show

__all__ = ("IS_READY", "main")

CALLBACKS, CALLS, READERS = 200, 20, 4
# Connections of each kind of attack, and how long each waits between two attempts. Faster ones
# would measure how this machine's two cores are shared.
ATTACKERS, PAUSE = 4, 0.05
# Connections that do nothing, or nothing more.
IDLE = 250
MEGABYTE = 1_000_000
HEAD = b"POST /webhooks/whatsapp/demo HTTP/1.1\r\nHost: 127.0.0.1\r\n"
SIGNED = b"X-Hub-Signature-256: sha256=" + b"0" * 64 + b"\r\n"
TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="([^"]+)"')
COOKIE = re.compile(rb"set-cookie: ([^;]+)", re.IGNORECASE)

Attack = Callable[["Line"], Awaitable[None]]


class Line:
    """One connection of the attacker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Send, as fast as it is taken."""
        self._writer.write(data)
        await self._writer.drain()

    async def read(self) -> bytes:
        """Return what comes until the other side closes, or nothing more comes."""
        answer = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                while piece := await self._reader.read(65_536):
                    answer += piece
        return answer

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def _flood(line: Line, start: bytes, piece: bytes) -> None:
    await line.send(start)
    for _ in range(20 * MEGABYTE // len(piece)):
        await line.send(piece)


async def _ask(line: Line, head: bytes, body: bytes = b"", *fields: bytes) -> bytes:
    lines = [head, b"Host: 127.0.0.1", b"Content-Length: %d" % len(body), *fields]
    await line.send(b"\r\n".join([*lines, b"Connection: close", b"", body]))
    return await line.read()


async def short_headers(line: Line) -> None:
    """Send headers without an end."""
    await _flood(line, HEAD, b"a: b\r\n" * 5_000)


async def one_header(line: Line) -> None:
    """Send one header without an end."""
    await _flood(line, HEAD + b"a: ", b"b" * 65_536)


async def one_trailer(line: Line) -> None:
    """Send a trailer without an end."""
    chunked = HEAD + SIGNED + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\na: "
    await _flood(line, chunked, b"b" * 65_536)


async def half_request(line: Line) -> None:
    """Begin a request and leave it there."""
    await line.send(HEAD)
    await line.read()


async def silence(line: Line) -> None:
    """Say nothing."""
    await line.read()


async def slow_body(line: Line) -> None:
    """Announce a body that does not come."""
    await line.send(HEAD + SIGNED + b"Content-Length: 3000000\r\n\r\n{")
    await line.read()


async def crumbs(line: Line) -> None:
    """Send a body in chunks of one byte."""
    chunked = HEAD + SIGNED + b"Transfer-Encoding: chunked\r\n\r\n"
    await _flood(line, chunked, b"1\r\n{\r\n" * 10_000)


async def sent_ahead(line: Line) -> None:
    """Send thousands of requests before the first answer."""
    await line.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 5_000)
    await line.read()


async def sign_in(line: Line) -> None:
    """Sign in with a wrong password, with the token of the page."""
    await line.send(b"GET /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    page = b""
    async with asyncio.timeout(20):
        while b"</html>" not in page:
            page += await line._reader.read(65_536)
    token, cookie = TOKEN.search(page), COOKIE.search(page)
    if token is None or cookie is None:
        return
    form = b"username=admin&password=wrong-password&csrfmiddlewaretoken=" + token[1]
    await _ask(
        line,
        b"POST /admin/login/ HTTP/1.1",
        form,
        b"Cookie: " + cookie[1],
        b"Content-Type: application/x-www-form-urlencoded",
    )


async def refused_document(line: Line) -> None:
    """Ask GraphQL for everything, without a key."""
    document = json.dumps({"query": "{" + "a: messages { nodes { id } } " * 5_000 + "}"}).encode()
    await _ask(line, b"POST /graphql HTTP/1.1", document, b"Content-Type: application/json")


async def wrong_signature(line: Line) -> None:
    """Post a callback with a signature that does not fit."""
    await _ask(line, HEAD.partition(b"\r\n")[0], b" " * 100_000, SIGNED.strip())


async def nowhere(line: Line) -> None:
    """Ask for a path that is not there."""
    await _ask(line, b"GET /wp-login.php HTTP/1.1")


async def made_up_link(line: Line) -> None:
    """Ask for a file that nobody gave a link to."""
    await _ask(line, b"GET /media/00000000-0000-0000-0000-000000000000?token=a:b:c HTTP/1.1")


IDLING: tuple[Attack, ...] = (half_request, silence)
ATTACKS: tuple[Attack, ...] = (
    short_headers,
    one_header,
    one_trailer,
    slow_body,
    crumbs,
    sent_ahead,
    sign_in,
    refused_document,
    wrong_signature,
    nowhere,
    made_up_link,
)


async def _attack(port: int, seconds: float, attackers: int, only: str) -> Counter[str]:
    """Attack for a while; return how often what was tried."""
    tried: Counter[str] = Counter()
    until = time.monotonic() + seconds

    async def repeat(attack: Attack) -> None:
        while time.monotonic() < until:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                line = Line(*await asyncio.open_connection("127.0.0.1", port))
                tried[attack.__name__] += 1
                try:
                    await attack(line)
                finally:
                    line.close()
            await asyncio.sleep(PAUSE)

    kinds = [one for one in (*ATTACKS * attackers, *IDLING * IDLE) if only in one.__name__]
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds + 1), asyncio.TaskGroup() as group:
            for attack in kinds:
                group.create_task(repeat(attack))
    return tried


@dataclass(slots=True)
class Calls:
    """What honest callers of the API met: seconds to each answer, and refusals."""

    seconds: list[float] = field(default_factory=list)
    failures: int = 0

    def milliseconds(self, share: float) -> float:
        """Return the latency that ``share`` of them kept to."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0


@contextmanager
def _calling(installed: Product, url: str) -> Iterator[Calls]:
    """Read pages at fixed times; a latency counts from the moment a call was due."""
    calls, stop = Calls(), threading.Event()

    def call(offset: float) -> None:
        reader, start = Reader(installed, url), time.perf_counter() + offset
        for number in count():
            due = start + number * READERS / CALLS
            if stop.wait(max(0.0, due - time.perf_counter())):
                return
            try:
                reader.first_page()
                calls.seconds.append(time.perf_counter() - due)
            except (OSError, http.client.HTTPException, AssertionError, ValueError):
                calls.failures += 1
                reader = Reader(installed, url)

    threads = [threading.Thread(target=call, args=(n / CALLS,)) for n in range(READERS)]
    for thread in threads:
        thread.start()
    yield calls
    stop.set()
    for thread in threads:
        thread.join()


def _resident(server: Server) -> int:
    """Return the most memory that a process of a server has had, in bytes."""
    most = 0
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            status = (entry / "status").read_text() if entry.name.isdigit() else ""
            facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            if str(server.pid) in (facts.get("Pid"), facts.get("PPid")):
                most = max(most, int(facts["VmHWM"].split()[0]) * 1024)
    return most


def _measure(
    installed: Product, *, seconds: float, judges_times: bool, attackers: int, only: str
) -> list[Figure]:
    web, url = installed.web()
    worker = installed.worker()
    port = int(url.rpartition(":")[2])
    try:
        spec = replace(
            installed.spec(url, count=max(1, int(CALLBACKS * seconds))),
            rate=CALLBACKS,
            connections=16,
        )
        generator = Generator(spec)
        argv = (
            sys.executable,
            "-m",
            "benchmarks.attack",
            "--port",
            str(port),
            "--minutes",
            str(seconds / 60),
            "--attackers",
            str(attackers),
            "--only",
            only,
        )
        with _calling(installed, url) as calls:
            attacker = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
            generator.fire()
            outcome = generator.outcome()
            tried = json.loads(attacker.communicate()[0])
        refused = httpx.get(f"{url}/healthz", timeout=30).json().get("refused", {})
        memory = _resident(web)
    finally:
        worker.stop()
        web.stop()
    return _figures(outcome, calls, tried, refused, memory, judges_times)


def _figures(
    outcome: Outcome,
    calls: Calls,
    tried: dict[str, int],
    refused: dict[str, int],
    memory: int,
    judges_times: bool,
) -> list[Figure]:
    def most(target: float, *, is_time: bool = True) -> float | None:
        return target if judges_times or not is_time else None

    beside, group = f"{CALLBACKS} callbacks/s", "an anonymous attacker"
    others = " ".join(f"{code}: {n}" for code, n in outcome.codes.items() if code != 200)
    figures = [
        Figure(beside, "accepted", outcome.accepted),
        Figure(beside, "refused or unanswered", outcome.refused, "", 0, False, note=others),
        Figure(beside, "answer p50", outcome.milliseconds(0.5), "ms"),
        Figure(beside, "answer p99", outcome.milliseconds(0.99), "ms", most(50), at_least=False),
    ]
    beside = f"{CALLS} API calls/s"
    figures += [
        Figure(beside, "answered", len(calls.seconds)),
        Figure(beside, "refused or unanswered", calls.failures, "", 0, at_least=False),
        Figure(beside, "answer p50", calls.milliseconds(0.5), "ms"),
        Figure(beside, "answer p99", calls.milliseconds(0.99), "ms", most(500), at_least=False),
        Figure("web", "most memory", memory / MEGABYTE, "MB", 400, at_least=False),
    ]
    figures += [Figure(group, name, tried[name]) for name in sorted(tried)]
    return figures + [Figure("refused", name, refused[name]) for name in sorted(refused)]


def main() -> int:
    """Run, print the table, return the exit code."""
    options = _options()
    seconds = options.minutes * 60
    if options.port:
        print(
            json.dumps(uvloop.run(_attack(options.port, seconds, options.attackers, options.only)))
        )
        return 0
    with engines.running() as found:
        installed = product.install(found)
        figures = _measure(
            installed,
            seconds=seconds,
            judges_times=not options.no_times,
            attackers=options.attackers,
            only=options.only,
        )
    show(figures, title=f"{options.minutes:g} minutes of an anonymous attacker")
    if options.json:
        save(figures, Path(options.json))
    return 1 if any(figure.verdict == "MISS" for figure in figures) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make attack", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON, too")
    parser.add_argument(
        "--no-times", action="store_true", help="do not judge times: the machine is busy"
    )
    parser.add_argument("--attackers", type=int, default=ATTACKERS, help="of each kind")
    parser.add_argument("--only", default="", help="kinds of attack with this in their name")
    parser.add_argument("--port", type=int, help="be the attacker of a server at this port")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
