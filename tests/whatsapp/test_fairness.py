"""One tenant's flood is not another tenant's wait."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models import F

from connectors.models import WebhookDelivery, WebhookPending
from connectors.whatsapp import processing
from connectors.whatsapp.processing import process_batch
from connectors.whatsapp.raw import BODY
from lib.envelope import associated_data
from messaging.models import Message
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, deliver, text
from workspaces import keys, provisioning

pytestmark = pytest.mark.django_db


def flood(cast: Cast, count: int) -> None:
    """Put a backlog where the receiver would have put it, all at once."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('webhook_delivery_blocks')")
        (start,) = cursor.fetchone()
    at, tenant_id = datetime.now(UTC), cast.tenant.id
    cipher, rows = keys.day_cipher(tenant_id, at.date()), []
    for number in range(start, start + count):
        body = callback(cast.workspace.external_id, messages=[text(f"wamid.{number}", "flood")])
        sealed = cipher.seal(json.dumps(body).encode(), associated_data(tenant_id, BODY, number))
        row = WebhookDelivery(id=number, received_at=at, tenant_id=tenant_id, size=1, digest=b"")
        row.body = sealed
        rows.append(row)
    WebhookDelivery.objects.bulk_create(rows)
    WebhookPending.objects.bulk_create(
        WebhookPending(delivery_id=row.id, received_at=at, tenant_id=tenant_id) for row in rows
    )


def test_it_serves_everybody_in_the_next_batch(acme: Cast, globex: Cast) -> None:
    flood(acme, 900)
    deliver(globex.tenant.id, callback(globex.workspace.external_id, messages=[text("wamid.G")]))

    process_batch(20)

    assert Message.objects.filter(tenant_id=globex.tenant.id).count() == 1
    assert Message.objects.filter(tenant_id=acme.tenant.id).count() in range(9, 21)


def test_it_shares_a_batch_evenly(acme: Cast, globex: Cast) -> None:
    flood(acme, 100)
    flood(globex, 100)

    process_batch(50)

    for cast in (acme, globex):
        assert Message.objects.filter(tenant_id=cast.tenant.id).count() == 25


def test_it_takes_turns_where_there_are_more_tenants_than_places(acme: Cast) -> None:
    others = [provisioning.create_tenant(slug=f"tenant-{n}", name="One of many") for n in range(5)]
    for tenant in (acme.tenant, *others):
        deliver(tenant.id, b"{}")

    batches = [process_batch(2) for _ in range(4)]

    assert sum(batches) == 6
    assert max(batches) == 2


def test_it_finishes_the_oldest_first(acme: Cast, globex: Cast) -> None:
    flood(acme, 30)
    oldest = set(WebhookPending.objects.order_by("delivery_id").values_list("delivery_id")[:10])

    process_batch(10)

    assert {(row,) for row in Message.objects.values_list("delivery_id", flat=True)} == oldest


def test_it_bounds_a_batch_in_bytes_and_shares_those_too(acme: Cast, globex: Cast) -> None:
    flood(acme, 5)
    WebhookPending.objects.update(size=3_000_000)
    flood(globex, 50)

    assert process_batch(100) == 51

    assert Message.objects.filter(tenant_id=globex.tenant.id).count() == 50
    assert process_batch(100) == 1


def test_it_takes_one_callback_however_large(acme: Cast, globex: Cast) -> None:
    for cast in (acme, globex):
        flood(cast, 2)
    WebhookPending.objects.update(size=9_000_000)

    assert [process_batch(100) for _ in range(5)] == [1, 1, 1, 1, 0]


def make_suspect(*, attempts: int) -> None:
    """Let what waits have been in batches whose process ended: a worker was killed, repeatedly."""
    for model in (WebhookDelivery, WebhookPending):
        model.objects.update(received_at=F("received_at") - timedelta(minutes=1))
    WebhookPending.objects.update(attempts=attempts)


def test_it_keeps_nobody_waiting_for_suspects(
    acme: Cast, globex: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processing, "MOST_GROUPS", 1)
    flood(acme, 100)
    make_suspect(attempts=2)
    process_batch(500)
    waiting = WebhookPending.objects.filter(tenant_id=acme.tenant.id).count()
    deliver(globex.tenant.id, callback(globex.workspace.external_id, messages=[text("wamid.G")]))

    process_batch(500)

    assert waiting == 80
    assert Message.objects.filter(tenant_id=globex.tenant.id).count() == 1
    while process_batch(500):
        pass
    assert Message.objects.filter(tenant_id=acme.tenant.id).count() == 100
