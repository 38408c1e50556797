"""One message has two ids since there are BSUIDs: under the phone's id, and under the user's."""

from __future__ import annotations

from io import StringIO
from itertools import permutations

import pytest
from django.core.management import call_command

from connectors.whatsapp.processing import process_batch
from messaging.models import Conversation, Message, MessageStatus
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql
from tests.messaging.test_wamids import USER, wamid
from tests.whatsapp.deliveries import callback, contact, deliver, status, text
from workspaces.identity import digester

__all__ = ("gql",)

pytestmark = pytest.mark.django_db

AT = 1_790_000_000
PHONE, BSUID = "15550123456", "ZZ.1000200030004000"
OTHER_PHONE, OTHER_BSUID = "15550199999", "ZZ.9999999999999999"
KEY = "3A00112233445566778F"
BY_PHONE, BY_USER = wamid(PHONE, KEY), wamid(BSUID, KEY, kind=USER)
OURS_BY_PHONE = wamid(PHONE, "0123456789ABCDEF01", is_ours=True)
OURS_BY_USER = wamid(BSUID, "0123456789ABCDEF01", kind=USER, is_ours=True)
REPLIES = (
    "query Q($w: ID!) { messages(workspaceId: $w) { nodes { type replyTo platformMessageId } } }"
)


def receive(cast: Cast, *messages: dict, field: str = "messages", **value: object) -> None:
    """Take in one callback about somebody who is known by both ids."""
    people = [contact(PHONE, user_id=BSUID)]
    if messages:
        value |= {"messages": list(messages)}
    value = {"contacts": people, **value}
    deliver(cast.tenant.id, callback(cast.workspace.external_id, field=field, **value))
    process_batch(10)


def said(name: str, body: str = "Three please", **more: object) -> dict:
    """Return what the person wrote, under one id or the other."""
    return {**text(name, body, PHONE), "from_user_id": BSUID, **more}


def reply(name: str, to: str, **more: object) -> dict:
    return said(name, "Yes, that one", context={"id": to}, timestamp=str(AT + 60), **more)


def revoke(of: str, **more: object) -> dict:
    what = {"type": "revoke", "revoke": {"original_message_id": of}}
    return said("wamid.R", timestamp=str(AT + 60), **what, **more)


def edit(of: str, **more: object) -> dict:
    inner = {"type": "text", "text": {"body": "Four please"}}
    what = {"type": "edit", "edit": {"original_message_id": of, "message": inner}}
    return said("wamid.E", timestamp=str(AT + 60), **what, **more)


def reaction(of: str, **more: object) -> dict:
    what = {"type": "reaction", "reaction": {"message_id": of, "emoji": "👍"}}
    return said("wamid.X", timestamp=str(AT + 60), **what, **more)


def echo(name: str, **more: object) -> dict:
    return {**text(name, "I will call", "15550100001"), "to": PHONE, "to_user_id": BSUID, **more}


def named(cast: Cast, name: str) -> Message:
    digest = digester(cast.tenant.id).wamid(name)
    return Message.objects.get(tenant_id=cast.tenant.id, platform_message_id=digest)


@pytest.mark.parametrize("is_first", [True, False], ids=["the message first", "the reply first"])
@pytest.mark.parametrize("told", [BY_PHONE, BY_USER])
@pytest.mark.parametrize(
    "other", [reply("wamid.2", BY_USER), reaction(BY_USER), reply("wamid.2", BY_PHONE)]
)
def test_it_links_what_names_the_other_id(
    acme: Cast, globex: Cast, gql: Gql, is_first: bool, told: str, other: dict
) -> None:
    receive(globex, said(told))
    parts = [said(told), other]
    for part in parts if is_first else reversed(parts):
        receive(acme, part)

    nodes = gql(acme, REPLIES, w=str(acme.workspace.id)).data["messages"]["nodes"]
    mine = named(acme, told).platform_message_id
    assert [node["replyTo"] for node in nodes if node["platformMessageId"] != mine] == [mine]


