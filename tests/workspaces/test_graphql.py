"""The caller's tenant and its workspaces."""

from __future__ import annotations

import pytest

from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with
from workspaces.access import Scope
from workspaces.models import TenantStatus, Workspace

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

CREATE = """
mutation Create($input: CreateWorkspaceInput!) {
  createWorkspace(input: $input) {
    success workspace { id wabaId externalId transport isActive } errors { code field message }
  }
}
"""
READ = """
query Read($id: ID!) {
  tenant { id slug retentionDays } workspaces { id } workspace(id: $id) { name }
}
"""


def wanted(cast: Cast, **changes: object) -> dict[str, object]:
    """Return an input that would be accepted but for the changes."""
    usual = {"tenantId": str(cast.tenant.id), "name": "Sales", "externalId": "300000000000003"}
    return {**usual, "platform": "WHATS_APP", **changes}


def test_it_shows_the_callers_own(gql: Gql, acme: Cast, globex: Cast) -> None:
    found = gql(acme, READ, id=str(acme.workspace.id)).data

    tenant = {"id": str(acme.tenant.id), "slug": "acme", "retentionDays": 30}
    assert found["tenant"] == tenant
    assert found["workspaces"] == [{"id": str(acme.workspace.id)}]
    assert found["workspace"] == {"name": "acme support"}


def test_it_hides_another_tenants(gql: Gql, acme: Cast, globex: Cast) -> None:
    found = gql(globex, READ, id=str(acme.workspace.id)).data

    assert found["workspace"] is None
    assert found["workspaces"] == [{"id": str(globex.workspace.id)}]
    assert found["tenant"]["slug"] == "globex"


def test_it_creates_a_workspace_with_its_account(gql: Gql, acme: Cast) -> None:
    payload = gql(acme, CREATE, input=wanted(acme, wabaId="900000000000009")).data[
        "createWorkspace"
    ]

    assert payload["success"]
    assert payload["workspace"]["wabaId"] == "900000000000009"
    assert Workspace.objects.get(pk=payload["workspace"]["id"]).tenant == acme.tenant


def test_it_creates_the_workspace_of_a_linked_device(gql: Gql, acme: Cast) -> None:
    wish = wanted(acme, transport="LINKED_DEVICE")
    del wish["externalId"]

    made = gql(acme, CREATE, input=wish).data["createWorkspace"]["workspace"]

    assert made["transport"] == "LINKED_DEVICE"
    assert Workspace.objects.get(pk=made["id"]).external_id == made["externalId"]


def test_it_refuses_a_number_of_another_tenant(gql: Gql, acme: Cast, globex: Cast) -> None:
    number = acme.workspace.external_id
    payload = gql(globex, CREATE, input=wanted(globex, externalId=number)).data["createWorkspace"]

    (error,) = payload["errors"]
    assert (error["code"], error["field"]) == ("DUPLICATE", "externalId")
    assert acme.tenant.slug not in error["message"]
    assert Workspace.objects.filter(tenant=globex.tenant).count() == 1


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"externalId": "100000000000001"}, "DUPLICATE", "externalId"),
        ({"externalId": "+15550100001"}, "INVALID_ID", "externalId"),
        ({"externalId": ""}, "INVALID_ID", "externalId"),
        ({"externalId": None}, "INVALID_ID", "externalId"),
        ({"transport": "LINKED_DEVICE"}, "INVALID_ID", "externalId"),
        ({"externalId": "123\u0000456"}, "INVALID_ID", "externalId"),
        ({"wabaId": "x"}, "INVALID_ID", "wabaId"),
        ({"name": "  "}, "INVALID_NAME", "name"),
        ({"name": "n" * 201}, "INVALID_NAME", "name"),
        ({"name": "a\u0000b"}, "INVALID_NAME", "name"),
        ({"tenantId": "nobody"}, "TENANT_NOT_FOUND", "tenantId"),
        ({"tenantId": "00000000-0000-0000-0000-000000000000"}, "TENANT_NOT_FOUND", "tenantId"),
    ],
)
def test_it_refuses_with_data(
    gql: Gql, acme: Cast, changes: dict[str, str], code: str, field: str
) -> None:
    payload = gql(acme, CREATE, input=wanted(acme, **changes)).data["createWorkspace"]

    assert payload["success"] is False
    assert payload["workspace"] is None
    assert [(error["code"], error["field"]) for error in payload["errors"]] == [(code, field)]
    assert Workspace.objects.count() == 1


def test_it_creates_nothing_for_another_tenant(gql: Gql, acme: Cast, globex: Cast) -> None:
    payload = gql(globex, CREATE, input=wanted(acme)).data["createWorkspace"]

    assert [error["code"] for error in payload["errors"]] == ["TENANT_NOT_FOUND"]
    assert acme.tenant.workspaces.count() == 1


def test_it_says_the_same_of_a_tenant_that_exists_and_one_that_does_not(
    gql: Gql, acme: Cast, globex: Cast
) -> None:
    payloads = [
        gql(globex, CREATE, input=wanted(acme, tenantId=tenant_id)).data["createWorkspace"]
        for tenant_id in (str(acme.tenant.id), "00000000-0000-0000-0000-000000000001")
    ]

    assert payloads[0] == payloads[1]


def test_it_refuses_a_platform_that_has_no_connector(gql: Gql, acme: Cast) -> None:
    answer = gql(acme, CREATE, input=wanted(acme, platform="TELEGRAM"))

    assert answer.codes == ["BAD_USER_INPUT"]


def test_it_undoes_nothing_that_came_before_a_refusal(gql: Gql, acme: Cast) -> None:
    document = """
    mutation Two($good: CreateWorkspaceInput!, $bad: CreateWorkspaceInput!) {
      bad: createWorkspace(input: $bad) { success }
      good: createWorkspace(input: $good) { success }
    }
    """
    data = gql(
        acme, document, good=wanted(acme), bad=wanted(acme, externalId="100000000000001")
    ).data

    assert data == {"bad": {"success": False}, "good": {"success": True}}


@pytest.mark.parametrize("scope", [Scope.MESSAGES_READ, Scope.WORKSPACES_READ])
def test_it_needs_permission_to_create(gql: Gql, acme: Cast, scope: Scope) -> None:
    answer = gql(key_with(acme.tenant, scope), CREATE, input=wanted(acme))

    assert answer.codes == ["FORBIDDEN"]
    assert acme.tenant.workspaces.count() == 1


def test_it_needs_permission_to_read(gql: Gql, acme: Cast) -> None:
    answer = gql(key_with(acme.tenant, Scope.MESSAGES_READ), READ, id=str(acme.workspace.id))

    assert answer.codes == ["FORBIDDEN"] * 3
    assert answer.body["data"] == {"tenant": None, "workspaces": None, "workspace": None}


def test_it_does_nothing_for_a_suspended_tenant(gql: Gql, acme: Cast) -> None:
    acme.tenant.status = TenantStatus.SUSPENDED
    acme.tenant.save()

    assert gql(acme, CREATE, input=wanted(acme)).codes == ["UNAUTHENTICATED"]
