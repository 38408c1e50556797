"""Heads, waiting and connections are bounded, whatever a caller sends, and others do not notice."""

from __future__ import annotations

import ast
import asyncio
import gc
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from connectors.whatsapp.models import WebhookDelivery
from connectors.whatsapp.receiver import PATH
from connectors.whatsapp.wire.signature import sign
from lib.requests import Answer, Receive, Scope, Send
from sigma import door, heads, sender
from sigma.asgi import Application
from sigma.heads import Bounded, Limits
from tests.conftest import Cast
from tests.whatsapp.conftest import Web, serving

pytestmark = pytest.mark.django_db(transaction=True)

MEGABYTE = 1_000_000
# Nobody who is let go of waits as long as this, however busy the machine is.
PATIENCE = 60.0

ROOT = Path(__file__).resolve().parents[2]
FEW_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
from sigma import heads
print(heads.configured().connections)
"""

Dial = Callable[..., socket.socket]


@pytest.fixture
def dial() -> Iterator[Callable[[int], socket.socket]]:
    """Open a connection to a port."""
    with ExitStack() as lines:

        def to(port: int) -> socket.socket:
            line = lines.enter_context(socket.create_connection(("127.0.0.1", port)))
            line.settimeout(PATIENCE)
            return line

        yield to


def read_all(line: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    answer = b""
    with suppress(ConnectionError):
        while piece := line.recv(65_536):
            answer += piece
    return answer


def flood(line: socket.socket, start: bytes, piece: bytes, *, size: int) -> bytes:
    """Send ``piece`` again and again, ``size`` bytes unless it is refused; return the answer.

    A refusal may be lost where the other side closes with input that it has not read.
    """
    line.sendall(start)
    block = piece * max(1, 65_536 // len(piece))
    with suppress(ConnectionError):
        for _ in range(size // len(block)):
            line.sendall(block)
        line.sendall(b"\r\n\r\n")
    return read_all(line)


def resident() -> int:
    """Return the memory of this process, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


