"""One message in all its parts, from a real callback to the answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connectors.whatsapp.processing import process_batch
from messaging.models import Message
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with, write
from tests.whatsapp.deliveries import callback, contact, deliver, status, text
from workspaces import keys
from workspaces.access import Scope
from workspaces.identity import digester

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

ONE = """
query One($id: ID!) {
  message(id: $id) {
    id text type direction source timestampUtc status platformMessageId replyTo content platform
    sender { displayName platformUserId } contact { displayName } workspace { id name }
    statuses { status timestampUtc participant errors pricing }
    delivery { sentAt deliveredAt failedAt errors pricing }
    media { mimeType sha256 filename sizeBytes state downloadUrl }
    editedAt revokedAt
  }
}
"""
ORIGINAL = "query Original($id: ID!) { message(id: $id) { text wamid raw } }"
LIST = "query List($w: ID!) { messages(workspaceId: $w) { totalCount nodes { id text raw } } }"


def take_in(cast: Cast, field: str = "messages", **value: object) -> None:
    """Take in one callback."""
    deliver(cast.tenant.id, callback(cast.workspace.external_id, field=field, **value))
    process_batch(10)


def receive(cast: Cast, field: str = "messages", **value: object) -> Message:
    """Take in one callback and return its message, the tenant's only one."""
    take_in(cast, field, **value)
    return Message.objects.get(tenant_id=cast.tenant.id)


def test_it_shows_who_wrote_what(gql: Gql, acme: Cast) -> None:
    message = receive(acme, messages=[text("wamid.A")], contacts=[contact()])

    found = gql(acme, ONE, id=str(message.id)).data["message"]

    digest = digester(acme.tenant.id)
    assert (found["text"], found["direction"], found["source"]) == ("Hello", "INBOUND", "LIVE")
    assert found["sender"]["displayName"] == "Alice"
    assert found["sender"]["platformUserId"] == digest.phone("15550123456")
    assert found["platformMessageId"] == digest.wamid("wamid.A")
    assert found["workspace"] == {"id": str(acme.workspace.id), "name": "acme support"}
    assert found["media"] is None
    assert found["statuses"] == []


def test_it_shows_how_far_a_message_got(gql: Gql, acme: Cast) -> None:
    echo = {**text("wamid.E", sender="15550100001"), "to": "15550123456"}
    message = receive(acme, field="smb_message_echoes", message_echoes=[echo])
    error = {"code": 131026, "title": "Message undeliverable"}
    receipts = [status("wamid.E", "sent", 1_790_000_001, pricing={"category": "service"})]
    receipts.append(status("wamid.E", "failed", 1_790_000_002, errors=[error]))
    receive(acme, statuses=receipts)

    found = gql(acme, ONE, id=str(message.id)).data["message"]

    assert (found["status"], found["source"], found["direction"]) == ("failed", "ECHO", "OUTBOUND")
    assert [receipt["status"] for receipt in found["statuses"]] == ["sent", "failed"]
    assert found["statuses"][1]["errors"][0]["code"] == 131026
    assert found["delivery"]["sentAt"] == "2026-09-21T14:13:21+00:00"
    assert found["delivery"]["errors"][0]["code"] == 131026
    assert found["sender"]["displayName"] == "acme support"


def test_it_links_the_file_of_a_message(gql: Gql, acme: Cast) -> None:
    document = {"id": "777", "mime_type": "application/pdf", "sha256": "eA==", "filename": "a.pdf"}
    incoming = {**text("wamid.M"), "type": "document", "document": document}
    message = receive(acme, messages=[incoming])

    media = gql(acme, ONE, id=str(message.id)).data["message"]["media"]

    assert (media["mimeType"], media["filename"]) == ("application/pdf", "a.pdf")
    assert media["state"] == "AVAILABLE"
    assert f"/media/{message.media.id}?token=" in media["downloadUrl"]


