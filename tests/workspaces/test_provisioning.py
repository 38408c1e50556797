"""What may come into being: no slug that is somebody's id, no number of somebody else."""

from __future__ import annotations

import pytest
from django.db import connection

from tests.conftest import Cast
from workspaces import provisioning
from workspaces.models import Workspace
from workspaces.provisioning import UnableToCreateTenant, UnableToCreateWorkspace
from workspaces.scope import tenant_scope

pytestmark = pytest.mark.django_db


def create(cast: Cast, number: str) -> Workspace:
    return provisioning.create_workspace(tenant_id=cast.tenant.id, name="New", external_id=number)


@pytest.mark.parametrize("form", [str, lambda tenant_id: tenant_id.hex])
def test_it_refuses_a_slug_that_reads_as_an_id(acme: Cast, form) -> None:
    with pytest.raises(UnableToCreateTenant, match="id"):
        provisioning.create_tenant(slug=form(acme.tenant.id), name="Not acme")


def test_it_refuses_a_number_that_another_tenant_uses(acme: Cast, globex: Cast) -> None:
    with tenant_scope(globex.tenant.id), pytest.raises(UnableToCreateWorkspace) as refusal:
        create(globex, acme.workspace.external_id)

    assert (refusal.value.code, refusal.value.field) == ("DUPLICATE", "externalId")
    assert refusal.value.message == "This phone number id is in use already."


def test_it_takes_a_number_that_another_tenant_gave_up(acme: Cast, globex: Cast) -> None:
    Workspace.objects.filter(pk=acme.workspace.pk).update(is_active=False)

    with tenant_scope(globex.tenant.id):
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
    assert found == {"bump_directory_version": path, "number_in_use": path}