HEAD = b"POST /webhooks/whatsapp/acme HTTP/1.1\r\nHost: a\r\n"
CHUNKED = (
    HEAD + b"X-Hub-Signature-256: sha256=" + b"0" * 64 + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
)
ENDLESS = {
    "short headers": (HEAD, b"a: b\r\n"),
    "one header": (HEAD + b"a: ", b"b" * 100),
    "one name": (HEAD, b"b" * 100),
    "a path": (b"GET /", b"b" * 100),
    "blank lines": (b"", b"\r\n"),
    "a trailer": (CHUNKED + b"2\r\n{}\r\n0\r\na: ", b"b" * 100),
    "short trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"a: b\r\n"),
    "a chunk's extension": (CHUNKED + b"2;a=", b"b" * 100),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_it_takes_no_end_of_nothing(acme: Cast, web: Web, dial: Dial, what: str) -> None:
    assert web.post(acme, b"{}").status_code == 200
    start, piece = ENDLESS[what]
    before = resident()

    answer = flood(dial(web.port), start, piece, size=100 * MEGABYTE)

    assert answer[:12] in (b"", b"HTTP/1.1 431", b"HTTP/1.1 400")
    assert resident() - before < 40 * MEGABYTE
    assert web.post(acme, b"{}").status_code == 200


@pytest.mark.parametrize(
    "fields", [b"a: b\r\n" * 101, b"a: " + b"b" * 33_000 + b"\r\n"], ids=["many", "large"]
)
def test_it_refuses_a_head_that_is_complete_and_too_large(
    web: Web, dial: Dial, fields: bytes
) -> None:
    line = dial(web.port)
    line.sendall(HEAD + fields + b"\r\n")
    assert read_all(line).startswith(b"HTTP/1.1 431 ")


def test_it_refuses_a_hundred_thousand_headers_that_come_in_pieces(web: Web, dial: Dial) -> None:
    answer = flood(dial(web.port), HEAD, b"a: b\r\n", size=600_000)
    assert answer[:12] in (b"", b"HTTP/1.1 431")


def test_it_takes_as_large_a_head_as_browsers_and_proxies_send(acme: Cast, web: Web) -> None:
    headers = {f"X-{number}": "v" * 300 for number in range(90)}
    assert web.post(acme, b"{}", **headers).status_code == 200


def test_it_does_not_take_a_trailer_for_a_header(acme: Cast, web: Web, dial: Dial) -> None:
    line = dial(web.port)
    signed = b"X-Hub-Signature-256: " + sign(b"{}", acme.app_secret.encode()).encode()

    line.sendall(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + signed + b"\r\n\r\n"
    )

    assert line.recv(1000).startswith(b"HTTP/1.1 401 ")
    assert not WebhookDelivery.objects.exists()


def test_it_answers_some_requests_that_are_sent_ahead_and_not_any_number(
    web: Web, dial: Dial
) -> None:
    request = b"GET /webhooks/whatsapp/acme HTTP/1.1\r\nHost: a\r\n\r\n"
    line = dial(web.port)
    line.sendall(request * 5 + request.replace(b"Host: a", b"Connection: close"))
    assert read_all(line).count(b"HTTP/1.1 403 ") == 6

    greedy = dial(web.port)
    with suppress(ConnectionError):
        greedy.sendall(request * 5_000)
    assert read_all(greedy).count(b"HTTP/1.1 403 ") <= 10


def test_it_parses_little_of_what_it_is_going_to_refuse(transactional_db: None, dial: Dial) -> None:
    parsed = 0

    class Counting(Bounded):
        def on_header(self, name: bytes, value: bytes) -> None:
            nonlocal parsed
            parsed += 1
            super().on_header(name, value)

    with serving(Application(), http=Counting) as port:
        flood(dial(port), HEAD, b"a: b\r\n", size=MEGABYTE)

    assert 100 < parsed < 3_000


def test_it_does_not_write_a_line_for_each_of_those_who_send_ahead_and_leave(
    transactional_db: None, dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(Application()) as port:  # until all are answered
        for _ in range(20):
            line = dial(port)
            with suppress(ConnectionError):
                line.sendall(b"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 5_000)
            line.close()

    assert not [r.getMessage() for r in caplog.records if r.name == "uvicorn.error"]


class Impatient(Bounded):
    """The bounds on time, a little shorter."""

    limits = Limits(sweep_seconds=0.1, head_sweeps=20, unread_sweeps=20)


def test_it_lets_go_of_everybody_who_keeps_it_waiting(
    transactional_db: None, acme: Cast, dial: Dial
) -> None:
    with serving(Application(), http=Impatient) as port:
        web = Web(port)
        silent = [dial(port) for _ in range(200)]
        halves = [dial(port) for _ in range(50)]
        for line in halves:
            line.sendall(HEAD)
        # Refused before its body, which never comes.
        unread = dial(port)
        unread.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        refusal = b""
        while not refusal.endswith(b"Unauthorized\n"):
            piece = unread.recv(1_000)
            assert piece, refusal
            refusal += piece
        assert refusal.startswith(b"HTTP/1.1 401 ")
        # Something comes all the time, and never enough.
        dribbling, until = dial(port), time.monotonic() + PATIENCE
        dribbling.sendall(HEAD)
        with suppress(ConnectionError):
            while time.monotonic() < until:
                dribbling.sendall(b"a: b\r\n")
                assert web.post(acme, b"{}").status_code == 200
                time.sleep(0.05)  # else it ends by its size
        assert time.monotonic() < until

        assert {read_all(line) for line in silent} == {b""}
        assert {read_all(line)[:13] for line in halves} == {b"HTTP/1.1 408 "}
        assert read_all(unread) == b""
        assert web.post(acme, b"{}").status_code == 200
        web.client.close()
    assert heads.refused["silent"] >= 200
    assert heads.refused["head_too_late"] >= 50


def test_it_ends_a_connection_that_says_no_more_after_as_long_as_is_set(
    settings, dial: Dial
) -> None:
    settings.SIGMA_KEEPALIVE_SECONDS = 1

    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        await Answer(200).send(send)

    with serving(answers) as port:
        line, began = dial(port), time.monotonic()
        line.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_all(line).startswith(b"HTTP/1.1 200 ")
    assert 0.9 < time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"SIGMA_PROXIES": "0"}, "5"),
        ({"SIGMA_PROXIES": "1"}, "130"),
        ({"SIGMA_PROXIES": "1", "SIGMA_KEEPALIVE_SECONDS": "905"}, "905"),
    ],
)
def test_it_waits_longer_for_a_proxy_than_a_proxy_waits(
    given: dict[str, str], seconds: str
) -> None:
    script = "from sigma import heads; print(heads.configured().idle_seconds)"
    said = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **given},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.strip() == seconds


