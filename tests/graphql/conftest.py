"""The GraphQL door as callers use it, and conversations to read through it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from messaging.models import Message
from tests.conftest import Cast
from workspaces import access
from workspaces.models import Tenant

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    body: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        """The data, where nothing at all went wrong."""
        assert "errors" not in self.body, self.body["errors"]
        return self.body["data"]

    @property
    def codes(self) -> list[str]:
        """The codes of the errors."""
        return [error["extensions"]["code"] for error in self.body["errors"]]


Gql = Callable[..., Answer]


@pytest.fixture
def gql() -> Gql:
    """Send a document with a key (a cast's own unless given) and return the answer."""

    def send(
        caller: Cast | str, query: str, operation: str | None = None, **variables: Any
    ) -> Answer:
        key = caller if isinstance(caller, str) else caller.api_key
        body = {"query": query, "variables": variables, "operationName": operation}
        response = Client().post(
            "/graphql", body, "application/json", headers={"Authorization": f"Bearer {key}"}
        )
        return Answer(response.status_code, response.json())

    return send


def key_with(tenant: Tenant, *scopes: str) -> str:
    """Return a new API key that may do these things only."""
    return access.issue_api_key(tenant=tenant, name="narrow", scopes=scopes)[1]


def write(cast: Cast, count: int, **columns: Any) -> list[Message]:
    """Store ``count`` messages a second apart, oldest first; pairs share their second."""
    return Message.objects.bulk_create(
        Message(
            tenant_id=cast.tenant.id,
            workspace=cast.workspace,
            platform_message_id=uuid.uuid4().hex,
            timestamp_utc=START + timedelta(seconds=number // 2),
            **{
                "direction": "INBOUND",
                "source": "LIVE",
                "type": "text",
                "text": f"{number}",
                **columns,
            },
        )
        for number in range(count)
    )
