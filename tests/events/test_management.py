"""Subscriptions through GraphQL: made with a secret shown once, changed, replayed; each tenant's
own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from connectors.events import retention
from connectors.events.models import EventDelivery, EventSubscription, OutgoingEvent
from connectors.events.worker import deliver, sweep
from tests.conftest import Cast
from tests.events.conftest import Endpoint, Subscribe
from tests.graphql.conftest import Gql, gql, key_with

__all__ = ["gql"]

Emit = Callable[..., None]
ERRORS = "errors { code field message }"
CREATE = f"""mutation($input: CreateEventSubscriptionInput!) {{
  createEventSubscription(input: $input) {{
    success secret subscription {{ id url types isActive disabledReason description }} {ERRORS}
}} }}"""
UPDATE = f"""mutation($input: UpdateEventSubscriptionInput!) {{
  updateEventSubscription(input: $input) {{
    success subscription {{ url types isActive disabledReason }} {ERRORS}
}} }}"""
DELETE = f"""mutation($input: EventSubscriptionInput!) {{
  deleteEventSubscription(input: $input) {{ success {ERRORS} }} }}"""
ROTATE = f"""mutation($input: RotateEventSecretInput!) {{
  rotateEventSecret(input: $input) {{ success secret {ERRORS} }} }}"""
TRY = f"""mutation($input: EventSubscriptionInput!) {{
  sendTestEvent(input: $input) {{ success eventId {ERRORS} }} }}"""
REPLAY = f"""mutation($input: ReplayEventsInput!) {{
  replayEvents(input: $input) {{ success count {ERRORS} }} }}"""
LIST = "{ eventSubscriptions { id url isActive failingSince } }"
PAGE = """query($id: ID!, $state: EventDeliveryState, $first: Int, $after: String) {
  eventDeliveries(subscriptionId: $id, state: $state, first: $first, after: $after) {
    nodes { id state attempts lastStatus lastError event { id type data } }
    pageInfo { hasNextPage endCursor }
} }"""


def turn(at: datetime) -> int:
    """Deliver all that is due at a time."""
    return deliver(clock=lambda: at, idle_wait=0)


@pytest.fixture
def ask(gql: Gql) -> Callable[..., dict[str, Any]]:
    """Run a mutation and return its payload."""

    def run(caller: Cast | str, document: str, **input: Any) -> dict[str, Any]:
        (payload,) = gql(caller, document, input=input).data.values()
        return payload

    return run


Ask = Callable[..., dict[str, Any]]


def test_it_subscribes_and_what_is_sent_verifies_with_the_secret_it_showed(
    acme: Cast, ask: Ask, endpoint: Endpoint, emit: Emit, now: datetime
) -> None:
    made = ask(acme, CREATE, url=endpoint.url(), types=["message.received"], description="CRM")
    emit(acme)
    turn(now + timedelta(seconds=1))

    (got,) = endpoint.got
    assert Webhook(made["secret"]).verify(got.body, got.headers)["type"] == "message.received"
    assert made["subscription"]["isActive"]
    assert made["secret"] not in EventSubscription.objects.get().sealed_secrets.hex()


@pytest.mark.parametrize(
    ("input", "code"),
    [
        ({"url": "http://example.org/"}, "INVALID_URL"),
        ({"url": "https://10.0.0.1/"}, "INVALID_URL"),
        ({"url": "https://does-not-exist.invalid/"}, "INVALID_URL"),
        ({"url": "http://localhost:8080/", "types": ["message.sent"]}, "UNKNOWN_TYPE"),
        ({"url": "http://localhost:8080/", "description": "x" * 201}, "INVALID_DESCRIPTION"),
    ],
)
def test_it_says_why_it_does_not_subscribe(
    acme: Cast, ask: Ask, input: dict[str, Any], code: str
) -> None:
    made = ask(acme, CREATE, **input)

    assert (made["success"], made["secret"], made["errors"][0]["code"]) == (False, None, code)
    assert not EventSubscription.objects.exists()


def test_a_tenant_has_a_most_of_subscriptions(
    acme: Cast, ask: Ask, subscribe: Subscribe, endpoint: Endpoint
) -> None:
    for _ in range(20):
        subscribe(acme)

    assert ask(acme, CREATE, url=endpoint.url())["errors"][0]["code"] == "TOO_MANY"


def test_another_tenants_subscription_does_not_exist(
    acme: Cast, globex: Cast, gql: Gql, ask: Ask, subscribe: Subscribe, emit: Emit
) -> None:
    theirs = str(subscribe(globex).id)
    emit(globex)

    for document in (UPDATE, DELETE, ROTATE, TRY):
        assert ask(acme, document, id=theirs)["errors"][0]["code"] == "NOT_FOUND"
    replayed = ask(acme, REPLAY, subscriptionId=theirs, since="2026-01-01T00:00:00Z")
    assert replayed["errors"][0]["code"] == "NOT_FOUND"
    assert gql(acme, LIST).data["eventSubscriptions"] == []
    assert gql(acme, PAGE, id=theirs).data["eventDeliveries"]["nodes"] == []


def test_it_needs_the_permissions(acme: Cast, gql: Gql) -> None:
    reader = key_with(acme.tenant, "events:read")

    assert gql(reader, LIST).data["eventSubscriptions"] == []
    assert gql(reader, CREATE, input={"url": "http://localhost:1/"}).codes == ["FORBIDDEN"]
    assert gql(key_with(acme.tenant, "messages:read"), LIST).codes == ["FORBIDDEN"]


def test_it_stops_and_resumes(
    acme: Cast, ask: Ask, subscribe: Subscribe, emit: Emit, endpoint: Endpoint, now: datetime
) -> None:
    row = subscribe(acme)
    emit(acme)
    stopped = ask(acme, UPDATE, id=str(row.id), isActive=False, types=["message.status"])
    emit(acme, type="message.status")
    assert turn(now + timedelta(seconds=1)) == 0
    assert not stopped["subscription"]["isActive"]
    assert ask(acme, TRY, id=str(row.id))["errors"][0]["code"] == "DISABLED"

    ask(acme, UPDATE, id=str(row.id), isActive=True)

    assert turn(now + timedelta(seconds=1)) == 1


def test_a_new_secret_signs_beside_the_old_one_until_that_ends(
    acme: Cast, ask: Ask, subscribe: Subscribe, emit: Emit, endpoint: Endpoint, now: datetime
) -> None:
    row = subscribe(acme)
    new = ask(acme, ROTATE, id=str(row.id))["secret"]
    emit(acme)
    turn(now + timedelta(seconds=1))
    newest = ask(acme, ROTATE, id=str(row.id), keepOldHours=0)["secret"]
    emit(acme)
    turn(now + timedelta(seconds=2))

    both, alone = endpoint.got
    for secret in (*row.secrets, new):
        assert Webhook(secret).verify(both.body, both.headers)
    assert Webhook(newest).verify(alone.body, alone.headers)
    assert alone.headers["webhook-signature"].count("v1,") == 1


def test_it_sends_a_test_event_to_one_subscription_only(
    acme: Cast, ask: Ask, subscribe: Subscribe, endpoint: Endpoint, now: datetime
) -> None:
    row = subscribe(acme, "template.updated", path="/mine")
    subscribe(acme, path="/other")

    sent = ask(acme, TRY, id=str(row.id))
    turn(now + timedelta(seconds=5))

    assert [got.path for got in endpoint.got] == ["/mine"]
    assert endpoint.ids("/mine") == [sent["eventId"]]


def test_it_replays_the_dead_and_if_asked_the_delivered(
    acme: Cast, ask: Ask, subscribe: Subscribe, emit: Emit, endpoint: Endpoint, now: datetime
) -> None:
    row = subscribe(acme)
    emit(acme, 3)
    turn(now + timedelta(seconds=1))
    dead = EventDelivery.objects.order_by("id").first()
    EventDelivery.objects.filter(pk=dead.pk).update(delivered_at=None, dead_at=now)
    span = {"subscriptionId": str(row.id), "since": (now - timedelta(hours=1)).isoformat()}

    assert ask(acme, REPLAY, **span)["count"] == 1
    assert ask(acme, REPLAY, **span, includeDelivered=True)["count"] == 2
    assert turn(now + timedelta(seconds=60)) == 3
    named = ask(acme, REPLAY, subscriptionId=str(row.id), deliveryIds=[str(dead.pk)])
    assert named["count"] == 1
    assert turn(now + timedelta(seconds=60)) == 1
    assert endpoint.ids("/").count(str(dead.event_id)) == 3


@pytest.mark.parametrize(
    "input",
    [
        {},
        {"since": "2026-01-01T00:00:00Z", "deliveryIds": ["1"]},
        {"deliveryIds": ["one"]},
        {"deliveryIds": ["9" * 30]},
    ],
)
def test_it_refuses_an_unclear_replay(
    acme: Cast, ask: Ask, subscribe: Subscribe, input: dict[str, Any]
) -> None:
    answer = ask(acme, REPLAY, subscriptionId=str(subscribe(acme).id), **input)

    assert answer["errors"][0]["code"] == "INVALID_INPUT"


def test_it_lists_deliveries_page_by_page(
    acme: Cast, gql: Gql, subscribe: Subscribe, emit: Emit, endpoint: Endpoint, now: datetime
) -> None:
    row = subscribe(acme)
    endpoint.answers["/"] = 503
    emit(acme, 3)
    turn(now + timedelta(seconds=1))
    first = gql(acme, PAGE, id=str(row.id), first=2, state="PENDING").data["eventDeliveries"]
    after = first["pageInfo"]["endCursor"]
    second = gql(acme, PAGE, id=str(row.id), first=2, after=after).data["eventDeliveries"]

    found = [*first["nodes"], *second["nodes"]]
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)
    assert len({each["event"]["id"] for each in found}) == 3
    assert {(each["state"], each["lastStatus"], each["attempts"]) for each in found} == {
        ("PENDING", 503, 1)
    }
    assert gql(acme, PAGE, id=str(row.id), after="nonsense").codes == ["BAD_USER_INPUT"]


def test_it_names_deliveries_so_that_nobody_counts_those_of_others(
    acme: Cast, globex: Cast, gql: Gql, ask: Ask, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    ids = "query($id: ID!) { eventDeliveries(subscriptionId: $id) { nodes { id } } }"
    rows = {cast.tenant.slug: subscribe(cast) for cast in (acme, globex)}
    emit(acme, 2)
    emit(globex, 1)
    EventDelivery.objects.update(dead_at=now, next_attempt_at=None)

    of = {
        cast.tenant.slug: [
            node["id"]
            for node in gql(cast, ids, id=str(rows[cast.tenant.slug].id)).data["eventDeliveries"][
                "nodes"
            ]
        ]
        for cast in (acme, globex)
    }

    assert not any(each.isdecimal() for each in of["acme"] + of["globex"])
    mine = {"subscriptionId": str(rows["acme"].id)}
    assert ask(acme, REPLAY, **mine, deliveryIds=of["acme"])["count"] == 2
    theirs = ask(acme, REPLAY, **mine, deliveryIds=of["globex"])
    assert theirs["errors"][0]["code"] == "INVALID_INPUT"


def test_the_sweep_wakes_a_worker_for_what_is_due(
    acme: Cast, subscribe: Subscribe, emit: Emit, now: datetime, woken: list[str]
) -> None:
    assert not sweep(now=now + timedelta(seconds=1))
    subscribe(acme)
    emit(acme)

    assert sweep(now=now + timedelta(seconds=1))
    assert "events" in woken


@pytest.mark.parametrize("state", ["disabled_at", "resting_until"])
def test_the_sweep_calls_nobody_for_what_cannot_be_delivered_now(
    acme: Cast, subscribe: Subscribe, emit: Emit, now: datetime, state: str
) -> None:
    row = subscribe(acme)
    emit(acme)
    EventSubscription.objects.filter(pk=row.pk).update(**{state: now + timedelta(minutes=1)})

    assert not sweep(now=now + timedelta(seconds=1))


def test_it_keeps_delivered_events_for_a_week_and_dead_ones_for_a_month(
    acme: Cast, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    subscribe(acme)
    subscribe(acme)
    emit(acme, 2)
    first, second, third, _pending = EventDelivery.objects.order_by("id")
    for row, column, days in (
        (first, "delivered_at", 8),
        (second, "delivered_at", 8),
        (third, "dead_at", 8),
    ):
        ended = {column: now - timedelta(days=days), "next_attempt_at": None}
        EventDelivery.objects.filter(pk=row.pk).update(**ended)

    assert retention.purge(now=now) == retention.PurgedEvents(2, 0, 0, 0)
    assert OutgoingEvent.objects.count() == 1
    assert retention.purge(now=now + timedelta(days=23)) == retention.PurgedEvents(0, 1, 0, 0)
    assert OutgoingEvent.objects.count() == 1


def test_it_gives_up_what_is_owed_to_a_deleted_subscription(
    acme: Cast, ask: Ask, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    row = subscribe(acme)
    emit(acme, 3)
    assert ask(acme, DELETE, id=str(row.id))["success"]
    assert turn(now + timedelta(seconds=1)) == 0

    assert retention.purge(now=now).given_up == 3
    assert EventDelivery.objects.filter(dead_at=None).count() == 0