def test_it_links_within_one_callback(acme: Cast) -> None:
    receive(acme, reply("wamid.2", BY_USER), said(BY_PHONE))

    assert named(acme, "wamid.2").reply_to == named(acme, BY_PHONE).platform_message_id


@pytest.mark.parametrize("is_first", [True, False], ids=["the message first", "the message last"])
def test_it_deletes_what_is_deleted_by_the_other_id(acme: Cast, is_first: bool) -> None:
    parts = [said(BY_PHONE), edit(BY_USER), revoke(BY_USER)]
    for part in parts if is_first else reversed(parts):
        receive(acme, part)

    message = named(acme, BY_PHONE)
    assert (message.text, message.revoked_at is not None) == (None, True)
    assert not Message.objects.filter(text__isnull=False).exists()


@pytest.mark.parametrize("is_first", [True, False], ids=["the message first", "the edit first"])
def test_it_edits_what_is_edited_by_the_other_id(acme: Cast, is_first: bool) -> None:
    parts = [said(BY_USER), edit(BY_PHONE)]
    for part in parts if is_first else reversed(parts):
        receive(acme, part)

    assert named(acme, BY_USER).text == "Four please"


def other_person(message: dict) -> dict:
    return {**message, "from": OTHER_PHONE, "from_user_id": OTHER_BSUID}


@pytest.mark.parametrize("is_first", [True, False])
def test_the_key_alone_proves_nothing(acme: Cast, globex: Cast, is_first: bool) -> None:
    """Whoever writes chooses the key: somebody else may choose the same one."""
    theirs = wamid(OTHER_BSUID, KEY, kind=USER)
    parts = [said(BY_PHONE), other_person(revoke(theirs)), other_person(edit(theirs))]
    for part in parts if is_first else reversed(parts):
        deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[part]))
        process_batch(10)
    deliver(globex.tenant.id, callback(globex.workspace.external_id, messages=[revoke(BY_USER)]))
    process_batch(10)

    assert named(acme, BY_PHONE).text == "Three please"


def test_nobody_deletes_what_the_other_side_wrote(acme: Cast) -> None:
    receive(acme, message_echoes=[echo(OURS_BY_PHONE)], field="smb_message_echoes")
    receive(acme, revoke(OURS_BY_USER), edit(OURS_BY_USER))

    assert named(acme, OURS_BY_PHONE).text == "I will call"


def test_it_links_nothing_where_two_have_the_key(acme: Cast) -> None:
    receive(acme, said(BY_PHONE), said(wamid(PHONE, KEY, is_ours=True), type="audio"))
    receive(acme, reply("wamid.2", BY_USER))

    answer = named(acme, "wamid.2")
    others = Message.objects.exclude(pk=answer.pk).values_list("platform_message_id", flat=True)
    assert len(others) == 2
    assert answer.reply_to not in others


def test_it_compares_ids_without_a_key_as_a_whole(acme: Cast) -> None:
    receive(acme, said("wamid.gBGGFlA5QVlwAgkAAA"), reply("wamid.2", "wamid.gBGGFlA5QVlwAgkAAB"))
    receive(acme, revoke("wamid.gBGGFlA5QVlwAgkAAA"))

    assert named(acme, "wamid.gBGGFlA5QVlwAgkAAA").revoked_at is not None
    target = named(acme, "wamid.gBGGFlA5QVlwAgkAAA")
    assert named(acme, "wamid.2").reply_to != target.platform_message_id


@pytest.mark.parametrize("is_one_callback", [True, False])
def test_it_stores_a_message_once_that_comes_under_both_ids(
    acme: Cast, globex: Cast, is_one_callback: bool
) -> None:
    twice = [said(BY_PHONE), said(BY_USER)]
    for part in [twice] if is_one_callback else [[one] for one in twice]:
        receive(acme, *part)
    receive(globex, said(BY_USER))

    assert Message.objects.filter(tenant_id=acme.tenant.id).count() == 1
    assert Message.objects.filter(tenant_id=globex.tenant.id).count() == 1
    assert [c.unread_count for c in Conversation.objects.all()] == [1, 1]


