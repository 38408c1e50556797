"""What hits every event stops the deliverer: none is given up, all arrive once it is mended."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from connectors.events import queue
from connectors.events.http_client import SsrfGuard
from connectors.events.models import EventDelivery, EventSubscription
from connectors.events.worker import deliver
from lib import brake
from tests.conftest import Cast
from tests.events.conftest import Endpoint, Subscribe
from tests.events.test_delivering import SOON, Emit
from workspaces import keys
from workspaces.models import KeyPurpose, TenantKey

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between trials."""
    monkeypatch.setattr(brake, "FIRST_PAUSE", 0.0)


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(statement)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("column", ["last_status", "attempts"])
def test_it_gives_nothing_up_while_a_column_is_missing(
    acme: Cast,
    globex: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    column: str,
) -> None:
    for cast in (acme, globex):
        subscribe(cast)
        emit(cast, 6)

    run(f"ALTER TABLE event_deliveries RENAME {column} TO elsewhere")
    for n in range(3):
        deliver(clock=lambda n=n: now + SOON + n * 2 * queue.LEASE, idle_wait=0)
    assert Client().get("/healthz").json()["stopped"]["events"].endswith("UndefinedColumn")
    run(f"ALTER TABLE event_deliveries RENAME elsewhere TO {column}")
    assert not EventDelivery.objects.exclude(dead_at=None).exists()

    deliver(clock=lambda: now + timedelta(hours=1), idle_wait=0)

    assert not EventDelivery.objects.filter(delivered_at=None).exists()
    assert {got.headers["webhook-id"] for got in endpoint.got} == {
        str(one) for one in EventDelivery.objects.values_list("event_id", flat=True)
    }


