"""The documents that users were given, word for word; only ids are filled in."""

from __future__ import annotations

import pytest

from tests.conftest import Cast
from tests.contract.conftest import block
from tests.graphql.conftest import Gql, write

pytestmark = pytest.mark.django_db

CREATE_WORKSPACE = block("create_workspace.graphql")
GET_MESSAGES = block("messages.graphql")


def test_it_creates_a_workspace(gql: Gql, acme: Cast) -> None:
    document = CREATE_WORKSPACE.replace("your-tenant-uuid", str(acme.tenant.id))

    payload = gql(acme, document).data["createWorkspace"]

    assert payload["success"] is True
    assert payload["errors"] == []
    created = acme.tenant.workspaces.get(external_id="123456789012345")
    assert payload["workspace"] == {
        "id": str(created.id),
        "name": "WhatsApp Business Support",
        "platform": "WHATS_APP",
        "externalId": "123456789012345",
    }


def test_it_refuses_a_placeholder_with_data(gql: Gql, acme: Cast) -> None:
    payload = gql(acme, CREATE_WORKSPACE).data["createWorkspace"]

    assert payload["success"] is False
    assert payload["workspace"] is None
    assert [error["code"] for error in payload["errors"]] == ["TENANT_NOT_FOUND"]


def test_it_reads_the_newest_messages(gql: Gql, acme: Cast) -> None:
    newest = write(acme, 11, sender="ab" * 32)[-1]
    document = GET_MESSAGES.replace("your-workspace-uuid", str(acme.workspace.id))

    nodes = gql(acme, document).data["messages"]["nodes"]

    assert len(nodes) == 10
    assert nodes[0] == {
        "id": str(newest.id),
        "text": "10",
        "sender": {"displayName": None, "platformUserId": "ab" * 32},
        "timestampUtc": "2026-03-01T12:00:05+00:00",
    }