def test_it_keeps_messages_apart_that_only_share_a_key(acme: Cast) -> None:
    receive(acme, said(BY_PHONE))
    receive(acme, said(BY_USER, type="image", image={"id": "1", "mime_type": "image/png"}))
    theirs = other_person(said(wamid(OTHER_PHONE, KEY)))
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[theirs]))
    process_batch(10)

    assert Message.objects.count() == 3


def receipt(of: str, word: str) -> dict:
    return status(of, word, AT + 60, recipient_id=PHONE, recipient_user_id=BSUID)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_receipts_move_a_message_that_they_name_by_the_other_id(
    acme: Cast, order: tuple[int, ...]
) -> None:
    receive(acme, said("wamid.hello"))  # so the person is known by both
    callbacks: list[dict] = [
        {"message_echoes": [echo(OURS_BY_PHONE)], "field": "smb_message_echoes"},
        {"statuses": [receipt(OURS_BY_USER, "delivered")]},
        {"statuses": [receipt(OURS_BY_USER, "read"), receipt(OURS_BY_PHONE, "delivered")]},
    ]
    for number in order:
        receive(acme, **callbacks[number])

    message = named(acme, OURS_BY_PHONE)
    assert message.status == "read"
    stored = MessageStatus.objects.filter(platform_message_id=message.platform_message_id)
    assert sorted(stored.values_list("status", flat=True)) == ["delivered", "read"]


def test_receipts_of_somebody_else_move_nothing(acme: Cast) -> None:
    receive(acme, message_echoes=[echo(OURS_BY_PHONE)], field="smb_message_echoes")
    theirs = wamid(OTHER_PHONE, "0123456789ABCDEF01", is_ours=True)
    receive(acme, statuses=[status(theirs, "read", recipient_id=OTHER_PHONE)])

    assert named(acme, OURS_BY_PHONE).status is None


def test_a_group_is_one_place_whoever_of_it_speaks(acme: Cast) -> None:
    in_group = {"group_id": "Y2FwaV9ncm91cDox"}
    first = wamid("120300000000000001", KEY, kind=8, participant=PHONE)
    second = wamid("120300000000000001", KEY, kind=8, participant=OTHER_PHONE)
    receive(acme, said(first, **in_group), said(BY_PHONE, "In private"))
    answer = other_person(reply("wamid.2", second, **in_group))
    receive(acme, answer, contacts=[contact(OTHER_PHONE)])

    assert named(acme, "wamid.2").reply_to == named(acme, first).platform_message_id
    assert Message.objects.count() == 3


def test_it_finds_messages_of_before_once_their_keys_are_read(acme: Cast, globex: Cast) -> None:
    for cast in (acme, globex):
        receive(cast, said(BY_PHONE), said("wamid.old"))
    Message.objects.update(inner_key=None)
    gone = Message.objects.filter(tenant_id=globex.tenant.id)
    gone.update(sealed_id=b"\x01" + bytes(60))

    out = StringIO()
    call_command("read_inner_keys", batch=1, stdout=out)
    for cast in (acme, globex):
        receive(cast, revoke(BY_USER))

    assert out.getvalue() == "4 messages seen, 1 keys read.\n"
    assert named(acme, BY_PHONE).text is None
    assert named(globex, BY_PHONE).text == "Three please"


def test_it_finds_what_a_person_wrote_before_they_were_known_to_be_one(acme: Cast) -> None:
    """Messages keep the contact they were stored with; the person is the one it became."""
    by_phone = {key: value for key, value in said(BY_PHONE).items() if key != "from_user_id"}
    by_user = {key: value for key, value in said("wamid.U").items() if key != "from"}
    revoked = {key: value for key, value in revoke(BY_USER).items() if key != "from"}
    receive(acme, by_user, contacts=[])
    receive(acme, by_phone, contacts=[])
    assert Message.objects.values("contact_id").distinct().count() == 2

    receive(acme, said("wamid.both"))
    receive(acme, revoked, contacts=[])

    assert named(acme, BY_PHONE).text is None
