"""What time removes: keys first, then rows, and never another tenant's."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from connectors.models import WebhookDelivery
from connectors.webhooks import ledger, partitions, raw, retention
from connectors.webhooks.processing import process_batch
from messaging.models import Message
from tests.conftest import Cast
from tests.webhooks.deliveries import callback, deliver, text
from workspaces import keys
from workspaces.models import RawKey, Tenant

pytestmark = pytest.mark.django_db


def receive(cast: Cast, wamid: str, at: datetime) -> Message:
    deliver(cast.tenant.id, callback(cast.workspace.external_id, messages=[text(wamid)]), at=at)
    process_batch(10)
    return Message.objects.order_by("-created_at", "-id").first()


def test_it_purges_each_tenant_at_its_own_window(acme: Cast, globex: Cast, now: datetime) -> None:
    Tenant.objects.filter(pk=globex.tenant.pk).update(retention_days=60)
    old = now - timedelta(days=31)
    for cast in (acme, globex):
        receive(cast, "wamid.OLD", old)
        receive(cast, "wamid.NEW", now)

    purged = {line.slug: line for line in retention.purge_all(now=now)}

    assert (purged["acme"].keys, purged["acme"].callbacks) == (1, 1)
    assert (purged["globex"].keys, purged["globex"].callbacks) == (0, 0)
    kept = WebhookDelivery.objects.values_list("tenant_id", "received_at")
    assert sorted(kept) == sorted(
        [(acme.tenant.id, now), (globex.tenant.id, old), (globex.tenant.id, now)]
    )


def test_it_makes_raw_and_message_ids_unreadable(acme: Cast, now: datetime) -> None:
    message = receive(acme, "wamid.OLD", now - timedelta(days=31))
    assert raw.read_wamid(message) == "wamid.OLD"
    assert raw.read_raw(message)["text"] == {"body": "Hello"}

    keys.destroy_day_keys(tenant_id=acme.tenant.id, before=now.date())

    assert raw.read_wamid(message) is None
    assert raw.read_raw(message) is None
    assert Message.objects.get().text == "Hello"


def test_it_drops_whole_days_that_every_tenant_is_past(acme: Cast, now: datetime) -> None:
    day = (now - timedelta(days=40)).date()
    partitions.ensure(day)
    receive(acme, "wamid.OLD", now - timedelta(days=40))

    retention.purge_all(now=now)

    assert day not in partitions.existing()
    assert ledger.read(acme.tenant.id, verify=True).balanced


def test_it_says_what_would_go_and_changes_nothing(acme: Cast, now: datetime, capsys) -> None:
    receive(acme, "wamid.OLD", now - timedelta(days=31))

    call_command("purge", "--dry-run")

    assert "acme" in capsys.readouterr().out
    assert RawKey.objects.count() == WebhookDelivery.objects.count() == 1


def test_it_refuses_to_guess_which_way_is_meant() -> None:
    with pytest.raises(CommandError, match="required"):
        call_command("purge")
