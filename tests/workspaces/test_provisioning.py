"""What may come into being: no slug that is somebody's id, no number of somebody else."""

from __future__ import annotations

import re

import pytest
from django.db import connection

from tests.conftest import Cast
from workspaces import access, provisioning
from workspaces.acting import as_tenant
from workspaces.models import ApiKey, Transport, Workspace
from workspaces.provisioning import (
    UnableToCreateTenant,
    UnableToCreateWorkspace,
)

pytestmark = pytest.mark.django_db


def create(cast: Cast, number: str) -> Workspace:
    return provisioning.create_workspace(tenant_id=cast.tenant.id, name="New", external_id=number)


@pytest.mark.parametrize("form", [str, lambda tenant_id: tenant_id.hex])
def test_it_refuses_a_slug_that_reads_as_an_id(acme: Cast, form) -> None:
    with pytest.raises(UnableToCreateTenant, match="id"):
        provisioning.create_tenant(slug=form(acme.tenant.id), name="Not acme")


def test_it_refuses_a_number_that_another_tenant_uses(acme: Cast, globex: Cast) -> None:
    with as_tenant(globex.tenant.id), pytest.raises(UnableToCreateWorkspace) as refusal:
        create(globex, acme.workspace.external_id)

    assert (refusal.value.code, refusal.value.field) == ("DUPLICATE", "externalId")
    assert refusal.value.message == "This phone number id is in use already."


def test_it_takes_a_number_that_another_tenant_gave_up(acme: Cast, globex: Cast) -> None:
    Workspace.objects.filter(pk=acme.workspace.pk).update(is_active=False)

    with as_tenant(globex.tenant.id):
        assert create(globex, acme.workspace.external_id).tenant_id == globex.tenant.id


def test_it_leaves_sql_its_freedom(acme: Cast, globex: Cast) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO workspaces (tenant_id, name, platform, external_id) "
            "VALUES (%s, 'Same', 5, %s)",
            [globex.tenant.id, acme.workspace.external_id],
        )
    assert Workspace.objects.filter(external_id=acme.workspace.external_id).count() == 2


def test_it_lets_no_function_of_the_owner_look_where_the_caller_says(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT proname, proconfig FROM pg_proc WHERE prosecdef "
            "AND pronamespace = 'public'::regnamespace"
        )
        found = dict(cursor.fetchall())
    path = ["search_path=pg_catalog, public, pg_temp"]
    # What it asks costs less by the index, whoever asks first.
    planned = ["enable_seqscan=off", "plan_cache_mode=force_generic_plan"]
    assert found.pop("messages_with_words") == path + planned
    assert found == dict.fromkeys(
        (
            "bump_directory_version",
            "number_in_use",
            "make_raw_partition",
            "drop_raw_partition",
            "close_tenant_role",
            "forget_tenant_role",
            "tenant_members",
            "note_words_added",
            "note_words_changed",
            "remove_words",
        ),
        path,
    )


def test_it_lets_not_everybody_call_a_function_of_ours(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace "
            "AND has_function_privilege('public', p.oid, 'EXECUTE') AND NOT EXISTS "
            "(SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
        )
        assert cursor.fetchall() == []


def link(cast: Cast, **given: str) -> Workspace:
    """Create the workspace of a linked device."""
    return provisioning.create_workspace(
        tenant_id=cast.tenant.id, name="Linked", transport=Transport.LINKED_DEVICE, **given
    )


def test_it_makes_the_id_of_a_linked_device(acme: Cast) -> None:
    first, second = link(acme), link(acme)

    assert first.external_id != second.external_id
    assert re.fullmatch("[1-9][0-9]{14}", first.external_id)
    assert (first.transport, first.waba_id) == ("LINKED_DEVICE", "")


@pytest.mark.parametrize("given", ["27711558396", "300000000000003", "x"])
def test_it_takes_no_id_of_a_linked_device_from_outside(acme: Cast, given: str) -> None:
    with pytest.raises(UnableToCreateWorkspace, match="leave this out") as refusal:
        link(acme, external_id=given)

    assert (refusal.value.code, refusal.value.field) == ("INVALID_ID", "externalId")
    assert acme.tenant.workspaces.count() == 1


def test_it_insists_on_metas_id_for_the_cloud_api(acme: Cast) -> None:
    with pytest.raises(UnableToCreateWorkspace, match="digits that Meta shows"):
        create(acme, "")


def test_it_refuses_a_transport_that_nobody_made(acme: Cast) -> None:
    with pytest.raises(UnableToCreateWorkspace) as refusal:
        provisioning.create_workspace(tenant_id=acme.tenant.id, name="New", transport="PIGEON")

    assert (refusal.value.code, refusal.value.field) == ("UNSUPPORTED_TRANSPORT", "transport")


def test_it_binds_a_key_to_a_workspace_of_its_tenant_only(acme: Cast, globex: Cast) -> None:
    def issue(cast: Cast) -> ApiKey:
        key, _ = access.issue_api_key(
            tenant=acme.tenant, name="bound", scopes=["messages:send"], workspace=cast.workspace
        )
        return key

    assert issue(acme).workspace_id == acme.workspace.pk
    with pytest.raises(access.ForeignWorkspace):
        issue(globex)


def test_it_issues_no_key_for_what_is_no_permission(acme: Cast) -> None:
    with pytest.raises(access.UnknownScope, match="'messages:write' is not a scope; there are: br"):
        access.issue_api_key(tenant=acme.tenant, name="n", scopes=["messages:write"])

    assert not ApiKey.objects.filter(name="n").exists()
