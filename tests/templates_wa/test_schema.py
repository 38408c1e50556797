"""Templates at the GraphQL door."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from templates_wa.models import Template
from templates_wa.sync import sync
from tests.conftest import Cast
from tests.graphql.conftest import Gql, key_with
from tests.templates_wa.account import Platform, fact, in_catalogue
from workspaces.channel_errors import Rejected, Unavailable

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("woken")]

LIST = """query ($w: ID!, $first: Int, $after: String, $status: String, $name: String) {
  messageTemplates(workspaceId: $w, first: $first, after: $after, status: $status, name: $name) {
    nodes { id name language status isSendable components
            parameters { variables headerFormat buttons { index kind needsValue } }
            cards { variables } }
    hasNextPage endCursor sync { syncedAt error }
  }
}"""
ONE = "query ($id: ID!) { messageTemplate(id: $id) { name } }"
PREVIEW = """query ($input: PreviewMessageTemplateInput!) {
  previewMessageTemplate(input: $input) {
    template { name } reason problems { code component field message }
    preview { header body footer buttons { kind text target } cards { body } }
  }
}"""
ERRORS = "success errors { code field message platformCode details }"
SYNC = f"""mutation ($input: SyncMessageTemplatesInput!) {{
  syncMessageTemplates(input: $input) {{ added changed removed unchanged {ERRORS} }}
}}"""
CREATE = f"""mutation ($input: CreateMessageTemplateInput!) {{
  createMessageTemplate(input: $input) {{ template {{ id name status }} {ERRORS} }}
}}"""
EDIT = f"""mutation ($input: EditMessageTemplateInput!) {{
  editMessageTemplate(input: $input) {{ template {{ status }} {ERRORS} }}
}}"""
DELETE = f"""mutation ($input: DeleteMessageTemplateInput!) {{
  deleteMessageTemplate(input: $input) {{ deleted {ERRORS} }}
}}"""
BODY = {"type": "BODY", "text": "Hello {{1}}, welcome!", "example": {"body_text": [["Ada"]]}}


@pytest.fixture
def synced(acme: Cast, globex: Cast, platform: Platform, now: datetime) -> Template:
    """Return acme's template; globex has one of the same name."""
    for cast in (acme, globex):
        platform.accounts[cast.workspace.waba_id] = [fact(), fact("other", status="PAUSED")]
        sync(cast.workspace, now=now)
    return Template.objects.get(tenant_id=acme.tenant.id, name="welcome")


def draft(cast: Cast, **parts: Any) -> dict[str, Any]:
    given = {"name": "new", "language": "en", "category": "UTILITY", "components": [BODY], **parts}
    return {"workspaceId": str(cast.workspace.id), **given}


def test_it_lists_by_name_page_by_page(acme: Cast, gql: Gql, synced: Template) -> None:
    workspace = str(acme.workspace.id)
    first = gql(acme, LIST, w=workspace, first=1).data["messageTemplates"]
    second = gql(acme, LIST, w=workspace, first=1, after=first["endCursor"]).data[
        "messageTemplates"
    ]

    assert [n["name"] for n in first["nodes"] + second["nodes"]] == ["other", "welcome"]
    assert (first["hasNextPage"], second["hasNextPage"]) == (True, False)
    assert second["nodes"][0]["parameters"]["variables"] == ["1"]
    assert first["sync"] == {"syncedAt": synced.synced_at.isoformat(), "error": ""}


def test_a_page_without_a_size_is_of_the_usual_size(acme: Cast, gql: Gql, synced: Template) -> None:
    found = gql(acme, LIST, w=str(acme.workspace.id), first=None).data["messageTemplates"]

    assert [node["name"] for node in found["nodes"]] == ["other", "welcome"]


def test_it_filters(acme: Cast, gql: Gql, synced: Template) -> None:
    for only, names in (({"status": "PAUSED"}, ["other"]), ({"name": "welcome"}, ["welcome"])):
        found = gql(acme, LIST, w=str(acme.workspace.id), **only).data["messageTemplates"]
        assert [node["name"] for node in found["nodes"]] == names


def test_it_keeps_tenants_apart(acme: Cast, globex: Cast, gql: Gql, synced: Template) -> None:
    assert gql(globex, LIST, w=str(acme.workspace.id)).codes == ["NOT_FOUND"]
    assert gql(globex, ONE, id=str(synced.id)).data == {"messageTemplate": None}
    ours = {"id": str(synced.id)}
    (error,) = gql(globex, DELETE, input=ours).data["deleteMessageTemplate"]["errors"]
    assert error["code"] == "TEMPLATE_NOT_FOUND"
    w = {"workspaceId": str(acme.workspace.id)}
    (error,) = gql(globex, SYNC, input=w).data["syncMessageTemplates"]["errors"]
    assert error["code"] == "WORKSPACE_NOT_FOUND"
    assert gql(globex, PREVIEW, input={**w, "name": "welcome"}).codes == ["NOT_FOUND"]
    assert len(in_catalogue(acme)) == 2


def test_it_wants_the_scopes(acme: Cast, gql: Gql, platform: Platform) -> None:
    reader = key_with(acme.tenant, "templates:read")
    nobody = key_with(acme.tenant, "messages:read")

    assert gql(nobody, LIST, w=str(acme.workspace.id)).codes == ["FORBIDDEN"]
    assert gql(reader, CREATE, input=draft(acme)).codes == ["FORBIDDEN"]
    assert platform.asked == []


