"""What a scraper of ``/metrics`` is told, by whom it may be asked, and that it names nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx
import pytest
from django.db import connection
from prometheus_client.parser import text_string_to_metric_families

from connectors.simulator.meta.server import RunningSimulator
from connectors.whatsapp import processing
from lib import metrics as counts
from lib.heartbeat import ProcessHeartbeat
from messaging.delivery.sender import Sender
from messaging.models import SendingPause
from sigma import metrics
from sigma.asgi import Application
from tests.conftest import Cast
from tests.sender.simulated import meta
from tests.whatsapp.conftest import Web, serving
from tests.whatsapp.deliveries import callback, contact, deliver, text
from tests.whatsapp.proxy import Proxy
from tests.whatsapp.test_outage import proxy

__all__ = ["meta", "proxy"]

pytestmark = pytest.mark.django_db(transaction=True)

PERSON = "27711558396"
TOKEN = "a-token-for-the-scraper-0123456789"
SEND = """
mutation ($workspace: ID!) {
  sendWhatsAppMessage(input: {workspaceId: $workspace, recipientPhone: "+27711558396", text: "Hi"})
  { success errors { message } }
}
"""


class Scraped:
    """One answer, by the names and labels of its samples."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200, answer.text
        self.text = answer.text
        self.families = {f.name: f for f in text_string_to_metric_families(answer.text)}
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self._values.get((f"sigma_{name}", frozenset(labels.items())), 0.0)

    def has(self, name: str, **labels: str) -> bool:
        """Whether there is such a sample."""
        return (f"sigma_{name}", frozenset(labels.items())) in self._values


@pytest.fixture(autouse=True)
def _read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test just changed is seen at once."""
    monkeypatch.setattr(metrics, "ANSWER_SECONDS", 0.0)
    monkeypatch.setattr(metrics, "READ_SECONDS", 0.0)


@pytest.fixture
def scrape(web: Web) -> Callable[[], Scraped]:
    """Ask as Prometheus does."""
    return lambda: Scraped(web.client.get("/metrics"))


@pytest.fixture
def sender(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    """The product's sender."""
    monkeypatch.setattr("messaging.delivery.sender.Sender.idle_wait", 0.0)
    made = Sender()
    yield made
    made.close()


def post(web: Web, cast: Cast, wamid: str, **headers: str) -> int:
    """Post a text message; return the status of the answer."""
    message = text(wamid, sender=PERSON, at=int(datetime.now(UTC).timestamp()))
    body = callback(cast.workspace.external_id, messages=[message], contacts=[contact(PERSON)])
    return web.post(cast, json.dumps(body).encode(), **headers).status_code


def test_it_counts_callbacks_and_what_became_of_them(
    acme: Cast, globex: Cast, web: Web, scrape: Callable[[], Scraped], no_wake_ups
) -> None:
    before = scrape()
    assert post(web, acme, "wamid.1") == post(web, globex, "wamid.2") == 200
    waiting = scrape()
    processing.drain(1)
    after = scrape()

    assert waiting("callbacks_accepted_total") - before("callbacks_accepted_total") == 2
    assert waiting("callback_bytes_total") - before("callback_bytes_total") > 500
    assert waiting("commit_callbacks_sum") - before("commit_callbacks_sum") == 2
    assert waiting("commit_seconds_count") - before("commit_seconds_count") == 2
    assert (waiting("queue_pending", queue="callbacks"), waiting("callbacks_waiting")) == (2, 0)
    assert 0 < waiting("queue_oldest_seconds", queue="callbacks") < 120
    assert after("queue_pending", queue="callbacks") == 0
    assert after("queue_oldest_seconds", queue="callbacks") == 0
    assert after("ledger_updates", outcome="processed") == 2
    work = {"work": "callbacks"}
    assert after("work_items_total", **work) - before("work_items_total", **work) == 2
    assert after("work_step_seconds_sum", **work) > before("work_step_seconds_sum", **work)
    assert after("callback_lag_seconds_count") > before("callback_lag_seconds_count")


def test_it_counts_refusals_by_reason(acme: Cast, web: Web, scrape: Callable[[], Scraped]) -> None:
    before = scrape()
    forged = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
    assert [post(web, acme, "wamid.1", **forged), web.verify_url(acme.path, "x").status_code] == [
        401,
        403,
    ]
    assert post(web, acme, "wamid.2", **{"Content-Encoding": "gzip"}) == 415
    after = scrape()

    assert {
        reason: after("callbacks_refused_total", reason=reason)
        - before("callbacks_refused_total", reason=reason)
        for reason in ("signature", "verify_token", "encoded", "too_large", "not_stored")
    } == {"signature": 1, "verify_token": 1, "encoded": 1, "too_large": 0, "not_stored": 0}
    assert after("callbacks_accepted_total") == before("callbacks_accepted_total")


