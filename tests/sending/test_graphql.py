"""Sending through GraphQL: accepted at once, and every refusal is data."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction

from messaging.models import Conversation, Message, PendingSend, ReadMark
from tests.conftest import Cast
from tests.contract.conftest import block
from tests.graphql.conftest import Gql, key_with
from tests.sending.conftest import hear, template, wire_of
from workspaces.access import Scope
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db

SEND = """
mutation Send($input: SendWhatsAppMessageInput!) {
  sendWhatsAppMessage(input: $input) {
    success messageId status isRepeat message { id text status platformMessageId }
    errors { code field message platformCode }
  }
}
"""


def send(gql: Gql, cast: Cast, **given: object) -> dict:
    """Send something to the person who wrote; return the payload."""
    wanted = {"workspaceId": str(cast.workspace.id), "recipientPhone": "+1 (555) 012-3456"}
    return gql(cast, SEND, input={**wanted, **given}).data["sendWhatsAppMessage"]


def test_it_runs_the_contract_word_for_word(gql: Gql, acme: Cast) -> None:
    template(acme)
    document = block("send_template.graphql", your_workspace_uuid=str(acme.workspace.id))

    payload = gql(acme, document).data["sendWhatsAppMessage"]

    assert (payload["success"], payload["errors"]) == (True, [])
    row = Message.objects.get(pk=UUID(payload["messageId"]))
    assert (row.status, row.text) == ("queued", "Hello John! Welcome to SIGMA Analytics.")
    assert wire_of(row.id)["to"] == "+1234567890"


@pytest.mark.django_db(transaction=True)
def test_two_sends_of_one_document_survive_a_deadlock(
    gql: Gql, acme: Cast, wait_for, now: datetime
) -> None:
    first, second = (hear(acme, now, phone=p, wamid=f"wamid.{p}") for p in ("15550001", "15550002"))
    send = """m%d: sendWhatsAppMessage(input: {
      workspaceId: $w recipientPhone: "+1555000%d" text: "Hi" }) { success }"""
    both = f"mutation M($w: ID!) {{ {send % (1, 1)} {send % (2, 2)} }}"

    def ask() -> dict:
        try:
            return gql(acme, both, w=str(acme.workspace.id)).data
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        lock(second)
        answer = pool.submit(ask)
        wait_for(somebody_waits)
        lock(first)  # the other one has it, waits for ours, and looks for deadlocks before we do
    assert answer.result() == {"m1": {"success": True}, "m2": {"success": True}}
    assert Message.objects.filter(direction="OUTBOUND").count() == 2


def lock(message: Message) -> None:
    """Hold a message's conversation to the end of the transaction."""
    of_contact = Conversation.objects.filter(contact_id=message.contact_id)
    list(of_contact.select_for_update())


