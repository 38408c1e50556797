"""What a number sent and received, day by day, in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection

from connectors.linked_device import statistics
from tests.conftest import Cast
from tests.linked_device.rows import linked, message, messages

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


def test_it_counts_what_became_of_todays_messages(acme: Cast) -> None:
    statuses = ("accepted", "sent", "delivered", "read", "failed", "unknown", "queued", "sending")
    messages(acme, NOON, *statuses, "cancelled")
    (found,) = statistics.of([acme.workspace.id], now=NOON)
    assert found.today == statistics.MessageCounts(messages=8, waiting=2, failed=1, unknown=1)
    assert found.today.errors == 2
    assert found.today.error_rate == pytest.approx(2 / 6)


def test_it_shows_days_without_messages_too(acme: Cast) -> None:
    messages(acme, NOON - timedelta(days=29), "sent")
    messages(acme, NOON - timedelta(days=30), "sent")
    (found,) = statistics.of([acme.workspace.id], now=NOON)
    assert len(found.days) == 30
    assert found.days[0] == (date(2026, 3, 2), statistics.MessageCounts(messages=1))
    assert {counts for _, counts in found.days[1:]} == {statistics.NOTHING}
    assert found.total.messages == 1


def test_days_are_utc_days_wherever_the_caller_is(acme: Cast) -> None:
    midnight = datetime(2026, 3, 31, tzinfo=UTC)
    messages(acme, midnight - timedelta(seconds=1), "sent")
    messages(acme, midnight, "failed", "failed")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'Asia/Tokyo'")
    (found,) = statistics.of([acme.workspace.id], now=NOON)
    assert [counts.messages for _, counts in found.days[-2:]] == [1, 2]


def test_it_knows_no_rate_where_nothing_ended(acme: Cast) -> None:
    messages(acme, NOON, "queued")
    (found,) = statistics.of([acme.workspace.id], now=NOON)
    assert found.today.error_rate is None


def test_what_came_from_history_or_another_phone_is_not_sent_by_us(acme: Cast) -> None:
    message(acme, NOON, "sent", source="ECHO")
    message(acme, NOON, source="HISTORY")
    message(acme, NOON)
    (found,) = statistics.of([acme.workspace.id], now=NOON)
    assert found.today == statistics.MessageCounts(received=1)


def test_it_keeps_numbers_apart_over_any_transport(acme: Cast, globex: Cast) -> None:
    device = linked(acme)
    messages(acme, NOON, "sent")
    messages(device, NOON, "sent", "failed")
    messages(globex, NOON, "failed")
    found = statistics.of([device.id, acme.workspace.id], now=NOON)
    assert [one.workspace_id for one in found] == [device.id, acme.workspace.id]
    assert [(one.today.messages, one.today.errors) for one in found] == [(2, 1), (1, 0)]
