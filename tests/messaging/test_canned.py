"""Canned replies of a number, over GraphQL and REST."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.test import Client

from messaging import canned
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with
from tests.sending.test_rest import ask
from workspaces.access import Scope

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

REPLIES = "/api/v1/canned-replies"
CREATE = """
mutation ($input: CreateCannedReplyInput!) { createCannedReply(input: $input) {
  success cannedReply { id workspaceId shortcut text } errors { code field message }
} }
"""
UPDATE = """
mutation ($input: UpdateCannedReplyInput!) { updateCannedReply(input: $input) {
  success cannedReply { shortcut text } errors { code field }
} }
"""
DELETE = """
mutation ($input: DeleteCannedReplyInput!) {
  deleteCannedReply(input: $input) { success errors { code } }
}
"""
LIST = "query ($w: ID!) { cannedReplies(workspaceId: $w) { shortcut text } }"


def test_a_shortcut_leads_to_one_text_of_its_workspace(acme: Cast, globex: Cast, gql: Gql) -> None:
    def create(cast: Cast, shortcut: str, text: str = "Hi {{name}}", place: Cast | None = None):
        given = {"shortcut": shortcut, "text": text}
        where = str((place or cast).workspace.id)
        return gql(cast, CREATE, input={"workspaceId": where, **given}).data["createCannedReply"]

    made = create(acme, " /Hello ")["cannedReply"]
    assert (made["shortcut"], made["text"]) == ("/Hello", "Hi {{name}}")
    assert create(acme, "/HELLO")["errors"][0]["code"] == "DUPLICATE"
    assert create(globex, "/hello", "Ho")["success"]
    assert create(globex, "/bye", place=acme)["errors"][0]["code"] == "WORKSPACE_NOT_FOUND"
    assert create(acme, "/long", "x" * 4096)["success"]
    for shortcut, text in (("", "a"), ("x" * 51, "a"), ("a", " "), ("a", "x" * 4097), ("a", "\0")):
        assert create(acme, shortcut, text)["errors"][0]["code"] == "INVALID_INPUT"
    shown = gql(acme, LIST, w=str(acme.workspace.id)).data["cannedReplies"]
    assert [one["shortcut"] for one in shown] == ["/Hello", "/long"]
    assert gql(globex, LIST, w=str(acme.workspace.id)).codes == ["NOT_FOUND"]

    def update(cast: Cast, **given: str) -> dict:
        wanted = {"replyId": made["id"], **given}
        return gql(cast, UPDATE, input=wanted).data["updateCannedReply"]

    assert update(acme, shortcut="/hello")["cannedReply"] == {
        "shortcut": "/hello",
        "text": "Hi {{name}}",
    }
    assert update(acme, shortcut="/LONG")["errors"][0]["code"] == "DUPLICATE"
    assert update(globex, text="Mine")["errors"][0]["code"] == "CANNED_REPLY_NOT_FOUND"
    for cast, done in ((globex, False), (acme, True), (acme, False)):
        answer = gql(cast, DELETE, input={"replyId": made["id"]}).data["deleteCannedReply"]
        assert answer["success"] is done


def test_rest_does_the_same(acme: Cast, globex: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    place = {"workspace_id": str(acme.workspace.id)}
    status, made = ask(acme, REPLIES, {**place, "shortcut": "/hi", "text": "Hello"})
    assert status == 201
    assert ask(acme, REPLIES, {**place, "shortcut": "/HI", "text": "Hello"})[0] == 409
    assert ask(globex, REPLIES, {**place, "shortcut": "/hi", "text": "Hello"})[0] == 404
    listing = f"{REPLIES}?workspace_id={acme.workspace.id}"
    assert ask(acme, listing, method="get") == (200, {"nodes": [made]})
    assert ask(globex, listing, method="get")[0] == 404
    assert ask(acme, REPLIES, method="get")[0] == 400
    one = f"{REPLIES}/{made['id']}"
    assert ask(acme, one, {"text": "Ho"}, "patch") == (200, {**made, "text": "Ho"})
    assert ask(globex, one, {"text": "Ho"}, "patch")[0] == 404
    assert ask(acme, f"{REPLIES}/{uuid4()}", {"text": "Ho"}, "patch")[0] == 404
    assert ask(acme, one, {"text": 5}, "patch")[1]["error"]["field"] == "text"
    monkeypatch.setattr(canned, "MOST", 1)
    status, refused = ask(acme, REPLIES, {**place, "shortcut": "/b", "text": "c"})
    assert (status, refused["error"]["code"]) == (422, "TOO_MANY")
    reader = key_with(acme.tenant, Scope.MESSAGES_READ)
    assert ask(reader, listing, method="get")[0] == 200
    assert ask(reader, one, {"text": "x"}, "patch")[0] == 403
    for cast, wanted in ((globex, 404), (acme, 204), (acme, 404)):
        headers = {"Authorization": f"Bearer {cast.api_key}"}
        assert Client().delete(one, headers=headers).status_code == wanted