def test_the_sender_service_has_the_same_bounds() -> None:
    assert sender.config(sender.SenderApplication(), host="127.0.0.1", port=0).http is Bounded


def is_open(line: socket.socket) -> bool:
    """Whether a request on this connection is answered."""
    with suppress(OSError):
        line.sendall(b"GET /webhooks/whatsapp/acme HTTP/1.1\r\nHost: a\r\n\r\n")
        return line.recv(1_000).startswith(b"HTTP/1.1 403 ")
    return False


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(connections=10), "too_many_connections"),
        (Limits(per_address=10, bounds_loopback=True), "too_many_of_one_address"),
    ],
    ids=["all", "one address"],
)
def test_it_holds_only_so_many_connections_and_counts_those_that_end(
    transactional_db: None, dial: Dial, limits: Limits, reason: str
) -> None:
    bounded = type("Few", (Bounded,), {"limits": limits})
    before = heads.refused[reason]
    with serving(Application(), http=bounded) as port:
        lines = [dial(port) for _ in range(30)]
        assert sum(is_open(line) for line in lines) == 10
        assert heads.refused[reason] - before == 20

        for line in lines:
            line.close()
        until = time.monotonic() + PATIENCE
        while not is_open(dial(port)):  # the server hears of their end in its own time
            assert time.monotonic() < until


