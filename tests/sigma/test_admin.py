"""Every page of the admin: whose rows it shows, what it hides, and what it asks of the database."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connectors.whatsapp.models import WebhookDead, WebhookPending
from connectors.whatsapp.processing import process_batch
from messaging.models import Message
from sigma.dashboard import Waiting
from tests import rows
from tests.conftest import Cast
from tests.people import LISTS, list_of, member, page_of, superuser
from tests.whatsapp.deliveries import callback, deliver, text
from workspaces.models import INSTALLATION_ID, Role, TenantSecret

OURS = ("messaging", "templates_wa", "whatsapp", "linked_device")
READ_ONLY = [model for model in LISTS if model.startswith(OURS)]
SUPERUSERS_ONLY = ("workspaces_membership", "auth_user")


def html(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return str(response.content.decode())


@pytest.mark.parametrize("model", LISTS)
def test_a_superuser_sees_every_list_and_page(
    acme: Cast, globex: Cast, now: datetime, model: str
) -> None:
    stored, _ = rows.store(acme, now), rows.store(globex, now)
    boss = superuser()

    html(boss, list_of(model))
    if model in stored:
        html(boss, page_of(model, stored[model]))


@pytest.mark.parametrize("model", [model for model in LISTS if model not in SUPERUSERS_ONLY])
def test_a_member_sees_nothing_of_another_tenant(
    acme: Cast, globex: Cast, now: datetime, model: str
) -> None:
    _, foreign = rows.store(acme, now), rows.store(globex, now)
    browser = member(acme.tenant, Role.VIEWER)

    for query in ("", f"?tenant={globex.tenant.pk}", f"?workspace={globex.workspace.pk}"):
        answer = browser.get(list_of(model, query), follow=True)
        assert answer.status_code == 200
        assert "globex" not in answer.content.decode().lower()
    if model in foreign:
        assert browser.get(page_of(model, foreign[model])).status_code == 302


@pytest.mark.parametrize("model", READ_ONLY)
def test_nobody_edits_what_the_connector_wrote(acme: Cast, now: datetime, model: str) -> None:
    key = rows.store(acme, now)[model]
    boss = superuser()

    assert boss.get(reverse(f"admin:{model}_add")).status_code == 403
    assert boss.post(page_of(model, key), {"text": "x"}).status_code == 403
    assert (
        boss.post(reverse(f"admin:{model}_delete", args=(key,)), {"post": "y"}).status_code == 403
    )


def test_it_shows_no_secret_on_any_page(acme: Cast, globex: Cast, now: datetime) -> None:
    stored = rows.store(acme, now) | {"workspaces_tenant": acme.tenant.pk}
    boss = superuser()
    pages = [list_of(model) for model in LISTS] + [page_of(*item) for item in stored.items()]
    pages += [
        reverse("admin:index"),
        reverse("admin:workspaces_tenant_history", args=(acme.tenant.pk,)),
        reverse("admin:workspaces_tenant_connect", args=(acme.tenant.pk,)),
    ]

    shown = "".join(html(boss, url) for url in pages)

    sealed = [bytes(row.sealed) for row in TenantSecret.objects.all()] + [rows.SEALED]
    hidden = [acme.app_secret, acme.verify_token, acme.api_key, globex.app_secret]
    hidden += [form for value in sealed for form in (value.hex(), repr(value)[2:-1])]
    assert [value for value in hidden if value in shown] == []


@pytest.mark.parametrize("model", READ_ONLY)
def test_it_counts_no_table_to_its_end(acme: Cast, now: datetime, model: str) -> None:
    rows.store(acme, now)
    boss = superuser()

    with CaptureQueriesContext(connection) as queries:
        html(boss, list_of(model))

    counts = [q["sql"] for q in queries if "COUNT(*)" in q["sql"]]
    assert counts
    assert all("LIMIT 10000" in sql for sql in counts)


def test_it_leaves_heavy_columns_in_the_database(acme: Cast, now: datetime) -> None:
    rows.store(acme, now)
    boss = superuser()

    with CaptureQueriesContext(connection) as queries:
        html(boss, list_of("messaging_message"))
        html(boss, list_of("whatsapp_webhookdead"))

    asked = " ".join(q["sql"] for q in queries)
    for column in ("sealed_id", "content", "delivery", "sealed"):
        assert not re.search(rf'"(messages|webhook_dead)"\."{column}"', asked), column


def test_it_asks_the_same_number_of_queries_for_a_full_page(acme: Cast, now: datetime) -> None:
    boss = superuser()
    counts = []
    for _ in range(2):
        for _ in range(5):
            rows.message(acme, now)
        with CaptureQueriesContext(connection) as queries:
            html(boss, list_of("messaging_message"))
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_it_filters_messages(acme: Cast, globex: Cast, now: datetime) -> None:
    for cast in (acme, globex):
        rows.message(cast, now, text=f"Hello {cast.tenant.name}")
    boss = superuser()

    for query in (f"?tenant={acme.tenant.pk}", f"?workspace={acme.workspace.pk}"):
        page = html(boss, list_of("messaging_message", query + "&arrived=7&type=text"))
        assert "Hello Acme" in page
        assert "Hello Globex" not in page
    assert "Hello" not in html(boss, list_of("messaging_message", "?type=image"))
    assert "Hello" not in html(boss, list_of("messaging_message", "?tenant=nonsense"))


def test_it_escapes_what_customers_write(acme: Cast, now: datetime) -> None:
    message = rows.message(acme, now, text="<script>alert(1)</script>")
    message.content = {"note": "<img src=x onerror=alert(1)>"}
    message.save()
    boss = superuser()

    for url in (list_of("messaging_message"), page_of("messaging_message", message.pk)):
        assert "<script>alert" not in html(boss, url)
        assert "<img src=x" not in html(boss, url)


def test_the_overview_names_tenants_with_gaps_in_their_set_up(acme: Cast, globex: Cast) -> None:
    acme.tenant.secrets.all().delete()

    shown = superuser().get(reverse("admin:index")).context["rows"]

    assert {row.tenant.slug: row.errors for row in shown} == {"acme": 2, "globex": 0}


def test_the_overview_counts_what_waits_for_whom(acme: Cast, globex: Cast, now: datetime) -> None:
    for number, owner in enumerate((acme.tenant.id, globex.tenant.id, INSTALLATION_ID)):
        since = now - timedelta(hours=number)
        row = {"delivery_id": number, "received_at": since, "tenant_id": owner}
        WebhookPending.objects.create(**row)
        for kind, state in (("DEAD", "OPEN"), ("QUARANTINE", "OPEN"), ("DEAD", "REPLAYED")):
            WebhookDead.objects.create(**row, kind=kind, state=state, reason="x", sealed=b"")
    WebhookDead.objects.filter(tenant_id=acme.tenant.id, kind="QUARANTINE").update(kind="DEAD")

    def seen(browser: Client) -> tuple[object, list[tuple[object, ...]]]:
        context = browser.get(reverse("admin:index")).context
        rows = [(r.tenant.slug, r.pending, r.dead, r.quarantined) for r in context["rows"]]
        return context["waiting"], sorted(rows)

    of_acme, of_globex = ("acme", 1, 2, 0), ("globex", 1, 1, 1)
    assert seen(member(acme.tenant, Role.VIEWER)) == (Waiting(1, now, 2, 0), [of_acme])
    # Callbacks of a shared app are nobody's but the operator's.
    oldest = now - timedelta(hours=2)
    assert seen(superuser()) == (Waiting(3, oldest, 4, 2), [of_acme, of_globex])


def test_it_shows_what_became_of_a_message_and_when(acme: Cast, globex: Cast) -> None:
    number = acme.workspace.external_id
    echo = {**text("wamid.E", sender="15550100001"), "to": "15550123456"}
    deliver(acme.tenant.id, callback(number, field="smb_message_echoes", message_echoes=[echo]))
    heard = [
        {"id": "wamid.E", "status": word, "timestamp": str(at), "recipient_id": "15550123456"}
        for word, at in (("sent", 1_790_000_000), ("delivered", 1_790_000_001))
    ]
    deliver(acme.tenant.id, callback(number, statuses=heard))
    process_batch(10)

    page = html(superuser(), page_of("messaging_message", Message.objects.get().pk))

    assert "<div>sent at 2026-09-21 14:13:20 UTC</div>" in page
    assert "<div>delivered at 2026-09-21 14:13:21 UTC</div>" in page
