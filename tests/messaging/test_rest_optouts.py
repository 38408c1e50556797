"""Opt-outs, opt-ins, stop words and read marks over REST, as in GraphQL."""

from __future__ import annotations

import json
from datetime import datetime
from uuid import uuid4

import pytest

from messaging import optouts
from messaging.models import Contact, Conversation, Message, OptOut, ReadMark
from tests.conftest import Cast
from tests.graphql.conftest import key_with
from tests.messaging.test_inbox import get, knows
from tests.sending.conftest import PHONE, hear, heard
from tests.sending.test_rest import ask
from workspaces.access import Scope

__all__ = ["heard"]

pytestmark = pytest.mark.django_db

OUT, IN, WORDS = "/api/v1/opt-outs", "/api/v1/opt-ins", "/api/v1/stop-words"


def ways(message: Message) -> list[dict[str, str]]:
    """Return every way to name who wrote a message."""
    conversation = Conversation.objects.get(contact_id=message.contact_id)
    ids = {
        "conversation_id": conversation.id,
        "contact_id": message.contact_id,
        "reply_to": message.id,
    }
    return [{name: str(value)} for name, value in ids.items()]


def test_a_person_is_opted_out_and_in_however_they_are_named(
    acme: Cast, globex: Cast, heard: Message
) -> None:
    key = key_with(acme.tenant, Scope.MESSAGES_SEND)
    for named in [*ways(heard), {"phone": f"+{PHONE}"}, ways(heard)[0] | ways(heard)[1]]:
        for path, is_out in ((OUT, True), (OUT, True), (IN, False), (IN, False)):
            status, contact = ask(key, path, named)
            assert (status, contact["id"]) == (200, str(heard.contact_id)), named
            assert contact["opted_out"] is is_out
            assert (
                bool(optouts.opted_out(tenant_id=acme.tenant.id, contact_ids=[heard.contact_id]))
                is is_out
            )
            assert PHONE not in json.dumps(contact)
    for named in ways(heard):
        status, refused = ask(globex, OUT, named)
        assert (status, refused["error"]["code"]) == (404, "CONTACT_NOT_FOUND")
        assert refused["error"]["field"] == next(iter(named))
    assert not OptOut.objects.filter(tenant_id=globex.tenant.id).exists()


def test_a_number_stays_out_before_anybody_wrote(acme: Cast, globex: Cast) -> None:
    assert ask(acme, IN, {"phone": "+15550123456"})[0] == 404

    assert ask(acme, OUT, {"phone": "+15550123456"})[0] == 200

    assert OptOut.objects.get().contact_id == Contact.objects.get(tenant_id=acme.tenant.id).id


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "INVALID_INPUT"),
        ({"contact_id": str(uuid4()), "phone": "+15550123456"}, 422, "INVALID_INPUT"),
        ({"phone": "0821234567"}, 422, "INVALID_PHONE"),
        ({"contact_id": "x"}, 400, "INVALID_INPUT"),
        ({"contactId": str(uuid4())}, 400, "INVALID_INPUT"),
        ({"phone": 1}, 400, "INVALID_INPUT"),
        ([], 400, "INVALID_INPUT"),
    ],
)
def test_it_says_what_is_wrong_with_a_person(
    acme: Cast, globex: Cast, body: object, status: int, code: str
) -> None:
    for path in (OUT, IN):
        found, refused = ask(acme, path, body)
        assert (found, refused["error"]["code"]) == (status, code)


def test_it_lists_who_is_out_page_by_page(acme: Cast, globex: Cast) -> None:
    ann, bob = knows(acme), knows(acme, "27820000001", "Bob")
    for cast, who in ((acme, ann), (acme, bob), (globex, knows(globex))):
        ask(cast, OUT, {"contact_id": str(who.id)})

    _, first = get(acme, OUT, first=1)
    _, second = get(acme, OUT, first=1, after=first["page_info"]["end_cursor"])

    nodes = first["nodes"] + second["nodes"]
    assert [node["contact"]["display_name"] for node in nodes] == ["Bob", "Ann"]
    assert {node["source"] for node in nodes} == {"API"}
    assert (first["page_info"]["has_next_page"], second["page_info"]["has_next_page"]) == (
        True,
        False,
    )
    assert get(acme, OUT, first="x")[0] == 400
    assert get(key_with(acme.tenant, Scope.MESSAGES_SEND), OUT)[0] == 403


def test_words_are_replaced(acme: Cast, globex: Cast) -> None:
    before = get(acme, WORDS)[1]

    status, now = ask(acme, WORDS, {"stop_words": ["Basta!"], "start_words": []}, "put")

    assert (status, now) == (200, {"stop": ["basta"], "start": before["start"]})
    assert get(acme, WORDS)[1] == now
    assert get(globex, WORDS)[1] == before
    for body, field in (
        ({"stop_words": ["a"], "start_words": ["A"]}, "start_words"),
        ({"stop_words": ["!"], "start_words": []}, "stop_words.0"),
    ):
        status, refused = ask(acme, WORDS, body, "put")
        assert (status, refused["error"]["field"]) == (422, field)
    assert ask(acme, WORDS, {"stop_words": "a"}, "put")[0] == 400
    assert get(key_with(acme.tenant, Scope.MESSAGES_SEND), WORDS)[0] == 403


def test_all_of_a_conversation_is_marked_as_read(
    acme: Cast, globex: Cast, heard: Message, now: datetime
) -> None:
    last = hear(acme, now, wamid="wamid.LAST")
    conversation = Conversation.objects.get(contact_id=heard.contact_id)
    path = f"/api/v1/conversations/{conversation.id}/read"

    for cast, where in ((globex, path), (acme, f"/api/v1/conversations/{uuid4()}/read")):
        status, refused = ask(cast, where, {})
        assert (status, refused["error"]["code"]) == (404, "CONVERSATION_NOT_FOUND")
    assert ask(acme, path, {"typing": "yes"})[0] == 400
    assert ask(key_with(acme.tenant, Scope.MESSAGES_READ), path, {})[0] == 403
    assert ask(acme, path, {"typing": True}) == (200, {"success": True})

    mark = ReadMark.objects.get()
    assert (mark.message_id, mark.typing) == (last.id, True)
    conversation.refresh_from_db()
    assert conversation.unread_count == 0