def test_it_notes_a_poisonous_result_as_a_failure_and_the_others_as_they_are(
    acme: Cast, globex: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    endpoint.answers["/poison"] = 418
    subscribe(acme, path="/poison")
    subscribe(globex)
    emit(acme)
    emit(globex, 3)
    run("ALTER TABLE event_deliveries ADD CONSTRAINT poison CHECK (last_status <> 418) NOT VALID")

    deliver(clock=lambda: now + SOON, idle_wait=0)

    poison = EventDelivery.objects.get(tenant_id=acme.tenant.id)
    assert poison.last_error == "The result could not be recorded: IntegrityError"
    assert poison.next_attempt_at is not None
    assert EventSubscription.objects.get(tenant_id=acme.tenant.id).failing_since is None
    assert not EventDelivery.objects.filter(tenant_id=globex.tenant.id, delivered_at=None).exists()


def unharmed(now: datetime, emitted: int) -> bool:
    """Whether no attempt was counted against anybody, and all is delivered at the first one now."""
    counted = EventDelivery.objects.exclude(attempts=0, dead_at=None, last_error="")
    failing = EventSubscription.objects.exclude(failing_since=None, disabled_at=None)
    harmed = counted.exists() or failing.exists()
    deliver(clock=lambda: now + timedelta(hours=1), idle_wait=0)
    delivered = EventDelivery.objects.filter(attempts=1, delivered_at__isnull=False)
    return not harmed and delivered.count() == emitted


@pytest.mark.parametrize("is_unknown", [True, False], ids=["another id", "the same id"])
def test_it_counts_a_wrong_master_key_against_no_endpoint(
    acme: Cast,
    globex: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    settings: Any,
    is_unknown: bool,
) -> None:
    for cast in (acme, globex):
        subscribe(cast)
        emit(cast, 20)
    right = settings.SIGMA_MASTER_KEYS
    settings.SIGMA_MASTER_KEYS = (("other" if is_unknown else right[0][0], os.urandom(32)),)
    keys.forget()

    for n in range(12):
        deliver(clock=lambda n=n: now + SOON + n * 2 * queue.LEASE, idle_wait=0)

    assert endpoint.got == []
    assert Client().get("/healthz").json()["stopped"]["events"] == "UnknownMasterKey"
    settings.SIGMA_MASTER_KEYS = right
    keys.forget()
    assert unharmed(now, 40)


def ruin_secrets(subscription: EventSubscription) -> None:
    EventSubscription.objects.filter(pk=subscription.pk).update(sealed_secrets=b"\x01" * 60)


def ruin_key(subscription: EventSubscription) -> None:
    rows = TenantKey.objects.filter(tenant_id=subscription.tenant_id, purpose=KeyPurpose.FIELD)
    rows.update(wrapped=b"\x01")


def lose_key(subscription: EventSubscription) -> None:
    TenantKey.objects.filter(tenant_id=subscription.tenant_id, purpose=KeyPurpose.FIELD).delete()


@pytest.mark.parametrize("ruin", [ruin_secrets, ruin_key, lose_key])
def test_it_gives_up_in_the_end_what_one_tenants_keys_do_not_open(
    acme: Cast,
    globex: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    ruin: Callable[[EventSubscription], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = subscribe(acme)
    subscribe(globex)
    ruin(broken)
    keys.forget()
    for cast in (acme, globex):
        emit(cast, 3)

    for n in range(12):
        deliver(clock=lambda n=n: now + SOON + n * timedelta(days=1.2), idle_wait=0)
        EventSubscription.objects.update(disabled_at=None, failing_since=None)

    assert "stopped" not in Client().get("/healthz").json()
    lost = EventDelivery.objects.filter(delivered_at=None, dead_at__isnull=False)
    assert set(lost.values_list("tenant_id", "attempts", "last_error")) == {
        (acme.tenant.id, 10, "Its signing secrets cannot be opened.")
    }
    assert lost.count() == len(endpoint.got) == 3
    told = [each for each in caplog.records if each.message == "whatsapp event not signed"]
    assert {each.subscription for each in told} == {str(broken.id)}


def test_it_gives_nothing_up_while_nobodys_secrets_open(
    acme: Cast, globex: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    sealed = {}
    for cast in (acme, globex):
        row = subscribe(cast)
        sealed[row.pk] = row.sealed_secrets
        ruin_secrets(row)
        emit(cast, 3)

    for n in range(12):
        deliver(clock=lambda n=n: now + SOON + n * 2 * queue.LEASE, idle_wait=0)

    assert endpoint.got == []
    assert Client().get("/healthz").json()["stopped"]["events"] == "CannotOpen"
    for pk, secrets in sealed.items():
        EventSubscription.objects.filter(pk=pk).update(sealed_secrets=secrets)
    assert unharmed(now, 6)


@pytest.fixture
def _no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let IPv6 sockets connect to nothing, as on a machine without an IPv6 address."""
    connect = socket.socket.connect

    def connects(self: socket.socket, address: Any) -> None:
        if self.family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        if self.type == socket.SOCK_STREAM:  # otherwise there is a way, wherever this is tested
            connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connects)


@pytest.mark.usefixtures("_no_ipv6")
@pytest.mark.parametrize("host", ["[::1]", "localhost"])
def test_an_ipv6_address_is_the_endpoints_fault_where_there_is_no_ipv6(
    acme: Cast,
    globex: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [at("::1", endpoint.port)])
    for cast in (acme, globex):
        subscribe(cast, url=endpoint.url(host=host))
        emit(cast)

    for n in range(12):
        deliver(clock=lambda n=n: now + SOON + n * timedelta(days=1.2), idle_wait=0)
        EventSubscription.objects.update(disabled_at=None, failing_since=None)

    assert "stopped" not in Client().get("/healthz").json()
    dead = EventDelivery.objects.exclude(dead_at=None)
    assert set(dead.values_list("attempts", "last_error")) == {
        (10, "Its address is one of IPv6, which cannot be reached from here.")
    }
    assert dead.count() == 2


def at(address: str, port: int) -> tuple[Any, ...]:
    """Return an address as the resolver of the system tells it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    ends = (address, port, 0, 0) if ":" in address else (address, port)
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ends


def exhausted(number: int, of_ipv6: int) -> Callable[..., socket.socket]:
    """Return what opens sockets that fail: those of IPv6 may do so for another reason."""

    def opens(_: SsrfGuard, info: tuple[Any, ...]) -> socket.socket:
        found = of_ipv6 if info[0] == socket.AF_INET6 else number
        raise OSError(found, os.strerror(found))

    return opens


def leads_to(patch: pytest.MonkeyPatch, found: tuple[Any, ...] | Exception) -> None:
    """Let every name lead to an address, or to none."""

    def ask(*_: object, **__: object) -> list[tuple[Any, ...]]:
        if isinstance(found, Exception):
            raise found
        return [found]

    patch.setattr(socket, "getaddrinfo", ask)


def has_ways(patch: pytest.MonkeyPatch, *families: socket.AddressFamily) -> None:
    """Leave this machine routes of these families alone, besides to itself."""
    connect = socket.socket.connect

    def connects(self: socket.socket, address: Any) -> None:
        is_local = self.family == socket.AF_UNIX or ip_address(address[0]).is_loopback
        if not is_local and self.family not in families:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        if is_local or self.type == socket.SOCK_STREAM:
            connect(self, address)

    patch.setattr(socket.socket, "connect", connects)


IPV4, IPV6 = at("93.184.215.14", 443), at("2606:2800:21f:cb07::1", 443)
NO_ANSWER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.mark.parametrize("found", [IPV4, IPV6, NO_ANSWER], ids=["IPv4", "IPv6", "no name server"])
def test_it_counts_a_network_that_we_are_cut_off_from_against_no_endpoint(
    acme: Cast,
    globex: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    found: tuple[Any, ...] | Exception,
) -> None:
    for cast in (acme, globex):
        subscribe(cast, url=endpoint.url(host="localhost"))
        emit(cast, 2)

    with pytest.MonkeyPatch.context() as patch:
        leads_to(patch, found)
        has_ways(patch)
        for n in range(12):
            deliver(clock=lambda n=n: now + SOON + n * 2 * queue.LEASE, idle_wait=0)

    assert "events" in Client().get("/healthz").json()["stopped"]
    assert unharmed(now, 4)


@pytest.mark.parametrize(
    ("found", "way", "told"),
    [
        (IPV4, socket.AF_INET6, "It could not be connected to."),
        (IPV6, socket.AF_INET, "Its address is one of IPv6, which cannot be reached from here."),
        (NO_ANSWER, socket.AF_INET, "Its name does not resolve."),
        (NO_ANSWER, socket.AF_INET6, "Its name does not resolve."),
    ],
)
def test_an_address_without_a_way_is_the_endpoints_fault_where_there_are_ways_to_others(
    acme: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    found: tuple[Any, ...] | Exception,
    way: socket.AddressFamily,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subscribe(acme, url=endpoint.url(host="localhost"))
    emit(acme)
    leads_to(monkeypatch, found)
    has_ways(monkeypatch, way)

    deliver(clock=lambda: now + SOON, idle_wait=0)

    failed = EventDelivery.objects.get()
    assert (failed.attempts, failed.last_error) == (1, told)
    assert "stopped" not in Client().get("/healthz").json()


@pytest.mark.parametrize("host", ["[::1]", "localhost"])
def test_it_counts_a_socket_that_it_cannot_look_for_a_way_with_against_no_endpoint(
    acme: Cast,
    globex: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    host: str,
) -> None:
    class Exhausted(socket.socket):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            if self.type == socket.SOCK_DGRAM:
                self.close()
                raise OSError(errno.EMFILE, "Too many open files")

    for cast in (acme, globex):
        subscribe(cast, url=endpoint.url(host=host))
        emit(cast)

    with pytest.MonkeyPatch.context() as patch:
        leads_to(patch, at("::1", endpoint.port))
        patch.setattr(socket, "socket", Exhausted)
        for n in range(12):
            deliver(clock=lambda n=n: now + SOON + n * 2 * queue.LEASE, idle_wait=0)

    EventSubscription.objects.update(url=endpoint.url())
    assert unharmed(now, 2)


@pytest.mark.parametrize("url", ["", "http://[::1]/"])
def test_it_goes_by_ipv4_where_the_system_has_no_ipv6_at_all(
    acme: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Old(socket.socket):
        def __init__(self, family: int = -1, *args: Any, **more: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *args, **more)

    subscribe(acme, url=url or endpoint.url(host="localhost"))
    emit(acme)
    both = [at("::1", endpoint.port), at("127.0.0.1", endpoint.port)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    monkeypatch.setattr(socket, "socket", Old)

    deliver(clock=lambda: now + SOON, idle_wait=0)

    no_ipv6 = "Its address is one of IPv6, which cannot be reached from here."
    assert EventDelivery.objects.get().last_error == (no_ipv6 if url else "")


OURS = ("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EADDRNOTAVAIL", "ENETDOWN")


@pytest.mark.parametrize("of_ipv6", ["", "EHOSTUNREACH"])
@pytest.mark.parametrize("number", OURS)
def test_it_counts_our_own_exhaustion_against_no_endpoint(
    acme: Cast,
    globex: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    number: str,
    of_ipv6: str,
) -> None:
    for cast in (acme, globex):
        subscribe(cast, url=endpoint.url(host="localhost"))
        emit(cast, 2)

    with pytest.MonkeyPatch.context() as patch:
        both = [at("127.0.0.1", endpoint.port), at("::1", endpoint.port)]
        patch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        numbers = (getattr(errno, name) for name in (number, of_ipv6 or number))
        patch.setattr(SsrfGuard, "open", exhausted(*numbers))
        for n in range(12):
            deliver(clock=lambda n=n: now + SOON + n * 2 * queue.LEASE, idle_wait=0)

    assert endpoint.got == []
    assert "events" in Client().get("/healthz").json()["stopped"]
    assert unharmed(now, 4)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), socket.gaierror(-10, "Memory")]
)
def test_it_counts_a_name_that_it_cannot_ask_for_against_no_endpoint(
    acme: Cast,
    globex: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    error: Exception,
) -> None:
    for cast in (acme, globex):
        subscribe(cast, url=endpoint.url(host="localhost"))
        emit(cast, 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda *_, **__: (_ for _ in ()).throw(error))
        for n in range(12):
            deliver(clock=lambda n=n: now + SOON + n * 2 * queue.LEASE, idle_wait=0)

    assert endpoint.got == []
    assert unharmed(now, 4)


def test_it_counts_no_attempt_whose_deliverer_was_killed(
    acme: Cast, globex: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    for cast in (acme, globex):
        subscribe(cast)
        emit(cast)

    for n in range(12):
        assert len(queue.claim(now=now + SOON + n * 2 * queue.LEASE, limit=9, busy={})) == 2

    assert unharmed(now, 2)
