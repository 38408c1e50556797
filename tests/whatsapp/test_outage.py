"""The database or the broker is away: nothing that was answered 200 is missing afterwards."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from django.conf import settings as django_settings
from django.db import connection

from connectors.whatsapp import ledger, processing
from connectors.whatsapp.models import WebhookDelivery, WebhookPending
from connectors.whatsapp.processing import process_batch
from lib import wakeups
from messaging.models import Message
from tests.conftest import Cast
from tests.whatsapp.conftest import Web
from tests.whatsapp.deliveries import callback, text
from tests.whatsapp.proxy import Proxy
from workspaces.models import TenantSecret

pytestmark = pytest.mark.django_db(transaction=True)


Post = Callable[..., httpx.Response]


@pytest.fixture
def proxy(transactional_db: None) -> Iterator[Proxy]:
    """Everything that the web process (started after this) asks of PostgreSQL goes through it."""
    parameters, known = connection.settings_dict, dict(connection.settings_dict)
    connection.ensure_connection()
    info = connection.connection.info
    made = Proxy((info.host or "127.0.0.1", info.port))
    parameters |= {"HOST": "127.0.0.1", "PORT": str(made.port)}
    yield made
    parameters |= {"HOST": known["HOST"], "PORT": known["PORT"]}
    made.close()


@pytest.fixture
def post(acme: Cast, web: Web) -> Post:
    """Post a text message of its own; an answer must come, however the database hangs."""

    def send(wamid: str) -> httpx.Response:
        body = json.dumps(callback(acme.workspace.external_id, messages=[text(wamid)])).encode()
        return web.post(acme, body)

    return send


def assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


def stored() -> set[str]:
    """Process what is pending and return the texts of the messages that came of it."""
    while process_batch(100):
        pass
    return set(Message.objects.values_list("text", flat=True))


@pytest.mark.parametrize("trouble", ["cut", "freeze"])
def test_it_answers_503_in_time_and_recovers_by_itself(
    proxy: Proxy, acme: Cast, globex: Cast, web: Web, post: Post, wait_for, trouble: str
) -> None:
    assert post("wamid.before").status_code == 200

    getattr(proxy, trouble)()
    for number in range(2):
        assert_refused(post(f"wamid.during.{number}"))
    proxy.mend()

    wait_for(lambda: post("wamid.after").status_code == 200)
    assert stored() == {"Hello"}
    assert Message.objects.count() >= 2
    assert ledger.read(acme.tenant.id, verify=True).balanced
    assert ledger.read(globex.tenant.id).accepted == 0


def test_it_stores_once_what_was_committed_without_an_answer(
    proxy: Proxy, acme: Cast, web: Web, post: Post, wait_for
) -> None:
    assert post("wamid.before").status_code == 200
    proxy.freeze("out")  # the commit arrives, its confirmation does not
    assert_refused(post("wamid.twice"))
    proxy.mend()
    wait_for(lambda: WebhookDelivery.objects.count() == 2)

    wait_for(lambda: post("wamid.twice").status_code == 200)  # as Meta would

    stored()
    assert Message.objects.count() == 2
    entry = ledger.read(acme.tenant.id, verify=True)
    assert (entry.processed, entry.duplicates, entry.balanced) == (3, 1, True)


def test_it_says_that_it_knows_no_tenant_yet(
    proxy: Proxy, acme: Cast, request: pytest.FixtureRequest, wait_for
) -> None:
    proxy.cut()
    web: Web = request.getfixturevalue("web")
    assert_refused(web.post(acme, b"{}"))
    assert web.client.get("/healthz").status_code == 503

    proxy.mend()

    wait_for(lambda: web.post(acme, b"{}").status_code == 200)
    wait_for(lambda: web.client.get("/healthz").status_code == 200)


def test_it_forgets_an_expired_secret_while_the_database_is_away(
    proxy: Proxy, acme: Cast, request: pytest.FixtureRequest, wait_for
) -> None:
    TenantSecret.objects.update(expires_at=datetime.now(UTC) + timedelta(seconds=3))
    web: Web = request.getfixturevalue("web")
    assert web.post(acme, b"{}").status_code == 200
    proxy.cut()
    assert_refused(web.post(acme, b"{}"))
    wait_for(lambda: web.post(acme, b"{}").status_code == 401)


def test_it_refuses_at_once_when_the_queue_is_full(
    settings, proxy: Proxy, acme: Cast, request: pytest.FixtureRequest, wait_for
) -> None:
    settings.SIGMA_INBOX_MAX_WAITING = 3
    web: Web = request.getfixturevalue("web")
    assert web.post(acme, b"{}").status_code == 200
    proxy.freeze()

    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda _: web.post(acme, b"{}"), range(12)))

    for answer in answers:
        assert_refused(answer)
    assert any("Too many" in answer.text for answer in answers)
    proxy.mend()
    wait_for(lambda: web.post(acme, b"{}").status_code == 200)


def test_it_hands_every_option_of_the_database_url_to_the_receiver(
    transactional_db: None, acme: Cast, request: pytest.FixtureRequest, monkeypatch
) -> None:
    connection.ensure_connection()
    address = socket.gethostbyname(connection.connection.info.host or "127.0.0.1")
    options = {**connection.settings_dict["OPTIONS"], "hostaddr": address}
    monkeypatch.setitem(connection.settings_dict, "HOST", "postgres.invalid")
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)

    web: Web = request.getfixturevalue("web")

    assert web.post(acme, b"{}").status_code == 200


@pytest.fixture
def broker_away(settings) -> Iterator[Callable[[], None]]:
    """The broker's address leads to a closed port until the returned function is called."""
    known = django_settings.REDIS_URL
    wakeups.broker.cache_clear()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    def returns() -> None:
        settings.REDIS_URL = known
        wakeups.broker.cache_clear()
        wakeups.broker().delete(processing.WAKE_UP.key(0))

    yield returns
    returns()


def test_it_accepts_without_a_broker_and_finds_the_work_on_its_return(
    broker_away: Callable[[], None], acme: Cast, web: Web, post: Post, wait_for
) -> None:
    assert [post(f"wamid.{number}").status_code for number in range(3)] == [200] * 3
    assert not processing.sweep()

    broker_away()

    # Calls a worker once the work is overdue, unless the last callback did so itself.
    wait_for(lambda: processing.sweep() or wakeups.broker().exists(processing.WAKE_UP.key(0)))
    assert processing.drain(1) == 3
    assert Message.objects.count() == 3
    assert not WebhookPending.objects.exists()
