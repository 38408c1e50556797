"""The live stream, over real HTTP: from a signed callback to the event."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from redis import Redis
from standardwebhooks import Webhook

from connectors.events import outbox, stream
from connectors.events.outbox import EventItem, TenantEvent
from connectors.events.worker import deliver
from connectors.whatsapp.processing import process_batch
from tests.conftest import Cast
from tests.events.conftest import Endpoint, Subscribe
from tests.graphql.conftest import key_with
from tests.whatsapp.conftest import Web
from tests.whatsapp.deliveries import callback, text
from workspaces.models import ApiKey, Membership, Role

pytestmark = pytest.mark.django_db(transaction=True)


class Said(NamedTuple):
    """One event of a stream."""

    event: str
    id: str
    data: dict[str, object]


class Listener:
    """Reads a stream as a browser does."""

    def __init__(self, response: httpx.Response) -> None:
        self.status, self.headers = response.status_code, response.headers
        self._lines = response.iter_lines()

    def next(self) -> Said:
        """Return the next event; heartbeats are comments."""
        fields = {"event": "", "id": "", "data": "{}"}
        for line in self._lines:
            if not line and fields["event"]:
                return Said(fields["event"], fields["id"], json.loads(fields["data"]))
            name, _, value = line.partition(": ")
            fields[name] = value
        raise AssertionError("the stream ended")

    def ended(self) -> bool:
        """Wait for the end of the stream; nothing more may be said."""
        return all(not line or line.startswith(":") for line in self._lines)


Listen = Callable[..., "contextmanager[Listener]"]


@pytest.fixture
def listen(web: Web) -> Listen:
    """Open a stream with a key (a cast's own unless given) and wait for its hello."""

    @contextmanager
    def begin(caller: Cast | str, query: str = "") -> Iterator[Listener]:
        key = caller if isinstance(caller, str) else caller.api_key
        headers = {"Authorization": f"Bearer {key}"}
        with web.client.stream("GET", f"/events/stream{query}", headers=headers) as response:
            listener = Listener(response)
            assert listener.status == 200, response.read()
            assert listener.next().event == "hello"
            yield listener

    return begin


def publish(cast: Cast, *types: str) -> list[str]:
    """Publish events as a commit does; return their ids."""
    items = [EventItem(uuid4(), each, datetime.now(UTC), {"n": 1}) for each in types]
    notices = [TenantEvent(cast.tenant.id, item) for item in items]
    outbox.Publisher().publish([cast.tenant.id], lambda: notices)
    return [str(item.id) for item in items]


def test_a_callback_comes_out_on_the_stream_and_at_the_endpoint(
    acme: Cast,
    web: Web,
    listen: Listen,
    endpoint: Endpoint,
    subscribe: Subscribe,
) -> None:
    (secret,) = subscribe(acme, "message.received").secrets
    body = callback(acme.workspace.external_id, messages=[text("wamid.stream")])

    with listen(acme) as listener:
        assert web.post(acme, json.dumps(body).encode()).status_code == 200
        process_batch(10)
        said = listener.next()
        deliver(clock=lambda: datetime.now(UTC) + timedelta(seconds=1), idle_wait=0)

    (got,) = endpoint.got
    sent = Webhook(secret).verify(got.body, got.headers)
    assert (said.event, said.id) == ("message.received", got.headers["webhook-id"])
    assert said.data == sent
    where = {"workspace_id", "contact_id", "conversation_id"}
    assert set(sent["data"]) == {"message_id", *where, "type"}
    assert b"15550123456" not in got.body


def test_it_shows_each_tenant_its_own_events_of_the_types_it_asked_for(
    acme: Cast, globex: Cast, listen: Listen
) -> None:
    query = "?types=template.updated,broadcast.updated"
    with listen(acme) as mine, listen(globex, query) as theirs:
        publish(globex, "message.status", "broadcast.updated")
        (first,) = publish(acme, "message.received")

        assert mine.next().id == first
        assert theirs.next().event == "broadcast.updated"


def test_streams_share_one_subscription_and_say_when_something_was_missed(
    acme: Cast, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "RETRY_SECONDS", 0.02)
    with (
        listen(acme) as first,
        listen(acme) as second,
        Redis.from_url(settings.REDIS_URL) as redis,
    ):
        assert redis.pubsub_numsub(outbox.channel(acme.tenant.id))[0][1] == 1
        own = str(redis.get_connection_kwargs().get("db", 0))  # others test on the same server
        for client in redis.client_list(_type="pubsub"):
            if client["db"] == own:
                redis.client_kill_filter(_id=client["id"])
        assert (first.next().event, second.next().event) == ("gap", "gap")

        publish(acme, "message.received")

        assert first.next() == second.next()


def test_it_keeps_a_quiet_stream_alive_until_the_key_is_revoked(
    acme: Cast, listen: Listen, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(stream, "RECHECK_SECONDS", 0.05)
    with listen(acme) as listener:
        assert next(line for line in listener._lines if line).startswith(":")
        ApiKey.objects.filter(tenant=acme.tenant).update(revoked_at=now)

        assert listener.ended()


def test_it_admits_who_may_read(acme: Cast, web: Web) -> None:
    def knock(scope: str, query: str = "") -> int:
        headers = {"X-API-Key": key_with(acme.tenant, scope)}
        with web.client.stream("GET", f"/events/stream{query}", headers=headers) as response:
            return response.status_code

    assert [knock(scope) for scope in ("events:read", "messages:read")] == [200, 200]
    assert knock("ledger:read") == 403
    assert knock("events:read", "?types=nonsense") == 400
    assert web.client.get("/events/stream").json()["error"]["code"] == "UNAUTHENTICATED"
    assert web.client.post("/events/stream").status_code == 405


def test_a_session_may_watch_and_name_its_tenant(
    acme: Cast,
    globex: Cast,
    web: Web,
    django_user_model: type[User],
) -> None:
    user = django_user_model.objects.create_user("alice", password="x", is_staff=True)
    for cast in (acme, globex):
        Membership.objects.create(user=user, tenant=cast.tenant, role=Role.VIEWER)
    browser = Client()
    browser.force_login(user)
    web.client.cookies.set("sessionid", browser.cookies["sessionid"].value)

    assert web.client.get("/events/stream").status_code == 400
    wrong = web.client.get("/events/stream?tenant=initech")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "WRONG_TENANT")
    query = "/events/stream?tenant=globex"
    with web.client.stream("GET", query) as response:
        listener = Listener(response)
        assert listener.next().event == "hello"
        publish(acme, "message.received")
        publish(globex, "message.status")
        assert listener.next().event == "message.status"


def test_a_tenant_and_a_process_have_a_most_of_streams(
    acme: Cast,
    globex: Cast,
    web: Web,
    listen: Listen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "MAX_PER_TENANT", 1)
    monkeypatch.setattr(settings, "SIGMA_STREAMS", 2)

    def knock(cast: Cast) -> int:
        headers = {"X-API-Key": cast.api_key}
        return web.client.get("/events/stream", headers=headers).status_code

    with listen(acme):
        assert knock(acme) == 429
        with listen(globex):
            assert knock(globex) == 503