def somebody_waits() -> bool:
    """Tell whether another session waits for this one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted "
            "AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        )
        return bool(cursor.fetchone()[0])


def test_it_answers_with_the_stored_message(gql: Gql, acme: Cast, heard: Message) -> None:
    payload = send(gql, acme, text="Hi")

    assert payload["message"] == {
        "id": payload["messageId"],
        "text": "Hi",
        "status": "queued",
        "platformMessageId": None,
    }


def test_it_tells_every_reason_with_its_field(gql: Gql, acme: Cast) -> None:
    payload = send(gql, acme, recipientPhone="0711558396", media={"kind": "AUDIO", "caption": "x"})

    assert payload["success"] is False
    assert [(e["code"], e["field"]) for e in payload["errors"]] == [
        ("INVALID_PHONE", "recipientPhone"),
        ("INVALID_INPUT", "media"),
        ("INVALID_INPUT", "media.caption"),
    ]
    assert "0711558396" not in str(payload)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "text"),
        ({"text": "a", "templateName": "b"}, "text"),
        ({"text": "a", "templateParams": ["b"]}, "templateParams"),
        ({"media": {"kind": "IMAGE", "id": "1"}, "previewUrl": True}, "previewUrl"),
        ({"text": "a", "recipientUserId": "US.1"}, "recipientPhone"),
        ({"text": "a", "replyTo": "not an id"}, "replyTo"),
        ({"text": "a", "workspaceId": "your-workspace-uuid"}, "workspaceId"),
    ],
)
def test_it_refuses_what_is_not_one_message(gql: Gql, acme: Cast, given: dict, field: str) -> None:
    (error,) = send(gql, acme, **given)["errors"]

    assert (error["code"], error["field"]) == ("INVALID_INPUT", field)


def test_it_needs_permission_and_more_to_force(gql: Gql, acme: Cast) -> None:
    wanted = {"workspaceId": str(acme.workspace.id), "recipientPhone": "+15550123456"}
    reader, sender = (
        key_with(acme.tenant, Scope.MESSAGES_READ),
        key_with(acme.tenant, Scope.MESSAGES_SEND),
    )
    forced = {**wanted, "templateName": "new_one", "language": "en", "force": True}

    assert gql(reader, SEND, input={**wanted, "text": "Hi"}).codes == ["FORBIDDEN"]
    assert gql(sender, SEND, input=forced).codes == ["FORBIDDEN"]
    assert send(gql, acme, **forced)["status"] == "queued"


def test_it_cancels_what_waits_and_only_that(gql: Gql, acme: Cast, heard: Message) -> None:
    cancel = "mutation C($id: ID!) { cancelMessage(input: {messageId: $id}) { success status "
    cancel += "errors { code } } }"
    message_id = send(gql, acme, text="Hi")["messageId"]

    for _ in range(2):
        payload = gql(acme, cancel, id=message_id).data["cancelMessage"]
        assert payload == {"success": True, "status": "cancelled", "errors": []}
    row = Message.objects.get(pk=message_id)
    assert not PendingSend.objects.exists()
    assert "cancelled_at" in row.delivery
    for other in (str(heard.id), str(acme.tenant.id)):
        payload = gql(acme, cancel, id=other).data["cancelMessage"]
        assert payload["errors"] == [{"code": "MESSAGE_NOT_FOUND"}]


def test_it_marks_as_read_with_typing(gql: Gql, acme: Cast, heard: Message) -> None:
    query = "mutation M($id: ID!) { markMessageRead(input: {messageId: $id, typing: true}) "
    query += "{ success errors { code } } }"

    payload = gql(acme, query, id=str(heard.id)).data["markMessageRead"]

    assert payload == {"success": True, "errors": []}
    mark = ReadMark.objects.get()
    assert (mark.message_id, mark.workspace_id) == (heard.id, acme.workspace.id)
    assert mark.typing
    refusal = gql(acme, query, id=str(acme.tenant.id)).data["markMessageRead"]
    assert refusal["errors"] == [{"code": "MESSAGE_NOT_FOUND"}]
    Workspace.objects.update(is_active=False)
    refusal = gql(acme, query, id=str(heard.id)).data["markMessageRead"]
    assert refusal["errors"] == [{"code": "WORKSPACE_INACTIVE"}]


@pytest.mark.parametrize(("group", "unread"), [(None, 0), ("g", 1)])
def test_a_read_mark_in_a_group_is_about_no_conversation(
    gql: Gql, acme: Cast, heard: Message, group: str | None, unread: int
) -> None:
    Message.objects.filter(pk=heard.pk).update(group_id=group)
    mark = "mutation M($id: ID!) { markMessageRead(input: {messageId: $id}) { success } }"

    assert gql(acme, mark, id=str(heard.id)).data["markMessageRead"] == {"success": True}

    assert Conversation.objects.get(contact_id=heard.contact_id).unread_count == unread


def test_it_knows_nothing_of_another_tenant(
    gql: Gql, acme: Cast, globex: Cast, now: datetime, heard: Message
) -> None:
    theirs = hear(globex, now - timedelta(hours=1), wamid="wamid.THEIRS")
    template(globex)

    for given, code in (
        ({"text": "Hi", "workspaceId": str(globex.workspace.id)}, "WORKSPACE_NOT_FOUND"),
        ({"text": "Hi", "replyTo": str(theirs.id)}, "REPLY_TARGET_NOT_FOUND"),
        ({"reaction": {"messageId": str(theirs.id), "emoji": "👍"}}, "REPLY_TARGET_NOT_FOUND"),
        ({"templateName": "welcome_message", "templateParams": ["x"]}, "TEMPLATE_NOT_FOUND"),
    ):
        assert [error["code"] for error in send(gql, acme, **given)["errors"]] == [code]
    assert Message.objects.filter(direction="OUTBOUND").count() == 0