def test_it_counts_sends_by_state_and_code(
    acme: Cast,
    globex: Cast,
    meta: RunningSimulator,
    web: Web,
    scrape: Callable[[], Scraped],
    sender: Sender,
    no_wake_ups,
) -> None:
    assert post(web, acme, "wamid.window") == 200
    processing.drain(1)
    before = scrape()
    asked = {"query": SEND, "variables": {"workspace": str(acme.workspace.id)}}
    key = {"Authorization": f"Bearer {acme.api_key}"}
    assert "true" in web.client.post("/graphql", json=asked, headers=key).text
    pending = scrape()
    sender.work()
    sender.settle()
    after = scrape()

    def rise(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    assert pending("queue_pending", queue="sends") == 1
    assert rise("sends_total", state="accepted", code="0") == 1
    assert rise("send_seconds_count") == 1
    assert rise("requests_total", door="graphql", status="2xx") == 1
    assert rise("request_seconds_count", door="graphql") == 1
    assert rise("work_items_total", work="sends") == 1
    for secret in (PERSON, acme.api_key, "acme", str(acme.tenant.id), str(acme.workspace.id)):
        assert secret not in after.text


def test_it_says_what_holds_the_installation_up(
    acme: Cast, web: Web, scrape: Callable[[], Scraped], now: datetime
) -> None:
    ProcessHeartbeat("worker").beat()
    SendingPause.objects.create(
        tenant_id=acme.tenant.id, workspace_id=acme.workspace.id, code=190, reason="x", since=now
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO stopped_work (line, error, since, seen_at) "
            "VALUES ('sends', 'X', clock_timestamp(), clock_timestamp())"
        )
    told = scrape()

    assert told("heartbeat_age_seconds", role="worker") < 60
    assert told("heartbeat_age_seconds", role="beat") == float("inf")
    assert abs(told("clock_ahead_seconds", role="worker")) < 60
    assert told("sending_pauses", code="190") == 1
    assert (told("work_stopped", work="sends"), told("work_stopped", work="events")) == (1, 0)
    assert (told("database_up"), told("broker_up")) == (1, 1)


@pytest.mark.parametrize("trouble", ["cut", "freeze"])
def test_it_serves_the_rest_while_the_database_is_away(
    proxy: Proxy, acme: Cast, web: Web, scrape: Callable[[], Scraped], trouble: str, wait_for
) -> None:
    assert post(web, acme, "wamid.1") == 200
    assert scrape()("database_up") == 1

    getattr(proxy, trouble)()
    assert post(web, acme, "wamid.2") == 503
    told = scrape()
    proxy.mend()

    assert told.has("database_up")
    assert not told("database_up")
    assert told("callbacks_refused_total", reason="not_stored") > 0
    assert told("callbacks_accepted_total") > 0
    assert not told.has("queue_pending", queue="callbacks")
    wait_for(lambda: scrape()("database_up") == 1)


def test_it_reads_the_rest_where_the_schema_is_another(
    web: Web, scrape: Callable[[], Scraped]
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE webhook_ledger RENAME COLUMN dead TO elsewhere")
        try:
            told = scrape()
        finally:
            cursor.execute("ALTER TABLE webhook_ledger RENAME COLUMN elsewhere TO dead")

    assert told("database_up") == 1
    assert told.has("queue_pending", queue="callbacks")
    assert not told.has("ledger_updates", outcome="dead")


def test_many_who_ask_at_once_share_one_answer(
    acme: Cast, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "ANSWER_SECONDS", 600.0)
    first = web.client.get("/metrics")
    deliver(acme.tenant.id, b"{}")

    assert web.client.get("/metrics").text == first.text
    assert first.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert first.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "sigma.example.com"}, 401),
        ({"X-Forwarded-For": "127.0.0.1"}, 401),
        ({"Forwarded": "for=127.0.0.1"}, 401),
        ({"Via": "1.1 proxy"}, 401),
        ({"X-Real-IP": "127.0.0.1"}, 401),
        ({"X-Forwarded-Proto": "https"}, 401),
        ({"X-Forwarded-For": "203.0.113.9", "Authorization": f"Bearer {TOKEN}"}, 200),
        ({"X-Forwarded-For": "203.0.113.9", "Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"X-Forwarded-For": "203.0.113.9", "Authorization": TOKEN}, 401),
    ],
)
def test_it_answers_this_host_or_the_token(
    web: Web, settings, headers: dict[str, str], status: int
) -> None:
    settings.SIGMA_METRICS_TOKEN = TOKEN
    answer = web.client.get("/metrics", headers=headers)

    assert answer.status_code == status
    assert (status == 200) == ("sigma_database_up" in answer.text)


def test_behind_a_proxy_it_wants_the_token(acme: Cast, web: Web, settings) -> None:
    settings.SIGMA_PROXIES = 1
    keys = ("", "Bearer", f"Bearer {acme.api_key}", f"Bearer {TOKEN}")

    def asked() -> list[int]:
        answers = (web.client.get("/metrics", headers={"Authorization": key}) for key in keys)
        return [answer.status_code for answer in answers]

    assert asked() == [401, 401, 401, 401]
    settings.SIGMA_METRICS_TOKEN = TOKEN
    assert asked() == [401, 401, 401, 200]


@pytest.mark.parametrize("peer", ["203.0.113.9", "10.0.0.1", "::ffff:203.0.113.9", ""])
def test_elsewhere_it_wants_the_token(settings, peer: str) -> None:
    scope = {"client": (peer, 4711)}
    key = {b"host": b"127.0.0.1", b"authorization": f"Bearer {TOKEN}".encode()}

    assert not metrics.is_allowed(scope, key)
    settings.SIGMA_METRICS_TOKEN = TOKEN
    assert metrics.is_allowed(scope, key)
    assert not metrics.is_allowed(scope, {b"host": b"127.0.0.1"})


def test_what_nginx_passes_on_unless_told_otherwise_wants_the_token() -> None:
    scope, headers = {"client": ("127.0.0.1", 4711)}, {b"host": b"127.0.0.1:8000"}

    assert metrics.is_allowed({**scope, "http_version": "1.1"}, headers)
    assert not metrics.is_allowed({**scope, "http_version": "1.0"}, headers)


def test_every_process_without_a_folder_counts_for_itself(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "trouble", "Read-only file system")
    with serving(Application()) as port:
        told = Scraped(httpx.get(f"http://127.0.0.1:{port}/metrics"))

    assert told("database_up") == 1
    assert told.has("callbacks_accepted_total")
