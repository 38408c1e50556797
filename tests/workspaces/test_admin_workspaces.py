"""Workspaces of both transports in the admin, and keys that are bound to one."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.test import Client
from django.urls import reverse

from tests.conftest import Cast
from tests.people import member, page_of, superuser
from workspaces import access, provisioning
from workspaces.models import ApiKey, Workspace


@pytest.fixture
def boss(db: None) -> Client:
    return superuser()


def test_it_creates_a_workspace(acme: Cast) -> None:
    form = {"tenant": acme.tenant.pk, "name": "Sales", "external_id": "300000000000003"}

    member(acme.tenant).post(reverse("admin:workspaces_workspace_add"), form | {"waba_id": "12345"})

    made = Workspace.objects.get(name="Sales")
    assert (made.tenant_id, made.platform, made.waba_id) == (acme.tenant.pk, 5, "12345")
    assert not made.is_active  # the box was not ticked


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"external_id": "+49 30 1234567"}, "external_id"),
        ({"waba_id": "abc"}, "waba_id"),
        ({"external_id": "100000000000001"}, "external_id"),
        ({"tenant": "globex"}, "tenant"),
    ],
)
def test_it_refuses_a_workspace_in_the_form(
    acme: Cast, globex: Cast, changed: dict[str, str], field: str
) -> None:
    form = {"tenant": acme.tenant.pk, "name": "Sales", "external_id": "300000000000003"} | changed
    if form["tenant"] == "globex":
        form["tenant"] = globex.tenant.pk

    answer = member(acme.tenant).post(reverse("admin:workspaces_workspace_add"), form)

    assert list(answer.context["adminform"].form.errors) == [field]
    assert Workspace.objects.count() == 2


@pytest.mark.parametrize("active", [{}, {"is_active": "on"}])
def test_it_refuses_a_number_of_another_tenant_in_the_form(
    acme: Cast, globex: Cast, active: dict[str, str]
) -> None:
    number = globex.workspace.external_id
    form = {"tenant": acme.tenant.pk, "name": "Sales", "external_id": number} | active

    answer = member(acme.tenant).post(reverse("admin:workspaces_workspace_add"), form)

    errors = answer.context["adminform"].form.errors
    assert errors == {"external_id": ["This phone number id is in use already."]}


def test_it_refuses_to_make_two_workspaces_of_one_number_active(acme: Cast, globex: Cast) -> None:
    number = globex.workspace.external_id
    Workspace.objects.filter(pk=acme.workspace.pk).update(external_id=number, is_active=False)
    form = {"name": "Sales", "external_id": number, "is_active": "on"}

    member(acme.tenant).post(page_of("workspaces_workspace", acme.workspace.pk), form)

    acme.workspace.refresh_from_db()
    assert not acme.workspace.is_active


def test_it_creates_the_workspace_of_a_linked_device(acme: Cast) -> None:
    form = {"tenant": acme.tenant.pk, "name": "Device", "transport": "LINKED_DEVICE"}

    answer = member(acme.tenant).post(reverse("admin:workspaces_workspace_add"), form, follow=True)

    made = Workspace.objects.get(name="Device")
    assert (made.transport, len(made.external_id), made.waba_id) == ("LINKED_DEVICE", 15, "")
    assert "Link a phone with it now" in answer.content.decode()


def test_it_takes_no_id_of_a_linked_device(acme: Cast) -> None:
    form = {"tenant": acme.tenant.pk, "name": "Device", "external_id": "27711558396"}

    answer = member(acme.tenant).post(
        reverse("admin:workspaces_workspace_add"), form | {"transport": "LINKED_DEVICE"}
    )

    assert list(answer.context["adminform"].form.errors) == ["external_id"]


def test_a_workspace_keeps_its_transport_and_its_made_up_id(acme: Cast) -> None:
    device = provisioning.create_workspace(
        tenant_id=acme.tenant.id, name="Device", transport="LINKED_DEVICE"
    )
    form = {"name": "Renamed", "transport": "CLOUD_API", "external_id": "300000000000003"}

    member(acme.tenant).post(page_of("workspaces_workspace", device.pk), form)

    kept = Workspace.objects.get(pk=device.pk)
    assert (kept.name, kept.transport) == ("Renamed", "LINKED_DEVICE")
    assert kept.external_id == device.external_id


def test_it_binds_a_key_to_a_workspace(acme: Cast, now: datetime) -> None:
    form = {"tenant": acme.tenant.pk, "name": "Alerts", "scopes": ["messages:send"]}

    answer = member(acme.tenant).post(
        reverse("admin:workspaces_apikey_add"), form | {"workspace": acme.workspace.pk}
    )

    actor = access.by_api_key(answer.context["clear"], now=now)
    assert actor.workspace_id == acme.workspace.pk
    assert "sender service only" in answer.content.decode()


@pytest.mark.parametrize("is_boss", [True, False])
def test_it_binds_no_key_to_another_tenants_workspace(
    acme: Cast, globex: Cast, is_boss: bool
) -> None:
    form = {"tenant": acme.tenant.pk, "name": "Alerts", "scopes": ["messages:send"]}
    browser = superuser() if is_boss else member(acme.tenant)

    answer = browser.post(
        reverse("admin:workspaces_apikey_add"), form | {"workspace": globex.workspace.pk}
    )

    assert list(answer.context["adminform"].form.errors) == ["workspace"]
    assert not ApiKey.objects.filter(name="Alerts").exists()


def test_it_does_not_move_a_workspace_to_another_tenant(
    boss: Client, acme: Cast, globex: Cast
) -> None:
    form = {"tenant": globex.tenant.pk, "name": "Moved", "external_id": "300000000000003"}

    boss.post(page_of("workspaces_workspace", acme.workspace.pk), form)

    acme.workspace.refresh_from_db()
    assert (acme.workspace.name, acme.workspace.tenant_id) == ("Moved", acme.tenant.pk)
