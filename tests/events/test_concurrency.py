"""Nobody's transaction stops everybody's deliveries; limits hold when two ask at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta

import pytest
from django.db import connection

from connectors.events import subscriptions
from connectors.events.models import EventDelivery, EventSubscription
from connectors.events.subscriptions import UnableToSubscribe
from connectors.events.worker import deliver
from tests.conftest import Cast
from tests.events.conftest import Endpoint, Subscribe

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_subscription_that_is_being_changed_stops_no_deliverer(
    acme: Cast, endpoint: Endpoint, subscribe: Subscribe, emit: Callable[..., None], now: datetime
) -> None:
    subscribe(acme)
    endpoint.answers["/"] = 500
    emit(acme)
    with closing(connection.copy()) as tenants, tenants.cursor() as other:
        other.execute("BEGIN; SELECT id FROM event_subscriptions FOR UPDATE")
        with connection.cursor() as mine:
            mine.execute("SET lock_timeout = '1s'")

        assert deliver(clock=lambda: now + timedelta(seconds=1), idle_wait=0) == 1
        with connection.cursor() as mine:
            mine.execute("RESET lock_timeout")

    assert EventDelivery.objects.get().last_status == 500


def test_a_tenant_has_a_most_of_subscriptions_even_if_it_asks_often_at_once(
    acme: Cast, subscribe: Subscribe, endpoint: Endpoint
) -> None:
    for _ in range(subscriptions.MAX_PER_TENANT - 1):
        subscribe(acme)

    def create(number: int) -> bool:
        try:
            subscriptions.create(
                tenant_id=acme.tenant.id, url=endpoint.url(), types=(), description=""
            )
        except UnableToSubscribe:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(create, range(4))) == 1
    assert EventSubscription.objects.count() == subscriptions.MAX_PER_TENANT
