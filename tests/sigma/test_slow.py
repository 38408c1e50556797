"""Callers who hold back their bodies, or do not read, hold neither memory nor threads."""

from __future__ import annotations

import asyncio
import hmac
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.db import connection, transaction
from django.test import Client

import sigma.asgi
import sigma.threads
from connectors.whatsapp import graph, receiver
from connectors.whatsapp.models import WebhookDelivery
from connectors.whatsapp.receiver import DirectoryUnavailable, Routes
from connectors.whatsapp.wire import signature
from lib.requests import Receive, Scope, Send
from messaging.media import download_url
from sigma.gate import Asker, Busy, Gate, asker_of
from sigma.heads import refused
from sigma.threads import MOST_OF_ONE, PIECE_BYTES, Full, Places, Threads
from tests.conftest import Cast
from tests.graphql.conftest import write
from tests.messaging.conftest import attach
from tests.messaging.meta import Meta
from tests.sigma.test_heads import resident
from tests.whatsapp.conftest import Web, hang_up, serving
from tests.whatsapp.test_concurrency import waiting
from workspaces import access, secrets
from workspaces.models import SecretKind, TenantSecret

pytestmark = pytest.mark.django_db(transaction=True)

SIGNED = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
MEGABYTES = 3_000_000
# The list of a broadcast that is not there: large bodies may be sent to it, and come to nothing.
LIST = "/api/v1/broadcasts/00000000-0000-0000-0000-000000000000/recipients"

# Neither fits into what a connection buffers.
LARGEST = "/static/drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js.map"
FILE = bytes(range(256)) * 40_000

Begin = Callable[..., socket.socket]


@pytest.fixture
def begin(web: Web) -> Iterator[Begin]:
    """Begin a POST of 3 MB and leave it there."""
    with ExitStack() as lines:

        def send(path: str, *, body: bytes = b"", size: int = MEGABYTES, **headers: str):
            line = lines.enter_context(socket.create_connection(("127.0.0.1", web.port)))
            fields = {"Host": "127.0.0.1", "Content-Length": str(size), **headers}
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            line.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            line.settimeout(5)
            return line

        yield send


def status(line: socket.socket) -> int:
    return int(line.recv(1000).split()[1])


def whole(line: socket.socket) -> tuple[int, bytes]:
    """Status and body: the head may come in a piece of its own."""
    response = HTTPResponse(line)
    response.begin()
    return response.status, response.read()