@pytest.mark.parametrize(
    "arguments", [{"first": 0}, {"first": 101}, {"after": "x"}, {"after": str(uuid4())}]
)
def test_it_refuses_pages_that_are_none(acme: Cast, gql: Gql, arguments: Any) -> None:
    assert gql(acme, LIST, w=str(acme.workspace.id), **arguments).codes == ["BAD_USER_INPUT"]


def test_it_previews_and_says_what_is_wrong(acme: Cast, gql: Gql, synced: Template) -> None:
    asked = {"workspaceId": str(acme.workspace.id), "name": "welcome"}
    found = gql(acme, PREVIEW, input={**asked, "parameters": {"params": ["Ada"]}}).data
    assert found["previewMessageTemplate"]["preview"]["body"] == "Hello Ada!"
    assert found["previewMessageTemplate"]["problems"] == []

    found = gql(acme, PREVIEW, input=asked).data["previewMessageTemplate"]
    assert found["preview"]["body"] == "Hello {{1}}!"
    assert found["problems"] == [
        {
            "code": "WRONG_COUNT",
            "component": "body",
            "field": "positional",
            "message": "body: no parameter was given, 1 is expected",
        }
    ]


def test_it_says_why_there_is_nothing_to_send(acme: Cast, gql: Gql, synced: Template) -> None:
    asked = {"workspaceId": str(acme.workspace.id), "name": "other"}

    found = gql(acme, PREVIEW, input=asked).data["previewMessageTemplate"]

    assert "is PAUSED" in found["reason"] and found["template"] is None


def test_it_syncs(acme: Cast, gql: Gql, platform: Platform, synced: Template) -> None:
    platform.accounts[acme.workspace.waba_id] = [fact(), fact("third")]

    asked = {"workspaceId": str(acme.workspace.id)}
    found = gql(acme, SYNC, input=asked).data["syncMessageTemplates"]

    assert found == {
        "added": 1,
        "changed": 0,
        "removed": 1,
        "unchanged": 1,
        "success": True,
        "errors": [],
    }


def test_a_sync_that_fails_says_so(acme: Cast, gql: Gql, platform: Platform) -> None:
    platform.error = Rejected(190, "The token is no good.", details="Expired.")

    asked = {"workspaceId": str(acme.workspace.id)}
    found = gql(acme, SYNC, input=asked).data["syncMessageTemplates"]

    assert (found["success"], found["added"]) == (False, 0)
    assert found["errors"] == [
        {
            "code": "PLATFORM_REJECTED",
            "field": None,
            "message": "The token is no good.",
            "platformCode": 190,
            "details": "Expired.",
        }
    ]


def test_it_creates_edits_and_deletes(acme: Cast, gql: Gql, platform: Platform) -> None:
    made = gql(acme, CREATE, input=draft(acme)).data["createMessageTemplate"]
    assert (made["success"], made["template"]["status"]) == (True, "PENDING")
    template = {"id": made["template"]["id"]}
    Template.objects.update(status="APPROVED")

    edited = gql(acme, EDIT, input={**template, "components": [BODY]}).data["editMessageTemplate"]
    assert (edited["success"], edited["template"]["status"]) == (True, "PENDING")
    gone = gql(acme, DELETE, input=template).data["deleteMessageTemplate"]
    assert (gone["success"], gone["deleted"]) == (True, 1)
    assert [asked[0] for asked in platform.asked] == ["create", "edit", "delete"]


def test_it_names_every_place_that_meta_would_refuse(acme: Cast, gql: Gql) -> None:
    wrong = draft(acme, name="No!", components=[{**BODY, "text": "{{1}}"}])

    errors = gql(acme, CREATE, input=wrong).data["createMessageTemplate"]["errors"]

    assert [e["field"] for e in errors] == ["name", "components[0]"]
    assert {e["code"] for e in errors} == {"INVALID_TEMPLATE"}


def test_it_asks_meta_alone_in_a_document(acme: Cast, gql: Gql, platform: Platform) -> None:
    twice = SYNC[:-1] + "again: syncMessageTemplates(input: $input) { success } }"

    answer = gql(acme, twice, input={"workspaceId": str(acme.workspace.id)})

    assert set(answer.codes) == {"BAD_USER_INPUT"} and platform.asked == []


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_meta_is_asked(
    acme: Cast, gql: Gql, platform: Platform
) -> None:
    seen: list[tuple[bool, str]] = []
    platform.meanwhile = lambda: seen.append((connection.in_atomic_block, role()))

    found = gql(acme, SYNC, input={"workspaceId": str(acme.workspace.id)})

    assert found.data["syncMessageTemplates"]["success"]
    assert seen == [(False, "none")]


def role() -> str:
    """Return whom the database takes us for."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('role')")
        return str(cursor.fetchone()[0])


def test_it_goes_on_as_the_tenant_after_a_failure(acme: Cast, gql: Gql, platform: Platform) -> None:
    platform.error = Unavailable("Away.")
    alone = CREATE.replace("errors {", "errors { __typename")

    (error,) = gql(acme, alone, input=draft(acme)).data["createMessageTemplate"]["errors"]

    assert (error["code"], error["message"]) == ("PLATFORM_UNAVAILABLE", "Away.")
