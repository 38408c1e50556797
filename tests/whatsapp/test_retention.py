"""What time removes: keys first, then rows, and never another tenant's."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO

import pytest
from celery import Task
from django.core.management import CommandError, call_command
from django.db import connection

from connectors.events.tasks import purge as purge_events
from connectors.whatsapp import ledger, raw, retention
from connectors.whatsapp.models import WebhookDead, WebhookDelivery
from connectors.whatsapp.processing import process_batch
from connectors.whatsapp.raw import read_originals
from connectors.whatsapp.tasks import purge as purge_raw
from messaging.broadcasts.tasks import purge_lists
from messaging.models import Message
from messaging.tasks import forget_recipients
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, deliver, text
from workspaces import keys, purging
from workspaces.models import PurgeRun, RawKey, Tenant
from workspaces.purging import PurgeRefused

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
    original = read_originals(acme.tenant.id, [message.id])[message.id]
    assert original.body["text"] == {"body": "Hello"}

    keys.destroy_day_keys(tenant_id=acme.tenant.id, before=now.date())

    assert raw.read_wamid(message) is None
    assert read_originals(acme.tenant.id, [message.id]) == {}
    assert Message.objects.get().text == "Hello"


def test_it_drops_whole_days_that_every_tenant_is_past(acme: Cast, now: datetime) -> None:
    day = (now - timedelta(days=40)).date()
    retention.ensure_partitions(day)
    receive(acme, "wamid.OLD", now - timedelta(days=40))

    retention.purge_all(now=now)

    assert day not in retention.partition_days()
    assert ledger.read(acme.tenant.id, verify=True).balanced


def test_it_counts_what_went_with_a_whole_day(acme: Cast, globex: Cast, now: datetime) -> None:
    day = now - timedelta(days=40)
    retention.ensure_partitions(day.date())
    receive(acme, "wamid.OLD", day)

    purged = {line.slug: line.callbacks for line in retention.purge_all(now=now)}

    assert (purged["acme"], purged["globex"]) == (1, 0)


def test_it_finds_a_tenants_rows_in_days_that_another_keeps(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    Tenant.objects.filter(pk=globex.tenant.pk).update(retention_days=60)
    day = now - timedelta(days=40)
    retention.ensure_partitions(day.date())
    for cast in (acme, globex):
        receive(cast, "wamid.OLD", day)

    retention.purge_all(now=now)
    retention.purge_all(now=now)

    assert WebhookDelivery.objects.get().tenant_id == globex.tenant.id


def test_it_removes_parked_updates_in_batches(
    acme: Cast, globex: Cast, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    old = now - timedelta(days=31)
    WebhookDead.objects.bulk_create(
        WebhookDead(tenant_id=cast.tenant.id, sealed=b"", delivery_id=1, received_at=at)
        for cast, at in [(acme, old)] * 5 + [(acme, now), (globex, old)]
    )
    Tenant.objects.filter(pk=globex.tenant.pk).update(retention_days=60)

    purged = {line.slug: line.parked for line in retention.purge_all(now=now)}

    assert (purged["acme"], purged["globex"]) == (5, 0)
    assert WebhookDead.objects.count() == 2


@pytest.mark.parametrize("table", ["raw_keys", "webhook_deliveries"])
def test_it_goes_on_with_the_others_where_one_tenant_fails(
    acme: Cast, globex: Cast, now: datetime, table: str
) -> None:
    for cast in (acme, globex):
        receive(cast, "wamid.OLD", now - timedelta(days=31))
    refuse_deletions(table, acme)

    with pytest.raises(CommandError, match="acme"):
        call_command("purge", "--now", stdout=StringIO())

    assert WebhookDelivery.objects.get().tenant_id == acme.tenant.id
    assert not RawKey.objects.filter(tenant_id=globex.tenant.id).exists()


def refuse_deletions(table: str, cast: Cast) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'refused'; END $$"
        )
        cursor.execute(
            f"CREATE TRIGGER refuse BEFORE DELETE ON {table} FOR EACH ROW "
            f"WHEN (OLD.tenant_id = '{cast.tenant.id}') EXECUTE FUNCTION refuse()"
        )


def test_it_says_what_would_go_and_changes_nothing(acme: Cast, now: datetime, capsys) -> None:
    receive(acme, "wamid.OLD", now - timedelta(days=31))

    call_command("purge", "--dry-run")

    assert "acme" in capsys.readouterr().out
    assert RawKey.objects.count() == WebhookDelivery.objects.count() == 1


def test_it_refuses_to_guess_which_way_is_meant() -> None:
    with pytest.raises(CommandError, match="required"):
        call_command("purge")


def leave_pending(cast: Cast, wamid: str, at: datetime) -> None:
    """Accept a callback, and do not process it."""
    deliver(cast.tenant.id, callback(cast.workspace.external_id, messages=[text(wamid)]), at=at)


@pytest.mark.parametrize("has_partition", [True, False])
def test_it_keeps_days_of_which_callbacks_are_still_pending(
    acme: Cast, globex: Cast, now: datetime, has_partition: bool
) -> None:
    old = now - timedelta(days=40)
    if has_partition:
        retention.ensure_partitions(old.date())
    for cast in (acme, globex):
        receive(cast, "wamid.DONE", old)
        receive(cast, "wamid.OLDER", old - timedelta(days=1))
    leave_pending(acme, "wamid.PENDING", old)

    purged = {line.slug: line for line in retention.purge_all(now=now)}

    assert purged["acme"].kept == {old.date()}
    assert (purged["acme"].keys, purged["globex"].keys) == (1, 2)
    assert WebhookDelivery.objects.filter(tenant_id=globex.tenant.id).count() == 0
    assert process_batch(10) == 1
    assert Message.objects.filter(tenant_id=acme.tenant.id).count() == 3
    assert ledger.read(acme.tenant.id, verify=True).dead == 0
    retention.purge_all(now=now, force=True)
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize("away", [timedelta(days=40), -timedelta(minutes=10)])
def test_it_destroys_nothing_where_the_clocks_differ(
    acme: Cast, globex: Cast, now: datetime, away: timedelta
) -> None:
    receive(acme, "wamid.OLD", now - timedelta(days=31))
    receive(globex, "wamid.NEW", now)

    with pytest.raises(PurgeRefused, match="differ"):
        retention.purge_all(now=now + away)

    assert RawKey.objects.count() == WebhookDelivery.objects.count() == 2
    lines = retention.purge_all(now=now + away, force=True)  # by the database's clock all the same
    assert {line.slug: line.keys for line in lines if line.keys} == {"acme": 1}


def test_it_takes_no_more_days_than_passed_since_its_last_run(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    retention.purge_all(now=now)
    PurgeRun.objects.update(ran_at=now - timedelta(days=2))
    Tenant.objects.filter(pk=acme.tenant.pk).update(retention_days=1)
    for cast in (acme, globex):
        receive(cast, "wamid.WEEKS", now - timedelta(days=20))
        receive(cast, "wamid.PAST", now - timedelta(days=32))

    with pytest.raises(CommandError, match=r"acme \(It would take 29 days"):
        call_command("purge", "--now", stdout=StringIO())

    assert RawKey.objects.filter(tenant_id=acme.tenant.id).count() == 2
    assert RawKey.objects.filter(tenant_id=globex.tenant.id).count() == 1
    call_command("purge", "--now", "--force", stdout=StringIO())
    assert not RawKey.objects.filter(tenant_id=acme.tenant.id).exists()


def test_days_that_were_kept_for_pending_callbacks_go_once_these_are_processed(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    days = [now - timedelta(days=age) for age in range(31, 40)]
    for at in days:
        leave_pending(acme, f"wamid.PENDING{at:%d}", at)
    kept = {line.slug: line.kept for line in retention.purge_all(now=now)}
    assert kept["acme"] == {at.date() for at in days}
    process_batch(100)

    lines = {line.slug: line for line in retention.purge_all(now=now)}

    assert (lines["acme"].error, lines["acme"].keys) == ("", len(days))


@pytest.mark.parametrize(
    "task", [purge_raw, purge_lists, purge_events, forget_recipients], ids=lambda task: task.name
)
def test_it_forgets_nothing_where_the_clocks_differ(
    acme: Cast, now: datetime, task: Task, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    receive(acme, "wamid.OLD", now - timedelta(days=31))
    monkeypatch.setattr(purging, "database_now", lambda: now + timedelta(days=40))

    task()

    assert "differ" in caplog.records[-1].error
    assert RawKey.objects.exists()
