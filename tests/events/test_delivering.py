"""Events arrive, signed; what fails is tried again over three days, then kept as dead."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.db.models import Q
from standardwebhooks import Webhook, WebhookVerificationError

from connectors.events import deliveries, queue, worker
from connectors.events.attempts import DELAYS, AttemptResult
from connectors.events.models import EventDelivery, EventSubscription, OutgoingEvent
from connectors.events.worker import deliver
from lib import work
from tests.conftest import Cast
from tests.events.conftest import Endpoint, Subscribe

Emit = Callable[..., None]
SOON = timedelta(seconds=1)


def turn(at: datetime) -> int:
    """Deliver all that is due at a time."""
    return deliver(clock=lambda: at, idle_wait=0)


def test_it_delivers_an_event_signed_as_standard_webhooks_describes(
    acme: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    (secret,) = subscribe(acme).secrets
    emit(acme)

    assert turn(now + SOON) == 1

    (got,), event = endpoint.got, OutgoingEvent.objects.get()
    said = Webhook(secret).verify(got.body, got.headers)
    assert said == {
        "type": event.type,
        "timestamp": event.occurred_at.isoformat().replace("+00:00", "Z"),
        "data": event.data,
    }
    assert got.headers["webhook-id"] == str(event.id)
    assert EventDelivery.objects.get().delivered_at is not None


def test_it_signs_with_every_live_secret(
    acme: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    ends = (None, now + timedelta(hours=1), now - timedelta(hours=1))
    newest, old, expired = subscribe(acme, ends=ends).secrets
    emit(acme)

    turn(now + SOON)

    (got,) = endpoint.got
    assert Webhook(newest).verify(got.body, got.headers)
    assert Webhook(old).verify(got.body, got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(expired).verify(got.body, got.headers)


def test_it_tries_again_over_three_days_and_then_keeps_it_as_dead(
    acme: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    subscribe(acme)
    endpoint.answers["/"] = 500
    emit(acme)
    at, waits = now + SOON, []

    while turn(at):
        due = EventDelivery.objects.get().next_attempt_at
        waits.append(due and due - at)
        at = due or at

    row = EventDelivery.objects.get()
    assert waits.pop() is None
    assert all(delay <= wait <= delay * 1.1 for delay, wait in zip(DELAYS, waits, strict=True))
    assert timedelta(days=3) < at - now < timedelta(days=4)
    assert (row.attempts, row.dead_at, row.last_status) == (10, at, 500)
    assert row.last_error == "It answered 500."
    assert len(set(endpoint.ids("/"))) == 1


def test_it_waits_as_long_as_a_busy_receiver_asks(
    acme: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    subscribe(acme)
    endpoint.answers["/"], endpoint.headers = 429, {"retry-after": "120"}
    emit(acme)

    turn(now + SOON)

    assert EventDelivery.objects.get().next_attempt_at >= now + timedelta(seconds=120)


def test_it_follows_no_redirect(
    acme: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    subscribe(acme)
    endpoint.answers["/"], endpoint.headers = 302, {"location": endpoint.url("/elsewhere")}
    emit(acme)

    turn(now + SOON)

    assert [got.path for got in endpoint.got] == ["/"]
    assert "redirects are not followed" in EventDelivery.objects.get().last_error


def test_it_disables_an_endpoint_that_is_gone(
    acme: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    row = subscribe(acme)
    endpoint.answers["/"] = 410
    emit(acme)
    turn(now + SOON)
    emit(acme)

    row.refresh_from_db()
    assert (row.disabled_at, row.disabled_reason[:15]) == (now + SOON, "It answered 410")
    assert EventDelivery.objects.get().dead_at is not None


def test_it_disables_an_endpoint_after_days_of_nothing_but_failures(
    acme: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    row = subscribe(acme)
    endpoint.answers["/"] = 500
    emit(acme)
    turn(now + SOON)
    EventSubscription.objects.update(failing_since=now - timedelta(days=5))
    emit(acme)

    turn(now + timedelta(minutes=20))

    row.refresh_from_db()
    assert row.disabled_reason == (
        "Every attempt failed for 5 days. The last time: It answered 500."
    )


def test_a_success_ends_an_endpoints_rest(
    acme: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    row = subscribe(acme)
    endpoint.answers["/"] = 500
    emit(acme, 3)
    turn(now + SOON)  # one at a time, and a rest after each
    endpoint.answers.clear()

    while turn(now + timedelta(seconds=30)):
        pass

    row.refresh_from_db()
    assert (row.failing_since, row.resting_until) == (None, None)
    assert EventDelivery.objects.filter(delivered_at=None).count() == 0


def test_a_dead_endpoint_does_not_starve_the_others(
    acme: Cast, globex: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    subscribe(acme, path="/slow")
    subscribe(globex, path="/quick")
    emit(acme, 200)
    emit(globex, 40)

    claimed = queue.claim(now=now + SOON, limit=64, busy={})

    by_whom = [c.url.rpartition("/")[2] for c in claimed]
    assert (by_whom.count("slow"), by_whom.count("quick")) == (queue.MAX_PER_SUBSCRIPTION,) * 2


def test_a_tenant_with_many_slow_endpoints_does_not_hold_all_places(
    acme: Cast, globex: Cast, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    mine = [subscribe(acme).id for _ in range(6)]
    subscribe(globex)
    emit(acme, 100)
    emit(globex)

    busy: dict[UUID, int] = {}
    for _ in range(20):
        for claimed in queue.claim(now=now + SOON, limit=200, busy=busy):
            busy[claimed.subscription_id] = busy.get(claimed.subscription_id, 0) + 1

    assert 60 <= sum(busy[each] for each in mine) <= queue.MAX_PER_TENANT + len(mine)
    assert sum(busy.values()) == sum(busy[each] for each in mine) + 1


def test_it_tells_each_tenant_its_own_events_only(
    acme: Cast, globex: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    subscribe(acme, path="/acme")
    subscribe(globex, path="/globex")
    emit(acme, 3)
    emit(globex, 2)

    turn(now + SOON)

    mine = {str(e.id) for e in OutgoingEvent.objects.filter(tenant_id=acme.tenant.id)}
    assert set(endpoint.ids("/acme")) == mine
    assert len(endpoint.ids("/globex")) == 2


def test_what_a_killed_deliverer_held_is_delivered_again(
    acme: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    subscribe(acme)
    emit(acme)
    assert len(queue.claim(now=now + SOON, limit=8, busy={})) == 1  # and dies

    assert turn(now + SOON * 2) == 0
    assert turn(now + SOON + queue.LEASE) == 1
    assert json.loads(endpoint.got[0].body)["type"] == "message.received"


@pytest.mark.parametrize("answer", [200, 500, 410])
@pytest.mark.parametrize("is_replayed", [True, False], ids=["replayed", "claimed again"])
def test_what_a_frozen_deliverer_notes_late_counts_for_no_later_attempt(
    acme: Cast,
    globex: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    answer: int,
    is_replayed: bool,
) -> None:
    mine = {cast: subscribe(cast) for cast in (acme, globex)}
    for cast in mine:
        emit(cast)
    endpoint.answers["/"] = answer
    record, kept, later = queue.record, list[AttemptResult](), now + 2 * queue.LEASE

    def freeze(reports: Sequence[AttemptResult], *, now: datetime) -> None:
        kept.extend(reports)
        if len(kept) < len(mine):
            return
        monkeypatch.setattr(queue, "record", record)
        endpoint.answers.clear()
        if is_replayed:
            turn(later)
            for cast, row in mine.items():
                deliveries.replay(
                    tenant_id=cast.tenant.id,
                    subscription_id=row.id,
                    which=Q(),
                    now=later,
                    include_delivered=True,
                )
        else:
            queue.claim(now=later, limit=8, busy={})
        record(kept, now=later)

    monkeypatch.setattr(queue, "record", freeze)
    turn(now + SOON)

    due = later if is_replayed else later + queue.LEASE
    untouched = {"attempts": 0, "next_attempt_at": due, "delivered_at": None, "dead_at": None}
    assert EventDelivery.objects.filter(**untouched).count() == 2
    assert EventSubscription.objects.filter(disabled_at=None, failing_since=None).count() == 2
    assert turn(due) == 2
    assert EventDelivery.objects.filter(attempts=1, delivered_at=due).count() == 2


@pytest.mark.parametrize("late_first", [True, False])
@pytest.mark.parametrize(("late", "answer"), [(200, 500), (500, 200), (410, 200)])
def test_what_comes_late_counts_for_nothing_beside_the_result_of_the_later_attempt(
    acme: Cast,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    late: int,
    answer: int,
    late_first: bool,
) -> None:
    subscribe(acme)
    emit(acme)
    reports = []
    for status, at in ((late, now + SOON), (answer, now + SOON + queue.LEASE)):
        (claimed,) = queue.claim(now=at, limit=8, busy={})
        reports.append(AttemptResult(claimed, status))

    queue.record(reports if late_first else reports[::-1], now=at)

    assert EventDelivery.objects.get().last_status == answer
    endpoint = EventSubscription.objects.get()
    assert (endpoint.failing_since, endpoint.disabled_at) == (at if answer == 500 else None, None)


def test_a_subscription_whose_secrets_cannot_be_opened_fails_alone(
    acme: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    broken = subscribe(acme, path="/broken")
    subscribe(acme, path="/whole")
    EventSubscription.objects.filter(pk=broken.pk).update(sealed_secrets=b"ruins" * 20)
    emit(acme)

    turn(now + SOON)

    assert {got.path for got in endpoint.got} == {"/whole"}
    failed = EventDelivery.objects.get(subscription_id=broken.id)
    assert (failed.attempts, failed.dead_at) == (1, None)
    assert failed.last_error == "Its signing secrets cannot be opened."


def test_nobody_waits_for_anothers_slow_endpoint_when_the_turn_ends(
    acme: Cast,
    globex: Cast,
    endpoint: Endpoint,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "TURN_SECONDS", 0.05)
    monkeypatch.setattr(worker, "SLOW_SECONDS", 0.1)
    subscribe(acme, path="/slow")
    subscribe(globex, path="/quick")
    emit(acme)
    turn_ends, emitted = time.monotonic() + 0.2, list[Cast]()

    def clock() -> datetime:  # is asked in every step
        if time.monotonic() > turn_ends and not emitted:
            emitted.append(globex)
            emit(globex)
        if endpoint.ids("/quick"):
            endpoint.slow.set()
        return now + SOON

    assert deliver(clock=clock, idle_wait=0) == 2
    assert len(endpoint.ids("/quick")) == 1


def test_a_slow_endpoint_gets_nothing_new_while_the_turn_ends(
    acme: Cast, globex: Cast, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    slow, quick = subscribe(acme), subscribe(globex)
    emit(acme)
    emit(globex)

    claimed = queue.claim(now=now + SOON, limit=64, busy={slow.id: 1}, without={slow.id})

    assert [each.subscription_id for each in claimed] == [quick.id]
