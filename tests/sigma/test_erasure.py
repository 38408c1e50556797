"""A tenant's purge leaves nothing of it, and nothing less of its neighbour."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from connectors.whatsapp.models import WebhookDead, WebhookPending
from connectors.whatsapp.processing import process_batch
from messaging import erasure as messaging_erasure
from messaging.models import Message
from sigma import erasure
from tests import anything
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, contact, deliver, status, text
from workspaces import keys
from workspaces.models import Membership, Tenant, TenantStatus, Workspace

pytestmark = pytest.mark.django_db

TENANTLESS = {"directory_version"}


def fill(cast: Cast) -> None:
    image = {**text("wamid.B"), "type": "image", "image": {"id": "55", "mime_type": "image/png"}}
    number = cast.workspace.external_id
    body = callback(
        number,
        messages=[text("wamid.A"), image],
        contacts=[contact()],
        statuses=[status("wamid.C", "sent")],
    )
    deliver(cast.tenant.id, body)
    deliver(cast.tenant.id, b"not json")
    deliver(cast.tenant.id, callback("999999", messages=[text("wamid.D")]))
    deliver(cast.tenant.id, callback(number, field="calls", calls=[{"id": "wacid.1"}]))
    process_batch(10)
    deliver(cast.tenant.id, body)  # still pending
    anything.fill(cast)


def erase(cast: Cast) -> list[erasure.Step]:
    return list(erasure.erase(cast.tenant, now=datetime.now(UTC), sleep=lambda _: None))


def rows_of(cast: Cast) -> dict[str, int]:
    """Count the tenant's rows in every table that has tenants, by looking, not by a list."""
    counts = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
            "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') "
            "AND NOT c.relispartition AND a.attname = 'tenant_id'"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT count(*) FROM {table} WHERE tenant_id = %s", [cast.tenant.id])  # noqa: S608
            counts[table] = cursor.fetchone()[0]
    return counts


def test_it_removes_every_row_of_the_tenant_and_none_of_the_other(acme: Cast, globex: Cast) -> None:
    fill(globex)
    fill(acme)
    neighbour = rows_of(globex)
    assert {table for table, count in rows_of(acme).items() if not count} == set()
    assert {"messages", "opt_outs", "raw_keys", "event_deliveries"} <= rows_of(acme).keys()

    erase(acme)

    assert {table: count for table, count in rows_of(acme).items() if count} == {}
    assert rows_of(globex) == neighbour
    assert list(Tenant.objects.all()) == [globex.tenant]


def test_it_finishes_in_small_bites(
    acme: Cast, globex: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messaging_erasure, "BATCH", 1)
    fill(acme)
    fill(globex)
    Workspace.objects.create(tenant=acme.tenant, name="Second", external_id="300000000000003")

    steps = {step.what: step.count for step in erase(acme)}

    assert (steps["messages"], steps["media"], steps["message_statuses"]) == (2, 1, 1)
    assert Message.objects.filter(tenant_id=globex.tenant.id).count() == 2


def test_it_removes_what_belongs_to_no_workspace_any_more(acme: Cast, globex: Cast) -> None:
    fill(acme)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM workspaces WHERE tenant_id = %s", [acme.tenant.id])

    erase(acme)

    assert not any(rows_of(acme).values())


def test_it_removes_what_the_admins_log_says_of_the_tenant(acme: Cast, globex: Cast) -> None:
    alice = User.objects.create_superuser("alice")
    for cast in (acme, globex):
        for row in (cast.tenant, cast.workspace, cast.tenant.api_keys.get()):
            LogEntry.objects.log_actions(alice.pk, [row], CHANGE, single_object=True)

    steps = {step.what: step.count for step in erase(acme)}

    assert steps["django_admin_log"] == 3
    left = set(LogEntry.objects.values_list("object_id", flat=True))
    key = globex.tenant.api_keys.get()
    assert left == {str(row.pk) for row in (globex.tenant, globex.workspace, key)}


def test_it_names_the_users_who_are_left(acme: Cast, globex: Cast, monkeypatch) -> None:
    monkeypatch.setattr(erasure, "SETTLE_SECONDS", 0)
    for name, tenants in {"ann": [acme], "bob": [acme, globex], "cyd": [globex]}.items():
        user = User.objects.create_user(name)
        for cast in tenants:
            Membership.objects.create(tenant=cast.tenant, user=user)
    out = StringIO()

    call_command("purge-tenant", "acme", "--yes", stdout=out)

    assert out.getvalue().rstrip().endswith("delete them yourself: ann.")
    assert User.objects.filter(username="ann").exists()


def test_it_reports_what_would_go(acme: Cast) -> None:
    fill(acme)
    out = StringIO()

    call_command("purge-tenant", "acme", "--dry-run", stdout=out)

    assert "messages" in out.getvalue()
    assert Message.objects.count() == 2


def test_it_knows_every_model_that_has_tenants(acme: Cast) -> None:
    reported = {step.what for step in erasure.plan(acme.tenant)}

    assert {model._meta.db_table for model in anything.with_tenants()} <= reported


def test_it_removes_what_it_says_it_would(acme: Cast) -> None:
    fill(acme)
    planned = {step.what: step.count for step in erasure.plan(acme.tenant)}
    removed = {step.what: step.count for step in erase(acme)}

    assert removed == planned
    assert all(planned[table] for table in rows_of(acme))


def test_it_refuses_an_unknown_tenant() -> None:
    with pytest.raises(CommandError, match="no tenant"):
        call_command("purge-tenant", "nobody")


def test_it_makes_no_new_key_for_a_tenant_on_its_way_out(acme: Cast, now: datetime) -> None:
    Tenant.objects.update(status=TenantStatus.ERASING)
    with pytest.raises(keys.TenantHasNoKeys):
        keys.day_cipher(acme.tenant.id, now.date())


def test_it_forgets_what_is_owed_to_an_erased_tenant(acme: Cast, globex: Cast) -> None:
    for cast in (acme, globex):
        body = callback(cast.workspace.external_id, messages=[text("wamid.A")])
        deliver(cast.tenant.id, body)
    Tenant.objects.filter(pk=acme.tenant.pk).update(status=TenantStatus.ERASING)
    keys.destroy_all(acme.tenant.id)

    assert process_batch(10) == 1

    assert Message.objects.get().tenant_id == globex.tenant.id
    assert not WebhookPending.objects.exists()
    assert not WebhookDead.objects.exists()