def test_it_gives_no_link_to_those_who_may_not_read_files(gql: Gql, acme: Cast) -> None:
    incoming = {
        **text("wamid.M"),
        "type": "image",
        "image": {"id": "777", "mime_type": "image/png"},
    }
    message = receive(acme, messages=[incoming])

    answer = gql(key_with(acme.tenant, Scope.MESSAGES_READ), ONE, id=str(message.id))

    assert answer.codes == ["FORBIDDEN"]
    assert answer.body["errors"][0]["path"] == ["message", "media", "downloadUrl"]
    assert answer.body["data"]["message"]["media"]["mimeType"] == "image/png"


def test_it_shows_the_original_to_those_who_may_see_it(gql: Gql, acme: Cast) -> None:
    message = receive(acme, messages=[text("wamid.A"), text("wamid.B")][:1])

    found = gql(acme, ORIGINAL, id=str(message.id)).data["message"]

    assert found["wamid"] == "wamid.A"
    assert found["raw"] == text("wamid.A")


def test_it_hides_the_original_from_everybody_else(gql: Gql, acme: Cast) -> None:
    message = receive(acme, messages=[text("wamid.A")])

    answer = gql(key_with(acme.tenant, Scope.MESSAGES_READ), ORIGINAL, id=str(message.id))

    assert answer.codes == ["FORBIDDEN", "FORBIDDEN"]
    assert answer.body["data"] == {"message": {"text": "Hello", "wamid": None, "raw": None}}
    assert [error["path"] for error in answer.body["errors"]] == [
        ["message", "wamid"],
        ["message", "raw"],
    ]


def test_it_shows_no_original_once_its_key_is_destroyed(gql: Gql, acme: Cast) -> None:
    message = receive(acme, messages=[text("wamid.A")])
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    keys.destroy_day_keys(tenant_id=acme.tenant.id, before=tomorrow)

    found = gql(acme, ORIGINAL, id=str(message.id)).data["message"]

    assert found == {"text": "Hello", "wamid": None, "raw": None}


def test_it_opens_a_callback_of_many_messages_once(
    gql: Gql, acme: Cast, django_assert_max_num_queries
) -> None:
    batch = [text(f"wamid.{number}", body=f"{number}") for number in range(30)]
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=batch))
    process_batch(10)

    with django_assert_max_num_queries(14):
        nodes = gql(acme, LIST, w=str(acme.workspace.id)).data["messages"]["nodes"]

    assert {node["raw"]["text"]["body"] for node in nodes} == {node["text"] for node in nodes}


def test_it_survives_half_a_surrogate_pair_in_an_original(gql: Gql, acme: Cast) -> None:
    message = receive(acme, messages=[text("wamid.A", body="a\ud800b")])

    assert (
        gql(acme, ORIGINAL, id=str(message.id)).data["message"]["raw"]["text"]["body"] == "a\ufffdb"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("direction: INBOUND", {"in", "pic"}),
        ('direction: OUTBOUND, status: "read"', {"out"}),
        ('type: "image"', {"pic"}),
        ('type: "sticker"', set()),
        ('senderPhone: "+1 555 012-3456"', {"in"}),
        (f'sender: "{"cd" * 32}"', {"out"}),
        ('since: "2026-03-01T12:00:00Z", until: "2026-03-01T12:00:01Z"', {"in", "out", "pic"}),
        ('since: "2026-03-01T12:00:01"', set()),
        ('until: "2026-03-01T13:00:00+01:00"', set()),
        ("platform: WHATS_APP", {"in", "out", "pic"}),
    ],
)
def test_it_filters(gql: Gql, acme: Cast, arguments: str, expected: set[str]) -> None:
    phone = digester(acme.tenant.id).phone("15550123456")
    write(acme, 1, text="in", sender=phone)
    write(acme, 1, text="out", direction="OUTBOUND", status="read", sender="cd" * 32)
    write(acme, 1, text="pic", type="image")
    document = f"query($w: ID!) {{ messages(workspaceId: $w, {arguments}) {{ nodes {{ text }} }} }}"

    found = gql(acme, document, w=str(acme.workspace.id)).data["messages"]["nodes"]

    assert {node["text"] for node in found} == expected