@pytest.mark.parametrize(
    ("may_open", "may_raise_to", "connections"),
    [(256, 4_096, 3_796), (1_024, 20_000, 10_000), (256, 256, 128)],
)
def test_it_serves_many_where_a_shell_lets_it_open_few_files(
    may_open: int, may_raise_to: int, connections: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FEW_FILES, str(may_open), str(may_raise_to)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == connections


def test_it_is_not_taken_for_hanging_while_it_is_full(
    transactional_db: None, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded = type("Full", (Bounded,), {"limits": Limits(connections=1)})
    with serving(Application(), http=bounded) as port, dial(port):
        assert door.status_of(("127.0.0.1", port), "/healthz") == 0
        assert door.answers(("127.0.0.1", port), PATH), "full"
    monkeypatch.setattr(door, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        assert not door.answers(hanging.getsockname(), PATH)


def test_it_holds_only_so_much_of_all_heads_together(
    transactional_db: None, acme: Cast, dial: Dial
) -> None:
    bounded = type("Full", (Bounded,), {"limits": Limits(all_heads_bytes=100_000)})
    with serving(Application(), http=bounded) as port:
        lines = [dial(port) for _ in range(8)]
        for line in lines:
            with suppress(ConnectionError):
                line.sendall(HEAD + b"a: " + b"b" * 20_000)
        served = Web(port)
        assert served.post(acme, b"{}").status_code == 200
        served.client.close()
        for line in lines:
            line.shutdown(socket.SHUT_WR)
        answers = [read_all(line)[:13] for line in lines]
        assert answers.count(b"HTTP/1.1 503 ") >= 2
        assert answers.count(b"") >= 3


async def large(scope: dict, receive: Callable, send: Callable) -> None:
    """Answer with 20 MB in one piece."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 20 * MEGABYTE})


def test_it_does_not_hold_an_answer_that_nobody_reads(dial: Dial) -> None:
    before = heads.refused["answer_unread"]
    with serving(large, http=Impatient) as port:
        stuck, slow = dial(port), dial(port)
        for line in (stuck, slow):
            line.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until = time.monotonic() + PATIENCE
        taken = 0
        while heads.refused["answer_unread"] == before:
            taken += len(slow.recv(65_536))
            assert time.monotonic() < until
            time.sleep(0.01)
        rest = 20 * MEGABYTE - taken
        while rest > 0:
            rest -= len(slow.recv(MEGABYTE)) or 20 * MEGABYTE
        assert rest > -1_000  # the head; who reads slowly gets it all


def test_it_uses_of_uvicorn_what_is_there() -> None:
    config = uvicorn.Config(large, http=HttpToolsProtocol, ws="none")
    loop = asyncio.new_event_loop()
    stock = HttpToolsProtocol(config=config, server_state=ServerState(), app_state={}, _loop=loop)
    stock.on_message_begin()
    loop.close()
    tree = ast.parse(Path(heads.__file__).read_text())
    ours = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Bounded")
    own = {node.name for node in ours.body if isinstance(node, ast.FunctionDef)}
    assigned = {
        node.attr
        for node in ast.walk(ours)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    used = {
        node.attr
        for node in ast.walk(ours)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "super()")
    }
    borrowed = (
        (used - own - assigned - {"limits", "_halls"})
        | {name for name in own if not name.startswith("_") and name != "sweep"}
        | {"headers", "parser", "_start_asgi_task"}
    )
    assert {"parser", "cycle", "pipeline", "data_received", "connections"} <= borrowed
    assert not [name for name in borrowed if not hasattr(stock, name)]


def test_it_tells_once_a_minute_whom_it_refused(
    transactional_db: None, dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    bounded = type("Telling", (Bounded,), {"limits": Limits(sweep_seconds=0.05, log_sweeps=2)})
    with serving(Application(), http=bounded) as port:
        for _ in range(3):
            flood(dial(port), HEAD, b"a: b\r\n", size=MEGABYTE)
        heads.refused["file_unread"] += 1  # the application counts, too
        told, until = 0, time.monotonic() + PATIENCE
        while told < 3:
            told = sum(getattr(record, "head_too_large", 0) for record in caplog.records)
            assert time.monotonic() < until
            time.sleep(0.01)
        found = Web(port).client.get("/healthz").json()["refused"]
    assert found["head_too_large"] >= 3
    assert sum(getattr(record, "file_unread", 0) for record in caplog.records) == 1
    assert {r.getMessage() for r in caplog.records if hasattr(r, "head_too_large")} == {
        "whatsapp web refused callers"
    }


@pytest.mark.parametrize("path", ["/webhooks/whatsapp/acme", "/graphql"])
def test_it_refuses_a_body_in_crumbs(web: Web, dial: Dial, path: str) -> None:
    before = heads.refused["body_in_crumbs"]
    start = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"X-Hub-Signature-256: sha256={'0' * 64}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    line = dial(web.port)
    line.sendall(start + b"1\r\na\r\n" * 600)
    assert read_all(line).startswith(b"HTTP/1.1 400 ")
    assert heads.refused["body_in_crumbs"] == before + 1


def test_crumbs_behind_another_request_are_not_answered_in_its_place(web: Web, dial: Dial) -> None:
    before = heads.refused["body_in_crumbs"]
    first = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    second = b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    line = dial(web.port)
    line.sendall(first + second + b"1\r\na\r\n" * 600)
    assert b" 400 " not in read_all(line)
    assert heads.refused["body_in_crumbs"] == before + 1


@pytest.mark.parametrize("size", [2_000, 2_049, 8_193, 300_000])
def test_a_body_may_come_in_many_pieces(acme: Cast, web: Web, dial: Dial, size: int) -> None:
    body = b"{" + b" " * (size - 2) + b"}"
    # As clients send a list: a chunk for each row.
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in re.findall(rb"(?s).{1,14}", body))
    head = (
        f"POST {PATH}/{acme.tenant.slug} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"X-Hub-Signature-256: {sign(body, acme.app_secret.encode())}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ).encode()
    line = dial(web.port)
    line.sendall(head + pieces + b"0\r\n\r\n")
    assert read_all(line).startswith(b"HTTP/1.1 200 ")


def test_requests_that_were_sent_ahead_leave_no_garbage(web: Web, dial: Dial) -> None:
    def left() -> int:
        return sum(isinstance(one, RequestResponseCycle) for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = left()
        for _ in range(20):
            line = dial(web.port)
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 100)
            read_all(line)
            line.close()
        until = time.monotonic() + PATIENCE
        while left() > before + 20:
            assert time.monotonic() < until
            time.sleep(0.1)
    finally:
        gc.enable()


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


# A version, and what it asks with; whether the connection is kept for the next one.
ASKING = {
    "keeps": ("1.1", H2C, True),
    "closes": ("1.1", H2C.replace(b"Upgrade", b"close, Upgrade", 1), False),
    "old": ("1.0", H2C, False),
}


def asked_to_upgrade(cast: Cast, body: bytes, *, chunked: bool, head: bytes, version: str) -> bytes:
    """Return a signed callback as Java's client and some proxies send it over plain HTTP."""
    framed, length = body, b"Content-Length: %d\r\n" % len(body)
    if chunked:
        framed, length = (
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
            b"Transfer-Encoding: chunked\r\n",
        )
    signature = sign(body, cast.app_secret.encode())
    return (
        f"POST {cast.path} HTTP/{version}\r\nHost: a\r\n"
        f"X-Hub-Signature-256: {signature}\r\n".encode()
        + head
        + length
        + b"\r\n"
        + framed
    )


@pytest.mark.parametrize("how", ASKING)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_it_stores_a_callback_that_asks_for_another_protocol(
    acme: Cast, globex: Cast, web: Web, dial: Dial, chunked: bool, size: int, how: str
) -> None:
    version, head, is_kept = ASKING[how]
    callbacks = [
        asked_to_upgrade(
            cast,
            b'{"of": "%s"}' % cast.tenant.slug.encode(),
            chunked=chunked,
            head=head,
            version=version,
        )
        for cast in (acme, globex, acme)
    ]
    answers = b""
    for whole in [b"".join(callbacks)] if is_kept else callbacks:
        line = dial(web.port)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(whole), size):
            line.sendall(whole[start : start + size])
        wanted = answers.count(b"HTTP/1.1 ") + (len(callbacks) if is_kept else 1)
        while answers.count(b"HTTP/1.1 ") < wanted:
            piece = line.recv(1_000)
            assert piece
            answers += piece
    assert answers.count(b"HTTP/1.1 200 ") == 3
    stored = WebhookDelivery.objects.values_list("tenant_id", flat=True)
    assert Counter(stored) == {acme.tenant.id: 2, globex.tenant.id: 1}


def test_it_bounds_who_asks_for_another_protocol_as_everybody(web: Web, dial: Dial) -> None:
    line = dial(web.port)
    line.sendall(HEAD + H2C + b"a: b\r\n" * 101 + b"\r\n")
    assert read_all(line).startswith(b"HTTP/1.1 431 ")
    line = dial(web.port)
    with suppress(ConnectionError):
        line.sendall((HEAD + H2C + b"Content-Length: 0\r\n\r\n") * 5_000)
    assert read_all(line).count(b"HTTP/1.1 401 ") <= 10
    line = dial(web.port)
    line.sendall(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n" + H2C + b"\r\n")
    assert line.recv(1_000).startswith(b"HTTP/1.1 4")
