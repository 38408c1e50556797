"""Quarantine is released by itself, row by row: to whom, how much at once, and for how long."""

from __future__ import annotations

import pytest

from connectors.models import WebhookDead
from connectors.whatsapp import replay
from connectors.whatsapp.processing import process_batch
from messaging.models import Message
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, deliver, text
from tests.whatsapp.trouble import NUMBER, dead_rows, places, refused
from workspaces import provisioning
from workspaces.models import Tenant, TenantStatus

pytestmark = pytest.mark.django_db


def test_it_releases_all_updates_of_a_row(acme: Cast, globex: Cast) -> None:
    messages = [text(f"wamid.{number}", sender=f"1555010{number:04}") for number in range(300)]
    people = [{"wa_id": message["from"], "profile": {"name": "A"}} for message in messages]
    for cast in (acme, globex):
        body = callback(NUMBER, messages=messages, contacts=people)
        body["entry"][0]["changes"][0]["value"]["metadata"]["junk"] = "x" * 100_000
        deliver(cast.tenant.id, body)
    process_batch(10)
    provisioning.create_workspace(tenant_id=acme.tenant.id, name="New", external_id=NUMBER)

    replay.replay(replay.releasable())

    assert places(acme.tenant.id) == (300, 0, 0)
    assert places(globex.tenant.id) == (0, 300, 0)
    named = Message.objects.filter(contact__display_name="A", tenant_id=acme.tenant.id)
    assert named.count() == 300


def quarantined(*casts: Cast) -> None:
    """Set an update aside for each, and give each the workspace it waited for."""
    for number, cast in enumerate(casts):
        deliver(cast.tenant.id, callback(f"{NUMBER}{number}", messages=[text("wamid.Q")]))
    process_batch(10)
    for number, cast in enumerate(casts):
        provisioning.create_workspace(
            tenant_id=cast.tenant.id, name="New", external_id=f"{NUMBER}{number}"
        )


def test_it_releases_nothing_to_a_tenant_on_its_way_out(acme: Cast, globex: Cast) -> None:
    quarantined(acme, globex)
    Tenant.objects.filter(pk=acme.tenant.pk).update(status=TenantStatus.ERASING)

    assert replay.replay(replay.releasable()).processed == 1

    assert Message.objects.get().tenant_id == globex.tenant.id
    assert replay.releasable() == []


def test_it_replays_the_rest_where_one_row_fails(acme: Cast, globex: Cast) -> None:
    quarantined(acme, globex)

    with refused(f"state <> 'REPLAYED' OR phone_number_id <> '{NUMBER}0'"):
        assert replay.replay(dead_rows()).processed == 1

    row = WebhookDead.objects.get(tenant_id=acme.tenant.id)
    assert (row.reason, row.attempts) == ("Replay failed: IntegrityError", 2)
    assert (places(acme.tenant.id), places(globex.tenant.id)) == ((0, 1, 0), (1, 0, 0))


def test_it_stops_releasing_what_fails_every_time(acme: Cast, globex: Cast) -> None:
    quarantined(acme, globex)
    WebhookDead.objects.filter(tenant_id=acme.tenant.id).update(attempts=replay.MOST_ATTEMPTS)

    assert replay.replay(replay.releasable()).processed == 1

    assert Message.objects.get().tenant_id == globex.tenant.id
