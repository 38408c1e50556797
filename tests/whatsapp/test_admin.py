"""Parked updates in the admin: counted for those whose they are, and replayed by those who may."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.test import Client
from django.urls import reverse

from connectors.whatsapp import ledger
from connectors.whatsapp.models import DeadKind, DeadState, WebhookDead
from connectors.whatsapp.processing import process_batch
from messaging.models import Message
from tests import rows
from tests.conftest import Cast
from tests.people import list_of, member, superuser
from tests.whatsapp.deliveries import callback, deliver, text
from workspaces.models import Role, Workspace


@pytest.fixture
def quarantined(acme: Cast, globex: Cast) -> dict[str, WebhookDead]:
    """For each tenant, an update for a number that it has registered only since."""
    for cast in (acme, globex):
        number = f"7{cast.workspace.external_id}"
        deliver(cast.tenant.id, callback(number, messages=[text(f"wamid.{number}")]))
    process_batch(10)
    for row in WebhookDead.objects.all():
        Workspace.objects.create(
            tenant_id=row.tenant_id, name="New", external_id=row.phone_number_id
        )
    by_tenant = {row.tenant_id: row for row in WebhookDead.objects.all()}
    return {cast.tenant.slug: by_tenant[cast.tenant.id] for cast in (acme, globex)}


def replay(browser: Client, quarantined: dict[str, WebhookDead]) -> None:
    ids = [str(row.pk) for row in quarantined.values()]
    form = {"action": "replay", "_selected_action": ids}
    browser.post(list_of("whatsapp_webhookdead"), form)
    for row in quarantined.values():
        row.refresh_from_db()


def test_it_replays_what_was_parked(acme: Cast, quarantined: dict[str, WebhookDead]) -> None:
    assert quarantined["acme"].kind == DeadKind.QUARANTINE

    replay(superuser(), quarantined)

    assert {row.state for row in quarantined.values()} == {DeadState.REPLAYED}
    assert Message.objects.filter(tenant_id=acme.tenant.id).count() == 1
    assert ledger.read(acme.tenant.id).quarantined == 0


def test_a_manager_replays_own_updates_only(
    acme: Cast, quarantined: dict[str, WebhookDead]
) -> None:
    replay(member(acme.tenant), quarantined)

    states = {slug: row.state for slug, row in quarantined.items()}
    assert states == {"acme": DeadState.REPLAYED, "globex": DeadState.OPEN}


def test_a_viewer_replays_nothing(acme: Cast, quarantined: dict[str, WebhookDead]) -> None:
    replay(member(acme.tenant, Role.VIEWER), quarantined)

    assert {row.state for row in quarantined.values()} == {DeadState.OPEN}


def test_it_says_how_many_stayed(acme: Cast, now: datetime) -> None:
    key = rows.store(acme, now)["whatsapp_webhookdead"]  # sealed bytes that nothing opens
    form = {"action": "replay", "_selected_action": [str(key)]}

    page = superuser().post(list_of("whatsapp_webhookdead"), form, follow=True)

    assert "0 of 1 open updates were processed" in page.content.decode()
    assert WebhookDead.objects.get(pk=key).attempts == 2


def test_the_overview_counts_own_tenants_only(
    acme: Cast, globex: Cast, quarantined: dict[str, WebhookDead]
) -> None:
    whole = superuser().get(reverse("admin:index"))
    part = member(acme.tenant).get(reverse("admin:index"))

    assert whole.context["waiting"].quarantined == 2
    assert part.context["waiting"].quarantined == 1
    assert [row.tenant.slug for row in part.context["rows"]] == ["acme"]
    assert "Globex" not in part.content.decode()