@pytest.mark.parametrize(
    "arguments",
    [
        'type: "a\\u0000b"',
        'status: "\'; --"',
        'sender: "15550123456"',
        'senderPhone: "12"',
        f'senderPhone: "+15550123456", sender: "{"cd" * 32}"',
    ],
)
def test_it_refuses_a_filter_that_means_nothing(gql: Gql, acme: Cast, arguments: str) -> None:
    document = f"query($w: ID!) {{ messages(workspaceId: $w, {arguments}) {{ nodes {{ text }} }} }}"

    assert gql(acme, document, w=str(acme.workspace.id)).codes == ["BAD_USER_INPUT"]


def test_it_keeps_another_tenants_messages_to_itself(gql: Gql, acme: Cast, globex: Cast) -> None:
    (message,) = write(acme, 1)

    listed = gql(globex, LIST, w=str(acme.workspace.id))
    assert listed.codes == ["NOT_FOUND"]
    assert listed.body["data"] == {"messages": None}
    assert gql(globex, ONE, id=str(message.id)).data == {"message": None}
    assert gql(globex, LIST, w=str(globex.workspace.id)).data["messages"]["nodes"] == []


def test_it_finds_no_sender_by_another_tenants_digest(gql: Gql, acme: Cast, globex: Cast) -> None:
    write(globex, 1, sender=digester(acme.tenant.id).phone("15550123456"))
    document = (
        'query($w: ID!) { messages(workspaceId: $w, senderPhone: "+15550123456") { totalCount } }'
    )

    found = gql(globex, document, w=str(globex.workspace.id))

    assert found.data["messages"]["totalCount"] == 0


@pytest.mark.parametrize("phone", ["+55 11 9 0000-0101", "+55 11 0000-0101"])
def test_it_finds_a_sender_by_either_way_to_write_his_number(
    gql: Gql, acme: Cast, globex: Cast, phone: str
) -> None:
    for cast in (acme, globex):
        take_in(
            cast,
            messages=[text("wamid.A", sender="5511900000101"), text("wamid.B")],
            contacts=[contact("551100000101"), contact()],
        )
    document = """query($w: ID!, $phone: String) {
      messages(workspaceId: $w, senderPhone: $phone) { totalCount } }"""

    found = gql(acme, document, w=str(acme.workspace.id), phone=phone)

    assert found.data["messages"]["totalCount"] == 1


def test_it_takes_a_former_number_for_no_way_to_write_the_present_one(gql: Gql, acme: Cast) -> None:
    take_in(acme, messages=[text("wamid.A", sender="15550123456")])
    moved = {"body": "Changed", "type": "user_changed_number", "wa_id": "15550999999"}
    take_in(acme, messages=[{**text("wamid.S"), "type": "system", "system": moved}])
    document = """query($w: ID!) {
      messages(workspaceId: $w, senderPhone: "+15550999999") { totalCount } }"""

    assert gql(acme, document, w=str(acme.workspace.id)).data["messages"]["totalCount"] == 0


@pytest.mark.parametrize("given", ["nonsense", "", "123", "a" * 5000])
def test_it_refuses_what_is_no_id(gql: Gql, acme: Cast, given: str) -> None:
    assert gql(acme, ONE, id=given).codes == ["BAD_USER_INPUT"]
    assert gql(acme, LIST, w=given).codes == ["BAD_USER_INPUT"]


def test_it_needs_permission_to_read_messages(gql: Gql, acme: Cast) -> None:
    answer = gql(key_with(acme.tenant, Scope.WORKSPACES_READ), LIST, w=str(acme.workspace.id))

    assert answer.codes == ["FORBIDDEN"]
