"""A3, A4: a workspace made by either document takes messages, and either document reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction

from connectors.whatsapp.processing import process_batch
from tests.conftest import Cast
from tests.contract.conftest import block
from tests.whatsapp.conftest import Web
from tests.whatsapp.deliveries import callback, contact, text
from workspaces.identity import digester
from workspaces.models import Workspace

NUMBER = "123456789012345"
PHONE = "15550123456"
SENT_AT = 1_790_000_000

Ask = Callable[[Cast, str], dict[str, Any]]


def run(statement: str) -> list[tuple[Any, ...]]:
    """Run a statement exactly as it stands."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def create_by_sql(cast: Cast) -> Workspace:
    run(block("create_workspace.sql", your_tenant_uuid=str(cast.tenant.id)))
    return Workspace.objects.get(tenant=cast.tenant, external_id=NUMBER)


def create_by_graphql(cast: Cast, ask: Ask) -> Workspace:
    document = block("create_workspace.graphql", your_tenant_uuid=str(cast.tenant.id))
    payload = ask(cast, document)["createWorkspace"]
    assert (payload["success"], payload["errors"]) == (True, [])
    workspace = payload["workspace"]
    assert (workspace["name"], workspace["platform"]) == ("WhatsApp Business Support", "WHATS_APP")
    assert workspace["externalId"] == NUMBER
    return Workspace.objects.get(tenant=cast.tenant, pk=workspace["id"])


def send_in(web: Web, cast: Cast, number: str, *bodies: str) -> None:
    """Send texts over HTTP, a second apart, and process them."""
    for second, body in enumerate(bodies):
        message = text(f"wamid.{number}.{second}", body, PHONE, SENT_AT + second)
        update = callback(number, messages=[message], contacts=[contact(PHONE, "Alice")])
        assert web.post(cast, json.dumps(update).encode()).status_code == 200
    process_batch(100)


@pytest.mark.parametrize("by", ["sql", "graphql"])
def test_it_reads_by_sql_and_by_graphql_what_came_in_over_http(
    acme: Cast, globex: Cast, web: Web, ask: Ask, by: str
) -> None:
    workspace = create_by_sql(acme) if by == "sql" else create_by_graphql(acme, ask)
    send_in(web, acme, NUMBER, *(f"Message {number}" for number in range(11)))
    send_in(web, globex, globex.workspace.external_id, "Not for acme")

    rows = run(block("messages.sql", your_workspace_id=str(workspace.id)))
    data = ask(acme, block("messages.graphql", your_workspace_uuid=str(workspace.id)))

    digest = digester(acme.tenant.id)
    assert [row[3] for row in rows] == [f"Message {number}" for number in range(10, 0, -1)]
    wamid, at = digest.wamid(f"wamid.{NUMBER}.10"), datetime.fromtimestamp(SENT_AT + 10, UTC)
    assert rows[0][1:] == (wamid, digest.phone(PHONE), "Message 10", at)
    assert data["messages"]["nodes"] == [
        {
            "id": str(identity),
            "text": body,
            "sender": {"displayName": "Alice", "platformUserId": sender},
            "timestampUtc": moment.isoformat(),
        }
        for identity, _, sender, body, moment in rows
    ]


def test_it_shows_no_workspace_of_another_tenant(
    acme: Cast, globex: Cast, web: Web, ask: Ask
) -> None:
    send_in(web, globex, globex.workspace.external_id, "Not for acme")
    document = block("messages.graphql", your_workspace_uuid=str(globex.workspace.id))
    headers = {"Authorization": f"Bearer {acme.api_key}"}

    answer = web.client.post("/graphql", json={"query": document}, headers=headers)

    assert "Not for acme" not in answer.text
    assert ask(globex, document)["messages"]["nodes"][0]["text"] == "Not for acme"


def test_it_fills_every_other_column_of_a_workspace_made_by_sql(acme: Cast) -> None:
    made, ours = create_by_sql(acme), acme.workspace
    assert isinstance(made.id, UUID)
    assert (made.transport, made.waba_id, made.platform) == (ours.transport, "", 5)


def test_it_refuses_the_same_number_twice(acme: Cast, web: Web, ask: Ask) -> None:
    create_by_sql(acme)
    with (
        pytest.raises(IntegrityError, match="workspaces_one_per_phone_number"),
        transaction.atomic(),
    ):
        create_by_sql(acme)
    document = block("create_workspace.graphql", your_tenant_uuid=str(acme.tenant.id))
    payload = ask(acme, document)["createWorkspace"]
    assert (payload["success"], payload["workspace"]) == (False, None)
    assert [error["code"] for error in payload["errors"]] == ["DUPLICATE"]