class TestReceiver:
    @pytest.mark.parametrize("headers", [{}, {"X-Hub-Signature-256": "sha256=short"}])
    def test_it_refuses_what_is_not_signed_before_the_body(
        self, acme: Cast, begin: Begin, headers: dict[str, str]
    ) -> None:
        assert whole(begin(acme.path, **headers)) == (401, b"Unauthorized\n")

    @pytest.mark.parametrize("body", [b"", b"{"])
    def test_it_gives_up_on_a_body_that_does_not_come(
        self, acme: Cast, begin: Begin, body: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(receiver, "BODY_SECONDS", 0.1)
        assert status(begin(acme.path, body=body, **SIGNED)) == 408

    def test_it_reads_no_more_at_once_than_it_has_room_for(
        self, settings, acme: Cast, request: pytest.FixtureRequest, wait_for
    ) -> None:
        settings.SIGMA_INBOX_MAX_BYTES = 4_000_000
        begin: Begin = request.getfixturevalue("begin")
        web: Web = request.getfixturevalue("web")
        held = begin(acme.path, body=b" " * (MEGABYTES - 1), **SIGNED)
        wait_for(lambda: web.post(acme, b" " * MEGABYTES).status_code == 503)

        assert web.post(acme, b"{}").status_code == 200  # small ones go on
        held.close()

        wait_for(lambda: web.post(acme, b" " * MEGABYTES).status_code == 200)

    def test_who_holds_back_a_body_makes_way_for_a_signed_callback(
        self, settings, acme: Cast, request: pytest.FixtureRequest
    ) -> None:
        settings.SIGMA_INBOX_MAX_BYTES = 4_000_000
        begin: Begin = request.getfixturevalue("begin")
        web: Web = request.getfixturevalue("web")
        first = begin(acme.path, body=b"{", **SIGNED)
        second = begin(acme.path, body=b"{", **SIGNED)
        assert status(first) == 503

        assert web.post(acme, b" " * MEGABYTES).status_code == 200
        assert status(second) == 503

    def test_it_counts_what_comes_in_chunks(
        self, settings, acme: Cast, request: pytest.FixtureRequest
    ) -> None:
        settings.SIGMA_INBOX_MAX_BYTES = 1_000_000
        web: Web = request.getfixturevalue("web")
        signed = {"X-Hub-Signature-256": signature.sign(b" " * MEGABYTES, b"x")}
        chunks = (b" " * 100_000 for _ in range(30))
        answer = web.client.post(acme.path, content=chunks, headers=signed)
        assert answer.status_code == 503

    def test_it_takes_as_long_to_refuse_a_tenant_without_a_secret(
        self, acme: Cast, globex: Cast, request, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        TenantSecret.objects.filter(tenant=globex.tenant).delete()
        web: Web = request.getfixturevalue("web")
        assert web.post(acme, b"{}").status_code == 200  # it knows the tenants by now
        digests: list[bytes] = []
        digest = hmac.digest
        monkeypatch.setattr(hmac, "digest", lambda *a: digests.append(a[1]) or digest(*a))

        for path in (acme.path, globex.path, "/webhooks/whatsapp/nobody"):
            digests.clear()
            assert web.client.post(path, content=b"{}", headers=SIGNED).status_code == 401
            assert digests == [b"{}"]

    def test_it_takes_as_long_to_refuse_a_tenant_who_rotates_a_secret(
        self, acme: Cast, globex: Cast, request, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(2):
            value = f"another-app-secret-{number}"
            secrets.add(tenant=globex.tenant, kind=SecretKind.APP_SECRET, value=value)
        web: Web = request.getfixturevalue("web")
        assert web.post(acme, b"{}").status_code == 200  # it knows the tenants by now
        digests: list[bytes] = []
        digest = hmac.digest
        monkeypatch.setattr(hmac, "digest", lambda *a: digests.append(a[1]) or digest(*a))

        for path in (acme.path, globex.path, "/webhooks/whatsapp/nobody", "/webhooks/whatsapp"):
            digests.clear()
            assert web.client.post(path, content=b"{}", headers=SIGNED).status_code == 401
            assert digests == [b"{}"] * 3
        digests.clear()
        assert (
            web.client.post(
                acme.path,
                content=b"{}",
                headers={"X-Hub-Signature-256": signature.sign(b"{}", acme.app_secret.encode())},
            ).status_code
            == 200
        )
        assert len(digests) == 2  # the caller's own, and one: to accept costs no more than before


def test_it_asks_the_database_once_for_many_strangers() -> None:
    visits: list[object] = []

    async def count(function: Callable[[], object]) -> None:
        visits.append(function)
        await asyncio.sleep(0)

    async def knock() -> list[object]:
        routes = Routes(run_sync=count)
        strangers = [routes.find("nobody", lambda _: False) for _ in range(500)]
        return await asyncio.gather(*strangers, return_exceptions=True)

    assert all(isinstance(answer, DirectoryUnavailable) for answer in asyncio.run(knock()))
    assert len(visits) == 1


class TestInbox:
    """Somebody holds the table; the database is there."""

    @pytest.fixture
    def one_each(self, settings) -> None:
        settings.SIGMA_INBOX_MAX_BATCH = 1

    def test_it_spares_those_who_wait_behind_a_batch_that_fails(
        self, one_each: None, acme: Cast, web: Web, wait_for
    ) -> None:
        assert web.post(acme, b"{}").status_code == 200
        with ThreadPoolExecutor(2) as clients:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("LOCK TABLE webhook_pending IN EXCLUSIVE MODE")
                first = clients.submit(web.post, acme, b"{}")
                wait_for(waiting)
                behind = clients.submit(web.post, acme, b"{}")
                assert first.result().status_code == 503
            assert behind.result().status_code == 200

    def test_it_refuses_all_where_the_next_batch_fails_too(
        self, one_each: None, acme: Cast, web: Web, wait_for
    ) -> None:
        assert web.post(acme, b"{}").status_code == 200
        with ThreadPoolExecutor(5) as clients, transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE webhook_pending IN EXCLUSIVE MODE")
            answers = list(clients.map(lambda _: web.post(acme, b"{}"), range(5)))
            assert {answer.status_code for answer in answers} == {503}

    def test_it_commits_large_bodies_a_few_at_a_time(self, acme: Cast, web: Web, wait_for) -> None:
        assert web.post(acme, b"{}").status_code == 200
        with ThreadPoolExecutor(7) as clients:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("LOCK TABLE webhook_pending IN EXCLUSIVE MODE")
                first = clients.submit(web.post, acme, b"{}")
                wait_for(waiting)
                rest = [clients.submit(web.post, acme, b" " * MEGABYTES) for _ in range(6)]
                assert first.result().status_code == 503
            assert [answer.result().status_code for answer in rest] == [200] * 6
        large = WebhookDelivery.objects.filter(size=MEGABYTES)
        assert large.values("received_at").distinct().count() >= 3


def page(address: str) -> dict[str, Any]:
    """Return a request for the page at the root."""
    headers = [(b"host", b"127.0.0.1"), (b"accept", b"text/html")]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": (address, 50_000),
        "server": ("127.0.0.1", 80),
    }


async def connected() -> dict[str, Any]:
    """Wait: the caller stays."""
    await asyncio.Event().wait()
    return {"type": "http.disconnect"}


async def ask(lane: sigma.threads.Lane, number: int = 7, *, reads: bool = True) -> int:
    """Ask for a page from an address, and return the status; who does not read waits for ever."""
    statuses: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        if not reads:
            await asyncio.Event().wait()
        statuses.extend(filter(None, [message.get("status")]))

    deliver = await lane.work(page(f"198.51.100.{number}"), b"", connected)
    await deliver(send)
    return statuses[0]


@pytest.fixture
def unread(web: Web) -> Iterator[Callable[..., None]]:
    """Ask for a path as many times, and read nothing of the answers but that they began."""
    with ExitStack() as lines:

        def ask(path: str, times: int, *, body: bytes = b"", **headers: str) -> None:
            fields = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            for _ in range(times):
                line = lines.enter_context(socket.socket())
                line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                line.settimeout(5)
                line.connect(("127.0.0.1", web.port))
                line.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
                assert line.recv(12) == b"HTTP/1.1 200"

        yield ask


@pytest.fixture
def link(acme: Cast, meta: Meta, settings) -> str:
    """The path of a link to a large file of acme's at Meta."""
    secrets.add(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN, value="EAAG-a-token")
    file = attach(*write(acme, 1, type="image"))
    meta.keep(file.platform_media_id, FILE)
    return download_url(file).removeprefix(settings.SIGMA_PUBLIC_URL)


@pytest.fixture
def staff(admin_client: Client, settings) -> str:
    """The cookie of somebody who has signed in and was here lately."""
    admin_client.get("/admin/")
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={admin_client.cookies[name].value}"


class TestAnswers:
    """Whoever does not read an answer holds no thread, whatever is asked for and by whom."""

    @pytest.mark.parametrize("is_member", [False, True])
    def test_static_files_that_are_not_read_hold_no_thread(
        self, staff: str, web: Web, unread: Callable[..., None], is_member: bool
    ) -> None:
        before = resident()
        unread(LARGEST, 100, Cookie=staff if is_member else "")
        page = web.client.get("/admin/login/", headers={"Cookie": staff}, timeout=10)
        assert page.status_code == 302
        found = Path(str(finders.find(LARGEST.removeprefix("/static/"))))
        whole = web.client.get(LARGEST, timeout=10, headers={"Range": "bytes=5-"})
        assert whole.content == found.read_bytes()
        assert resident() - before < 60 * 1_000_000

    def test_an_answer_that_is_not_read_holds_no_room_of_bodies(
        self, acme: Cast, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sigma.asgi, "BODIES_BYTES", MEGABYTES)
        web: Web = request.getfixturevalue("web")
        key, large = {"Authorization": f"Bearer {acme.api_key}"}, b" " * MEGABYTES
        query = {"query": "{ __typename }"}
        assert web.client.post("/graphql", json=query, headers=key).status_code == 200

        request.getfixturevalue("unread")(LARGEST, 1, body=large, **key)

        key["Content-Type"] = "text/csv"
        assert web.client.post(LIST, content=large, headers=key).status_code == 404

    def test_a_file_that_is_not_read_holds_no_place_of_its_tenant(
        self, settings, acme: Cast, link: str, request: pytest.FixtureRequest
    ) -> None:
        settings.SIGMA_WEB_THREADS = 1
        web: Web = request.getfixturevalue("web")
        key = {"Authorization": f"Bearer {acme.api_key}"}
        query = {"query": "{ __typename }"}
        assert web.client.post("/graphql", json=query, headers=key).status_code == 200

        request.getfixturevalue("unread")(link, 1, **key)

        answer = web.client.post("/graphql", json=query, headers=key, timeout=10)
        assert answer.status_code == 200

    def test_files_at_meta_that_are_not_read_hold_no_thread(
        self, settings, staff: str, link: str, web: Web, unread: Callable[..., None]
    ) -> None:
        unread(link, settings.SIGMA_WEB_THREADS + 1)
        page = web.client.get("/admin/login/", headers={"Cookie": staff}, timeout=10)
        assert page.status_code == 302
        assert web.client.get(link, timeout=10).content == FILE

    def test_who_does_not_read_a_file_makes_way_for_who_does(
        self,
        link: str,
        web: Web,
        unread: Callable[..., None],
        wait_for,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sigma.threads, "MOST_STREAMS", 2)
        monkeypatch.setattr(sigma.threads, "PATIENCE_SECONDS", 0.5)
        before = refused["file_unread"]
        unread(link, 2)
        # 503 as long as the connections still take something.
        wait_for(lambda: web.client.get(link, timeout=10).content == FILE)
        assert refused["file_unread"] == before + 1

    def test_it_refuses_a_file_before_meta_is_asked_rather_than_end_one_that_is_read(
        self,
        link: str,
        meta: Meta,
        web: Web,
        unread: Callable[..., None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sigma.threads, "MOST_STREAMS", 1)
        before = refused.copy()
        unread(link, 1)
        time.sleep(0.5)  # until the connection takes no more
        asked = len(meta.asked)

        answer = web.client.get(link, timeout=10)

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert len(meta.asked) == asked
        assert refused - before == {"files_full": 1}

    def test_files_that_are_not_read_leave_connections_to_meta_for_everything_else(
        self,
        settings,
        link: str,
        web: Web,
        unread: Callable[..., None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sigma.threads, "MOST_OF_ONE", sigma.threads.MOST_STREAMS)
        unread(link, sigma.threads.MOST_STREAMS)
        answer = graph.call_once("GET", f"{settings.SIGMA_GRAPH_URL}/number", headers={})
        assert answer.status == 404

    def test_a_file_is_not_fetched_to_its_end_for_somebody_who_has_left(self) -> None:
        made, closed = 0, threading.Event()

        class Endless:
            streaming = True
            close = closed.set

            def __iter__(self) -> Iterator[bytes]:
                nonlocal made
                while made < 2_000:
                    made += 1
                    time.sleep(0.005)
                    yield b"x" * PIECE_BYTES

        def endless(environ: dict[str, Any], start: Callable[..., object]) -> Endless:
            start("200 OK", [])
            return Endless()

        threads = Threads(endless, 1, Places())

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                deliver = await threads.work(scope, b"", receive)
                await deliver(send)

        with serving(application) as port:
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.sendall(b"GET /media/1 HTTP/1.1\r\nHost: a\r\n\r\n")
                assert line.recv(12) == b"HTTP/1.1 200"
            assert closed.wait(60)
        assert made < 1_000


class TestDjango:
    def test_it_answers_while_many_hold_back_their_bodies(self, web: Web, begin: Begin) -> None:
        for _ in range(20):
            begin("/admin/login/", body=b"username=")
        assert web.client.get("/healthz").status_code == 200
        assert web.client.get("/admin/login/").status_code == 200

    @pytest.mark.parametrize("path", ["/graphql", "/admin/login/"])
    def test_it_has_room_for_members_while_strangers_fill_theirs(
        self, settings, acme: Cast, web: Web, begin: Begin, path: str
    ) -> None:
        key = {"Authorization": f"Bearer {acme.api_key}"}
        query = {"query": "{ __typename }"}
        assert web.client.post("/graphql", json=query, headers=key).status_code == 200
        cookie = {"Cookie": f"{settings.SESSION_COOKIE_NAME}=made-up"}
        for _ in range(25):
            with suppress(ConnectionError):  # refused before it has sent all of it
                begin(path, body=b" " * (MEGABYTES - 1), **cookie)
        assert status(begin(path, body=b"{", **cookie)) == 503

        key["Content-Type"] = "text/csv"
        large = b" " * MEGABYTES
        assert web.client.post(LIST, content=large, headers=key).status_code == 404
        assert web.post(acme, b" " * MEGABYTES).status_code == 200

    def test_it_takes_the_largest_list_with_a_key_that_it_does_not_know_yet(
        self, settings, acme: Cast, web: Web
    ) -> None:
        key = {"Authorization": f"Bearer {acme.api_key}", "Content-Type": "text/csv"}
        large = b" " * settings.SIGMA_BROADCAST_MAX_BYTES
        assert web.client.post(LIST, content=large, headers=key).status_code == 404

    def test_it_says_how_it_is_while_every_thread_is_busy(
        self, settings, acme: Cast, request: pytest.FixtureRequest, wait_for
    ) -> None:
        settings.SIGMA_WEB_THREADS = 1
        web: Web = request.getfixturevalue("web")
        query, key = {"query": "{ __typename }"}, {"Authorization": f"Bearer {acme.api_key}"}
        with ThreadPoolExecutor(1) as client:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
                busy = client.submit(web.client.post, "/graphql", json=query, headers=key)
                wait_for(waiting)
                assert web.client.get("/healthz").status_code == 200
            assert busy.result().status_code == 200

    def test_it_lets_strangers_hold_one_thread_and_not_those_of_others(
        self, settings, staff: str, acme: Cast, request: pytest.FixtureRequest, wait_for
    ) -> None:
        settings.SIGMA_WEB_THREADS = 2
        web: Web = request.getfixturevalue("web")
        query = {"query": "{ __typename }"}
        invented = [{"Authorization": f"Bearer {acme.api_key}{number}"} for number in range(4)]
        with ThreadPoolExecutor(len(invented)) as crowd:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
                asked = [
                    crowd.submit(web.client.post, "/graphql", json=query, headers=key)
                    for key in invented
                ]
                wait_for(waiting)
                page = web.client.get("/admin/login/", headers={"Cookie": staff}, timeout=30)
                assert page.status_code == 302
                assert not any(one.done() for one in asked)
            assert {one.result().status_code for one in asked} == {401}

    def test_strangers_who_do_not_read_hold_no_place(self) -> None:
        threads = Threads(sigma.asgi.django_application, 1, Places())
        lane = sigma.threads.Lane(threads, most=2, per_address=2)

        async def trial() -> list[int]:
            unread = [asyncio.create_task(ask(lane, reads=False)) for _ in range(2)]
            await asyncio.sleep(0.2)
            statuses = [await asyncio.wait_for(ask(lane), 30) for _ in range(3)]
            for one in unread:
                one.cancel()
            return statuses

        assert asyncio.run(trial()) == [302, 302, 302]

    def test_a_long_answer_that_is_not_read_holds_no_thread(self) -> None:
        def long(environ: dict[str, Any], start: Callable[..., object]) -> list[bytes]:
            start("200 OK", [])
            return [b"line"] * 100

        lane = sigma.threads.Lane(Threads(long, 1, Places()), most=2, per_address=2)

        async def trial() -> int:
            unread = asyncio.create_task(ask(lane, reads=False))
            await asyncio.sleep(0.2)
            try:
                return await asyncio.wait_for(ask(lane), 30)
            finally:
                unread.cancel()

        assert asyncio.run(trial()) == 200

    def test_no_more_wait_for_the_thread_than_there_are_places(self) -> None:
        begun, go_on = threading.Semaphore(0), threading.Event()

        def work(environ: dict[str, Any], start: Callable[..., object]) -> list[bytes]:
            begun.release()
            go_on.wait(60)
            start("200 OK", [])
            return [b"done"]

        lane = sigma.threads.Lane(Threads(work, 1, Places()), most=3, per_address=2)

        async def trial() -> list[int]:
            here = [asyncio.create_task(ask(lane, of)) for of in (1, 1, 2)]
            await asyncio.to_thread(begun.acquire, timeout=60)
            refused = [await ask(lane, of) for of in (1, 3)]
            go_on.set()
            return refused + await asyncio.gather(*here) + [await ask(lane, 1)]

        assert asyncio.run(trial()) == [429, 429, 200, 200, 200, 200]

    def test_a_thread_of_strangers_rests_after_each_and_the_answer_does_not_wait_for_it(
        self,
    ) -> None:
        begun: list[float] = []
        took: list[float] = []

        def work(environ: dict[str, Any], start: Callable[..., object]) -> list[bytes]:
            begun.append(time.monotonic())
            start("200 OK", [])
            return [b"done"]

        def rest(scope: Scope, seconds: float) -> float:
            took.append(seconds)
            return 3.0

        lane = sigma.threads.Lane(Threads(work, 1, Places(), rest=rest), most=2, per_address=2)

        async def trial() -> float:
            assert await ask(lane) == 200
            answered = time.monotonic()
            assert await ask(lane) == 200
            return answered

        answered = asyncio.run(trial())
        assert answered < begun[1] >= begun[0] + 3.0
        assert all(seconds > 0 for seconds in took)

    def test_who_turns_out_to_be_known_costs_strangers_no_rest(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stranger = page("198.51.100.7")
        assert sigma.threads.rest_of(stranger, 0.1) == pytest.approx(0.1 * sigma.threads.REST)
        assert sigma.threads.rest_of(stranger, 60) == sigma.threads.LONGEST_REST_SECONDS
        monkeypatch.setattr(sigma.threads, "asker_of", lambda *_: Asker(b"", None, True))
        assert sigma.threads.rest_of(stranger, 0.1) == 0

    def test_nobody_takes_the_places_of_all_files(self) -> None:
        places = Places()
        for _ in range(MOST_OF_ONE):
            places.take("one")
        with pytest.raises(Full):
            places.take("one")
        for owner in ("another", None):
            places.take(owner)
        places.give_back("one")
        places.take("one")

    def test_a_file_counts_for_the_tenant_of_its_key_or_link_and_else_for_an_address(
        self, link: str, acme: Cast, web: Web
    ) -> None:
        key = {"Authorization": f"Bearer {acme.api_key}"}
        query = {"query": "{ __typename }"}
        assert web.client.post("/graphql", json=query, headers=key).status_code == 200
        nobody = sigma.threads.owner_of(page("198.51.100.7"))
        path, _, token = link.partition("?")

        def owner(*fields: tuple[bytes, bytes], **of: object) -> object:
            return sigma.threads.owner_of({**page("198.51.100.7"), "headers": [*fields], **of})

        assert nobody is not None
        assert owner((b"x-api-key", acme.api_key.encode())) == acme.tenant.id
        assert owner((b"x-api-key", b"sigma_" + b"a" * 40)) == nobody
        assert owner(path=path, query_string=token.encode()) == acme.tenant.id
        assert owner(path=path, query_string=token.encode() + b"x") == nobody
        assert owner(path=path[:-1], query_string=token.encode()) == nobody

    @pytest.mark.parametrize(
        "path", ["/media/00000000-0000-0000-0000-000000000000?token=a:b:c", "/static/a.css", "/x"]
    )
    def test_strangers_are_served_in_their_thread_whatever_they_ask_for(
        self, link: str, web: Web, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert web.client.get(link, timeout=10).status_code == 200
        monkeypatch.setattr(sigma.threads, "STRANGERS_WAITING", 0)
        with serving(sigma.asgi.Application()) as port:
            strict = Web(port)
            assert strict.client.get(path).status_code == 429
            assert strict.client.get(link, timeout=10).status_code == 200
            assert strict.client.get("/healthz").status_code in (200, 503)
            assert strict.client.post("/healthz").status_code == 429

    def test_many_with_a_good_key_are_no_strangers_once_the_first_was_answered(
        self, acme: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        access._tenants.clear()
        as_strangers: list[None] = []
        work = sigma.threads.Lane.work

        async def counted(lane: sigma.threads.Lane, *request: Any) -> Any:
            as_strangers.append(None)
            return await work(lane, *request)

        monkeypatch.setattr(sigma.threads.Lane, "work", counted)
        key = {"Authorization": f"Bearer {acme.api_key}"}
        query = {"query": "{ __typename }"}
        with serving(sigma.asgi.Application()) as port, ThreadPoolExecutor(40) as pool:
            ask = partial(Web(port).client.post, "/graphql", json=query, headers=key, timeout=60)
            asked = [pool.submit(ask) for _ in range(40)]
            assert {one.result().status_code for one in asked} == {200}
        hang_up()
        # As many as the gate lets in at once.
        assert 1 <= len(as_strangers) <= 6

    def test_those_with_a_link_leave_threads_to_other_tenants(self, link: str, acme: Cast) -> None:
        path, _, token = link.partition("?")
        gate = Gate(rate=600, at_once=1, most_waiting=0)

        async def enter(query: bytes) -> None:
            scope = {**page("198.51.100.7"), "path": path, "query_string": query}
            asker = asker_of(scope, {})
            async with gate.admitted(asker), gate.admitted(asker):
                pass

        with pytest.raises(Busy):
            asyncio.run(enter(token.encode()))
        with pytest.raises(Busy):
            asyncio.run(enter(b"token=x&" + token.encode()))
        asyncio.run(enter(token.encode() + b"&token=x"))  # nobody's, and a stranger's

    def test_who_is_told_to_make_way_does_so_though_its_reader_came(self) -> None:
        async def trial() -> bool:
            places, reader = Places(), asyncio.Event()
            stream = asyncio.create_task(places.wait(reader.wait()))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            reader.set()
            next(iter(places._waiting)).reschedule(0)
            return await stream

        assert asyncio.run(trial()) is False

    @pytest.mark.parametrize("cookie", [b"a;" * 16_000, b'a="' + b"\\" * 32_000, b";" * 32_000])
    def test_a_cookie_of_any_form_is_looked_through_at_once(self, cookie: bytes) -> None:
        started = time.thread_time()
        for _ in range(100):
            assert not asker_of(page("198.51.100.7"), {b"cookie": cookie}).is_known
        assert time.thread_time() - started < 5

    def test_work_that_breaks_gives_its_place_back(self) -> None:
        def broken(environ: dict[str, Any], start: Callable[..., object]) -> Iterator[bytes]:
            start("200 OK", [])
            yield b"half an answer"
            raise ZeroDivisionError

        lane = sigma.threads.Lane(Threads(broken, 1, Places()), most=1, per_address=1)

        async def trial() -> None:
            for _ in range(2):
                with pytest.raises(ZeroDivisionError):
                    await ask(lane)

        asyncio.run(trial())

    def test_it_refuses_a_body_that_is_too_large_or_too_slow(
        self, web: Web, begin: Begin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sigma.asgi, "BODY_SECONDS", 0.1)
        assert status(begin("/admin/login/")) == 408
        assert status(begin("/admin/login/", size=30_000_000)) == 413

    def test_it_hands_django_a_body_in_chunks_whole(self, acme: Cast, web: Web) -> None:
        query = b'{"query": "{ __typename }"}'
        headers = {
            "Authorization": f"Bearer {acme.api_key}",
            "Content-Type": "application/json",
            "Content-Length": str(len(query)),
        }
        chunks = iter([query[:5], query[5:]])
        assert web.client.post("/graphql", content=chunks, headers=headers).status_code == 200
