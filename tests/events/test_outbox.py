"""Events are written where somebody subscribed, and only for those who did."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from connectors.events.models import EventDelivery, EventSubscription, OutgoingEvent
from tests.conftest import Cast
from workspaces.events import Event, UnknownEvent, emit, emit_lazily


def subscribe(cast: Cast, *types: str, **columns: object) -> EventSubscription:
    """Return a subscription that was written by hand."""
    return EventSubscription.objects.create(
        tenant_id=cast.tenant.id,
        url="https://example.org/",
        types=list(types),
        sealed_secrets=b"",
        **columns,
    )


def received(cast: Cast, now: datetime) -> Event:
    """Return an event of a tenant."""
    return Event(cast.tenant.id, "message.received", {"message_id": str(uuid4())}, now)


def test_it_writes_nothing_where_nobody_subscribed(acme: Cast, globex: Cast, now: datetime) -> None:
    subscribe(globex)
    subscribe(acme, disabled_at=now)

    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        emit([received(acme, now)] * 3)

    assert (OutgoingEvent.objects.count(), EventDelivery.objects.count()) == (0, 0)
    assert len([q for q in queries if "SAVEPOINT" not in q["sql"]]) <= 1


def test_it_writes_an_event_once_and_a_delivery_for_each_who_wants_it(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    wanting = {subscribe(acme).id, subscribe(acme, "message.received").id}
    subscribe(acme, "template.updated")
    subscribe(globex)

    emit([received(acme, now)])

    event = OutgoingEvent.objects.get()
    assert set(EventDelivery.objects.values_list("subscription_id", flat=True)) == wanting
    assert {d.event_id for d in EventDelivery.objects.all()} == {event.id}
    assert (event.type, event.occurred_at, list(event.data)) == (
        "message.received",
        now,
        ["message_id"],
    )


@pytest.mark.parametrize(
    ("type", "data"), [("message.recieved", {}), ("message.received", {"text": "Hello"})]
)
def test_it_refuses_what_is_not_in_the_catalogue(
    acme: Cast, now: datetime, type: str, data: dict[str, object]
) -> None:
    events = [Event(acme.tenant.id, type, data, now)]
    with pytest.raises(UnknownEvent, match="EVENT_TYPES"):
        emit(events)

    subscribe(acme)
    with pytest.raises(UnknownEvent, match="EVENT_TYPES"):
        emit_lazily([acme.tenant.id], lambda: events)
