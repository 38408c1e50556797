"""What an attempt means for its endpoint, and who rests: one subscription of one tenant."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from connectors.events import queue
from connectors.events.attempts import AttemptResult, ClaimedDelivery
from connectors.events.models import EventDelivery, EventSubscription
from tests.conftest import Cast
from tests.events.conftest import Subscribe

Emit = Callable[..., None]
SOON = timedelta(seconds=1)


def claim(now: datetime) -> list[ClaimedDelivery]:
    """Claim all that is due a second later."""
    return queue.claim(now=now + SOON, limit=64, busy={})


def test_a_subscription_rests_until_its_claims_are_due_again(
    acme: Cast, globex: Cast, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    mine, theirs = subscribe(acme), subscribe(globex)
    emit(acme)
    emit(globex)

    queue.rest(tenant_id=acme.tenant.id, subscription_id=mine.id, now=now)

    assert [each.subscription_id for each in claim(now)] == [theirs.id]
    assert not queue.is_due(now=now + queue.LEASE - SOON)
    assert queue.is_due(now=now + queue.LEASE)


def test_nobody_lets_the_subscription_of_another_tenant_rest(
    acme: Cast, globex: Cast, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    mine = subscribe(acme)
    emit(acme)

    queue.rest(tenant_id=globex.tenant.id, subscription_id=mine.id, now=now)

    assert [each.subscription_id for each in claim(now)] == [mine.id]


@pytest.mark.parametrize(
    ("statuses", "is_failing", "is_disabled"),
    [
        ((200, 500), False, False),
        ((500, 200), False, False),
        ((500, 500), True, False),
        # What is gone is gone, whatever came before or after it.
        ((200, 410), True, True),
        ((410, 200), True, True),
    ],
)
def test_what_came_together_is_summed_up_for_the_endpoint(
    acme: Cast,
    globex: Cast,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    statuses: tuple[int, int],
    is_failing: bool,
    is_disabled: bool,
) -> None:
    mine, theirs = subscribe(acme), subscribe(globex)
    emit(acme, 2)
    claimed = claim(now)

    pairs = zip(claimed, statuses, strict=True)
    queue.record([AttemptResult(one, status) for one, status in pairs], now=now)

    mine.refresh_from_db()
    assert (mine.failing_since is not None, mine.disabled_at is not None) == (
        is_failing,
        is_disabled,
    )
    assert (mine.resting_until is not None) is is_failing
    theirs.refresh_from_db()
    assert (theirs.failing_since, theirs.disabled_at) == (None, None)


@pytest.mark.parametrize(("status", "count"), [(500, 0), (200, 0), (410, 1)])
def test_it_logs_an_endpoint_that_is_disabled_and_no_other(
    acme: Cast,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    caplog: pytest.LogCaptureFixture,
    status: int,
    count: int,
) -> None:
    mine = subscribe(acme)
    emit(acme)

    with caplog.at_level(logging.WARNING):
        queue.record([AttemptResult(one, status) for one in claim(now)], now=now)

    found = [each for each in caplog.records if "was disabled" in each.message]
    assert [vars(each)["subscription"] for each in found] == [str(mine.id)] * count


@pytest.mark.parametrize(
    ("failing_for", "seconds"),
    [
        (timedelta(0), 1),
        (timedelta(seconds=10), 1),
        (timedelta(seconds=200), 20),
        (timedelta(hours=10), 300),
    ],
)
def test_an_endpoint_rests_for_a_tenth_of_the_time_that_it_fails(
    acme: Cast,
    subscribe: Subscribe,
    emit: Emit,
    now: datetime,
    failing_for: timedelta,
    seconds: int,
) -> None:
    mine = subscribe(acme)
    if failing_for:
        EventSubscription.objects.filter(pk=mine.pk).update(failing_since=now - failing_for)
    emit(acme)

    queue.record([AttemptResult(one, 500) for one in claim(now)], now=now)

    mine.refresh_from_db()
    assert mine.resting_until == now + timedelta(seconds=seconds)
    assert mine.failing_since == now - failing_for


@pytest.mark.parametrize(("seconds", "is_disabled"), [(0, False), (1, True)])
def test_an_endpoint_is_disabled_after_more_than_five_days_of_failures(
    acme: Cast, subscribe: Subscribe, emit: Emit, now: datetime, seconds: int, is_disabled: bool
) -> None:
    mine = subscribe(acme)
    since = now - queue.DISABLE_AFTER - timedelta(seconds=seconds)
    EventSubscription.objects.filter(pk=mine.pk).update(failing_since=since)
    emit(acme)

    results = [AttemptResult(one, 503, error="It answered 503.") for one in claim(now)]
    queue.record(results, now=now)

    mine.refresh_from_db()
    assert (mine.disabled_at is not None) is is_disabled
    reason = f"{queue.FAILED_FOR_LONG}It answered 503." if is_disabled else ""
    assert mine.disabled_reason == reason


def test_an_endpoint_that_failed_gets_one_event_at_a_time(
    acme: Cast, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    mine = subscribe(acme)
    EventSubscription.objects.filter(pk=mine.pk).update(failing_since=now)
    emit(acme, 3)

    assert len(claim(now)) == 1
    assert queue.claim(now=now + SOON, limit=64, busy={mine.id: 1}) == []


def test_a_long_reason_is_cut_to_what_its_column_holds(
    acme: Cast, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    subscribe(acme)
    emit(acme)

    queue.record([AttemptResult(one, error="x" * 1000) for one in claim(now)], now=now)

    assert EventDelivery.objects.get().last_error == "x" * queue.MAX_ERROR
