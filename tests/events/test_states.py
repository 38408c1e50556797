"""Every step between the states of a delivery, and that there is no other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import combinations

import pytest
from django.db import IntegrityError, transaction

from connectors.events import deliveries, queue, retention
from connectors.events.attempts import NEXT, TIMES, AttemptResult, DeliveryState
from connectors.events.deliveries import ListedDelivery
from connectors.events.models import EventDelivery, EventSubscription
from tests.conftest import Cast
from tests.events.conftest import Subscribe

pytestmark = pytest.mark.django_db

S = DeliveryState
Emit = Callable[..., None]
SOON = timedelta(seconds=1)
Step = Callable[[datetime], object]


def answered(status: int) -> Step:
    """Let the receiver answer what is due."""

    def step(now: datetime) -> None:
        claimed = queue.claim(now=now + SOON, limit=9, busy={})
        queue.record([AttemptResult(each, status) for each in claimed], now=now + SOON)

    return step


def replayed(now: datetime) -> None:
    """Send again what ended."""
    deliveries.replay_rows(EventDelivery.objects.all(), now=now)


def closed(now: datetime) -> None:
    """Delete the subscription; what was pending for it is given up."""
    EventSubscription.objects.all().delete()
    retention.purge(now=now, force=True)


STEPS: dict[tuple[DeliveryState, DeliveryState], list[Step]] = {
    (S.PENDING, S.PENDING): [answered(500)],
    (S.PENDING, S.DELIVERED): [answered(200)],
    (S.PENDING, S.DEAD): [answered(410), closed],
    (S.DELIVERED, S.PENDING): [replayed],
    (S.DEAD, S.PENDING): [replayed],
}


@pytest.fixture
def state(acme: Cast, subscribe: Subscribe, emit: Emit) -> Callable[[], DeliveryState]:
    """Return a new delivery's state, now and later."""
    subscribe(acme)
    emit(acme)
    return lambda: ListedDelivery(EventDelivery.objects.get(), None).state


def come_to(before: DeliveryState, now: datetime) -> None:
    """Bring the new delivery into a state."""
    if before != S.PENDING:
        answered({S.DELIVERED: 200, S.DEAD: 410}[before])(now)
        EventSubscription.objects.update(disabled_at=None, resting_until=None)


def test_it_begins_as_the_table_says(state: Callable[[], DeliveryState]) -> None:
    assert frozenset({state()}) == NEXT[None]


def test_there_is_a_step_for_every_edge_of_the_table() -> None:
    assert STEPS.keys() == {(before, after) for before in S for after in NEXT[before]}


@pytest.mark.parametrize(
    ("before", "after", "step"),
    [(*edge, step) for edge, steps in STEPS.items() for step in steps],
)
def test_each_step_is_taken(
    state: Callable[[], DeliveryState],
    before: DeliveryState,
    after: DeliveryState,
    step: Step,
    now: datetime,
) -> None:
    come_to(before, now)
    assert state() == before

    step(now)

    assert state() == after


@pytest.mark.parametrize("before", [S.DELIVERED, S.DEAD])
@pytest.mark.parametrize("step", [answered(200), answered(500), closed])
def test_what_ended_is_only_replayed(
    state: Callable[[], DeliveryState], before: DeliveryState, step: Step, now: datetime
) -> None:
    come_to(before, now)

    step(now + timedelta(hours=1))

    assert state() == before


@pytest.mark.parametrize("columns", [(), *combinations(TIMES.values(), 2)])
def test_the_database_refuses_a_row_with_no_state_or_two(
    state: object, columns: tuple[str, ...], now: datetime
) -> None:
    times = {column: now if column in columns else None for column in TIMES.values()}

    with pytest.raises(IntegrityError, match="event_deliveries_one_state"), transaction.atomic():
        EventDelivery.objects.update(**times)
