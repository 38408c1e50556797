"""Admin pages of events: read-only, each tenant's own, with two actions for managers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.test import Client
from django.urls import reverse

from connectors.events.models import EventDelivery, EventSubscription
from tests.conftest import Cast
from tests.events.conftest import Subscribe
from tests.people import member
from workspaces.models import Role

Emit = Callable[..., None]


def act(browser: Client, model: str, action: str, *ids: object) -> None:
    """Choose an action for some rows of a list."""
    url = reverse(f"admin:events_{model}_changelist")
    form = {"action": action, "_selected_action": [str(each) for each in ids]}
    assert browser.post(url, form, follow=True).status_code == 200


def test_a_manager_disables_own_subscriptions_only(
    acme: Cast, globex: Cast, subscribe: Subscribe
) -> None:
    mine, theirs = subscribe(acme), subscribe(globex)

    act(member(acme.tenant, Role.MANAGER), "eventsubscription", "disable", mine.id, theirs.id)

    assert set(EventSubscription.objects.filter(disabled_at=None)) == {theirs}


def test_a_manager_replays_own_deliveries_only(
    acme: Cast, globex: Cast, subscribe: Subscribe, emit: Emit, now: datetime
) -> None:
    for cast in (acme, globex):
        subscribe(cast)
        emit(cast)
    EventDelivery.objects.update(next_attempt_at=None, dead_at=now, attempts=10)
    ids = EventDelivery.objects.values_list("pk", flat=True)

    act(member(acme.tenant, Role.VIEWER), "eventdelivery", "replay", *ids)
    assert EventDelivery.objects.filter(dead_at=None).count() == 0
    act(member(globex.tenant, Role.MANAGER), "eventdelivery", "replay", *ids)
    assert [row.tenant_id for row in EventDelivery.objects.filter(attempts=0)] == [globex.tenant.id]


def test_pages_show_rows_and_no_secret(acme: Cast, subscribe: Subscribe, emit: Emit) -> None:
    row, browser = subscribe(acme), member(acme.tenant, Role.VIEWER)
    emit(acme)

    for model, pk in (
        ("eventsubscription", row.pk),
        ("eventdelivery", EventDelivery.objects.get().pk),
    ):
        page = browser.get(reverse(f"admin:events_{model}_change", args=[pk]))
        assert page.status_code == 200
        assert row.secrets[0] not in page.content.decode()
        lists = browser.get(reverse(f"admin:events_{model}_changelist"))
        assert lists.status_code == 200
