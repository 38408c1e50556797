"""What an inbox asks, over both doors: conversations of messages and by ids, who has a number."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from django.test import Client

from messaging.models import Contact, ContactIdentity, Conversation, Message, OptOut
from tests.conftest import Cast
from tests.graphql.conftest import START, Gql, gql, key_with, write
from tests.messaging.test_graphql_conversations import talk
from tests.people import member
from tests.sender.test_troubles import no_broker
from tests.sending.test_rest import ask
from workspaces import provisioning
from workspaces.access import Scope
from workspaces.identity import digester
from workspaces.models import Role

__all__ = ["gql", "no_broker"]

pytestmark = pytest.mark.django_db

CONVERSATIONS, LOOKUP = "/api/v1/conversations", "/api/v1/contacts/lookup"
PHONE, NOBODYS = "+27 82 123 4567", "+27829999999"
LIST = """
query($w: ID!) { messages(workspaceId: $w, first: 100) { nodes {
  id conversation { id unreadCount windowOpenUntil contact { id displayName optedOut }
    lastMessage { id } messages(first: 1) { nodes { id } } }
} } }
"""
BY_IDS = """
query($ids: [ID!]!) { conversationsByIds(ids: $ids) {
  id contact { displayName } lastMessage { text } messages(first: 2) { nodes { text } }
} }
"""
CONTACT = "query($id: ID, $phone: String) { contact(id: $id, phone: $phone) { id displayName } }"
FILTER = (
    "query($w: ID!, $p: String) { messages(workspaceId: $w, senderPhone: $p) { nodes { id } } }"
)


def get(cast: Cast | str, path: str = CONVERSATIONS, **query: object) -> tuple[int, dict]:
    """Ask the REST door."""
    words = "&".join(f"{name}={value}" for name, value in query.items())
    return ask(cast, f"{path}?{words}", method="get")


def ids_of(nodes: list[dict]) -> list[str]:
    return [node["id"] for node in nodes]


def merge(loser: Conversation, winner: Conversation) -> None:
    """Make two people one, as merging leaves it."""
    Contact.objects.filter(pk=loser.contact_id).update(merged_into=winner.contact_id)
    Conversation.objects.filter(pk=loser.pk).update(merged_into=winner.pk)


def second_number(cast: Cast) -> Cast:
    """Return the cast with another number."""
    workspace = provisioning.create_workspace(
        tenant_id=cast.tenant.id, name="second", external_id="300000000000003"
    )
    return Cast(cast.tenant, workspace, cast.app_secret, cast.verify_token, cast.api_key)


def knows(cast: Cast, phone: str = "27821234567", name: str = "Ann") -> Contact:
    """Let a cast know somebody by a number."""
    known = Contact.objects.create(tenant_id=cast.tenant.id, display_name=name)
    ContactIdentity.objects.create(
        tenant_id=cast.tenant.id,
        digest=digester(cast.tenant.id).phone(phone),
        kind="PHONE",
        contact=known,
    )
    return known


def test_a_message_names_its_conversation(gql: Gql, acme: Cast, globex: Cast) -> None:
    ann, bob, foreign = talk(acme, "Ann", 3), talk(acme, "Bob", 2), talk(globex, "Gil")
    (said_to_others,) = write(acme, 1, contact_id=ann.contact_id, group_id="ab" * 32)
    (by_nobody,) = write(acme, 1)
    begins_none = Contact.objects.create(tenant_id=acme.tenant.id)
    (reported,) = write(acme, 1, contact=begins_none, type="system")

    nodes = gql(acme, LIST, w=str(acme.workspace.id)).data["messages"]["nodes"]

    shown = {node["id"]: node["conversation"] for node in nodes}
    assert [shown[str(one.id)] for one in (said_to_others, by_nobody, reported)] == [None] * 3
    for conversation in (ann, bob):
        for message in Message.objects.filter(contact=conversation.contact_id, group_id=None):
            found = shown[str(message.id)]
            assert found["id"] == str(conversation.id)
            assert found["contact"]["id"] == str(conversation.contact_id)
            assert found["lastMessage"]["id"] == str(conversation.last_message_id)
            assert found["messages"]["nodes"] == [found["lastMessage"]]
    assert str(foreign.id) not in json.dumps(nodes)


def test_a_page_loads_its_conversations_in_one_statement(
    gql: Gql, acme: Cast, django_assert_num_queries
) -> None:
    short = "query($w: ID!) { messages(workspaceId: $w, first: 100) { nodes { id %s } } }"
    asks = {"w": str(acme.workspace.id)}
    talk(acme, "0")
    gql(acme, short % "", **asks)  # the key's last use is written
    with django_assert_num_queries(7) as before:
        gql(acme, short % "", **asks)
    for number in range(1, 20):
        talk(acme, f"{number}", 2)
    with django_assert_num_queries(len(before) + 1):
        nodes = gql(acme, short % "conversation { id }", **asks).data["messages"]["nodes"]

    assert len({node["conversation"]["id"] for node in nodes}) == 20


def test_a_message_of_before_a_merge_names_the_conversation_it_is_now(
    gql: Gql, acme: Cast, globex: Cast
) -> None:
    loser, winner = talk(acme, "Ann"), talk(acme, "Anna", 2)
    talk(globex, "Gil")
    merge(loser, winner)

    nodes = gql(acme, LIST, w=str(acme.workspace.id)).data["messages"]["nodes"]
    status, found = get(acme, f"/api/v1/messages/{loser.last_message_id}")

    assert {node["conversation"]["id"] for node in nodes} == {str(winner.id)}
    assert (status, found["conversation_id"]) == (200, str(winner.id))


def test_conversations_are_read_by_ids_in_the_order_asked(
    gql: Gql, acme: Cast, globex: Cast
) -> None:
    ann, bob, foreign = talk(acme, "Ann", 1), talk(acme, "Bob", 3), talk(globex, "Gil")
    elsewhere = talk(second_number(acme), "Cyd", 2)
    loser = talk(acme, "Anna")
    merge(loser, ann)
    asked = [str(one) for one in (ann.id, foreign.id, elsewhere.id, uuid4(), bob.id, ann.id)]
    asked.append(str(loser.id))

    found = gql(acme, BY_IDS, ids=asked).data["conversationsByIds"]
    status, page = get(acme, ids=",".join(asked))

    wanted = [str(one.id) for one in (ann, elsewhere, bob)]
    assert ids_of(found) == wanted
    assert [one["contact"]["displayName"] for one in found] == ["Ann", "Cyd", "Bob"]
    assert [len(one["messages"]["nodes"]) for one in found] == [2, 2, 2]
    assert (status, ids_of(page["nodes"])) == (200, wanted)
    assert page["page_info"] == {
        "has_next_page": False,
        "has_previous_page": False,
        "start_cursor": None,
        "end_cursor": None,
    }
    assert gql(globex, BY_IDS, ids=asked).data["conversationsByIds"][0]["id"] == str(foreign.id)
    assert gql(acme, BY_IDS, ids=[]).data == {"conversationsByIds": []}


def test_as_many_as_are_named_are_counted(gql: Gql, acme: Cast, globex: Cast) -> None:
    many = [str(uuid4()) for _ in range(101)]
    spelled = ", ".join(f'"{one}"' for one in many[:100])
    inside = "messages(first: 20) { nodes { text } }"
    literal = f"{{ conversationsByIds(ids: [{spelled}]) {{ {inside} }} }}"
    default = (
        f"query($ids: [ID!]! = [{spelled}]) {{ conversationsByIds(ids: $ids) {{ {inside} }} }}"
    )

    assert gql(acme, BY_IDS, ids=many[:100]).data == {"conversationsByIds": []}
    assert gql(acme, BY_IDS.replace("first: 2", "first: 20"), ids=many[:100]).codes == [
        "LIMIT_EXCEEDED"
    ]
    few = "query($ids: [ID!]!) { conversationsByIds(ids: $ids) { id } }"
    assert gql(acme, few, ids=many).codes == ["BAD_USER_INPUT"]
    assert gql(acme, few, ids=["nonsense"]).codes == ["BAD_USER_INPUT"]
    assert gql(acme, literal).codes == ["LIMIT_EXCEEDED"]
    assert gql(acme, default).codes == ["LIMIT_EXCEEDED"]
    assert get(acme, ids=",".join(many))[0] == 400
    reader = key_with(acme.tenant, Scope.WORKSPACES_READ)
    assert gql(reader, few, ids=many[:1]).codes == ["FORBIDDEN"]


def test_rest_reads_the_same_pages(gql: Gql, acme: Cast, globex: Cast) -> None:
    made = [talk(acme, f"{number}", 1 + 2 * number) for number in range(3)]
    talk(globex, "Gil")
    newest_first = [str(one.id) for one in reversed(made)]
    workspace = acme.workspace.id

    status, first = get(acme, workspace_id=workspace, first=2)
    after = first["page_info"]["end_cursor"]
    _, rest = get(acme, workspace_id=workspace, first=2, after=after)
    graphql = (
        "query($w: ID!, $a: String) { conversations(workspaceId: $w, after: $a) { nodes { id } } }"
    )

    assert (status, ids_of(first["nodes"])) == (200, newest_first[:2])
    assert ids_of(rest["nodes"]) == newest_first[2:]
    assert first["page_info"]["has_next_page"] and not rest["page_info"]["has_next_page"]
    assert not first["page_info"]["has_previous_page"] and rest["page_info"]["has_previous_page"]
    assert gql(acme, graphql, w=str(workspace), a=after).data["conversations"]["nodes"] == [
        {"id": newest_first[2]}
    ]
    (node,) = rest["nodes"]
    assert node["contact"]["display_name"] == "0" and node["unread_count"] == 1
    assert node["last_message"]["conversation_id"] == node["id"]
    assert node["last_message"]["text"] == "0"
    assert node["last_message_at"] == START.isoformat().replace("+00:00", "Z")
    assert node["window_open_until"] is None
    assert get(acme, f"{CONVERSATIONS}/{node['id']}") == (200, node)
    Conversation.objects.filter(pk=made[0].pk).update(unread_count=0)
    unread = get(acme, workspace_id=workspace, unread_only="true")[1]
    assert ids_of(unread["nodes"]) == newest_first[:2]


def test_rest_shows_nothing_of_another_tenant(acme: Cast, globex: Cast) -> None:
    ann = talk(acme, "Ann")
    workspace = acme.workspace.id

    for path, query in (
        (f"{CONVERSATIONS}/{ann.id}", {}),
        (f"{CONVERSATIONS}/{uuid4()}", {}),
        (CONVERSATIONS, {"workspace_id": workspace}),
    ):
        status, answer = get(globex, path, **query)
        assert (status, answer["error"]["code"]) == (404, "NOT_FOUND")
    assert get(globex, ids=ann.id)[1]["nodes"] == []
    assert get(globex, workspace_id=globex.workspace.id)[1]["nodes"] == []


def test_rest_needs_permission_to_read_conversations(acme: Cast, globex: Cast) -> None:
    ann = talk(acme, "Ann")
    sender = key_with(acme.tenant, Scope.MESSAGES_SEND)
    assert get(sender, f"{CONVERSATIONS}/{ann.id}")[0] == 403
    assert get(sender, workspace_id=acme.workspace.id)[0] == 403


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"workspace_id": "nonsense"},
        {"workspace_id": "{w}", "ids": "{w}"},
        {"ids": "{w}", "first": 1},
        {"ids": "nonsense"},
        {"workspace_id": "{w}", "first": -1},
        {"workspace_id": "{w}", "first": 101},
        {"workspace_id": "{w}", "first": "9" * 5000},
        {"workspace_id": "{w}", "first": "²"},
        {"workspace_id": "{w}", "after": "nonsense"},
        {"workspace_id": "{w}", "unread_only": "perhaps"},
        {"workspace_id": "{w}", "colour": "red"},
    ],
)
def test_rest_refuses_a_page_that_is_none(acme: Cast, globex: Cast, query: dict) -> None:
    given = {name: str(value).format(w=acme.workspace.id) for name, value in query.items()}

    status, answer = get(acme, **given)

    assert (status, answer["error"]["code"]) == (400, "INVALID_INPUT")


@pytest.mark.parametrize("phone", ["+5531988813001", "+55 31 8881-3001"])
def test_a_number_leads_to_its_contact(gql: Gql, acme: Cast, globex: Cast, phone: str) -> None:
    mine, theirs = knows(acme, "5531988813001"), knows(globex, "553188813001", "Gil")
    teller = key_with(acme.tenant, Scope.CONTACTS_LOOKUP)

    for key, contact in ((teller, mine), (globex, theirs)):
        name = contact.display_name
        wanted = {"id": str(contact.id), "displayName": name}
        assert gql(key, CONTACT, phone=phone).data == {"contact": wanted}
        status, answer = ask(key, LOOKUP, {"phone": phone})
        assert (status, answer["contact"]["id"]) == (200, str(contact.id))
        assert answer["contact"]["display_name"] == name
        assert "8881" not in json.dumps(answer)
    assert gql(teller, CONTACT, phone=NOBODYS).data == {"contact": None}
    assert ask(teller, LOOKUP, {"phone": NOBODYS}) == (200, {"contact": None})
    assert Contact.objects.count() == 2


def test_a_contact_is_read_by_its_id(gql: Gql, acme: Cast, globex: Cast) -> None:
    ann = knows(acme)
    reader = key_with(acme.tenant, Scope.MESSAGES_READ)

    wanted = {"id": str(ann.id), "displayName": "Ann"}
    assert gql(reader, CONTACT, id=str(ann.id)).data == {"contact": wanted}
    assert gql(globex, CONTACT, id=str(ann.id)).data == {"contact": None}
    teller = key_with(acme.tenant, Scope.CONTACTS_LOOKUP)
    assert gql(teller, CONTACT, id=str(ann.id)).codes == ["FORBIDDEN"]
    for given in ({}, {"id": str(ann.id), "phone": PHONE}, {"id": "x"}, {"phone": "082 1234567"}):
        assert gql(acme, CONTACT, **given).codes == ["BAD_USER_INPUT"]


def test_who_has_a_number_is_told_for_a_scope_of_its_own(
    gql: Gql, acme: Cast, globex: Cast
) -> None:
    knows(acme)
    others = key_with(acme.tenant, *(set(Scope) - {Scope.CONTACTS_LOOKUP}))
    workspace = str(acme.workspace.id)

    assert gql(others, CONTACT, phone=PHONE).codes == ["FORBIDDEN"]
    assert gql(others, FILTER, w=workspace, p=PHONE).codes == ["FORBIDDEN"]
    assert ask(others, LOOKUP, {"phone": PHONE})[0] == 403
    lister = key_with(acme.tenant, Scope.MESSAGES_READ, Scope.CONTACTS_LOOKUP)
    assert gql(lister, FILTER, w=workspace, p=PHONE).data == {"messages": {"nodes": []}}
    body = {"query": CONTACT, "variables": {"phone": PHONE}}
    for role, is_told in ((Role.VIEWER, False), (Role.MANAGER, True)):
        answer = member(acme.tenant, role).post("/graphql", body, "application/json").json()
        assert ("errors" not in answer) is is_told


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({}, 400, "INVALID_INPUT", "phone"),
        ({"phone": 7}, 400, "INVALID_INPUT", "phone"),
        ({"phone": PHONE, "colour": "red"}, 400, "INVALID_INPUT", "colour"),
        ([], 400, "INVALID_INPUT", None),
        ({"phone": "082 123 9876"}, 422, "INVALID_PHONE", "phone"),
        ({"phone": "+2782\0"}, 422, "INVALID_PHONE", "phone"),
    ],
)
def test_what_is_no_number_is_refused_and_not_counted(
    acme: Cast, globex: Cast, settings, body: object, status: int, code: str, field: str | None
) -> None:
    settings.SIGMA_LOOKUP_RATE = 1

    for _ in range(2):
        answered, answer = ask(acme, LOOKUP, body)
        assert (answered, answer["error"]["code"]) == (status, code)
        assert answer["error"]["field"] == field
    assert "9876" not in json.dumps(answer)
    assert ask(acme, LOOKUP, {"phone": PHONE})[0] == 200


def test_a_key_may_ask_so_often_by_every_door_together(
    gql: Gql, acme: Cast, globex: Cast, settings
) -> None:
    settings.SIGMA_LOOKUP_RATE = 4
    twice = f'{{ a: contact(phone: "{PHONE}") {{ id }} b: contact(phone: "{NOBODYS}") {{ id }} }}'
    workspace = str(acme.workspace.id)

    assert gql(acme, twice).data == {"a": None, "b": None}
    assert gql(acme, FILTER, w=workspace, p=PHONE).data
    assert ask(acme, LOOKUP, {"phone": PHONE})[0] == 200

    answer = gql(acme, twice)
    assert answer.status == 200 and answer.body["data"] == {"a": None, "b": None}
    assert answer.codes == ["RATE_LIMITED"] * 2
    assert 0 < answer.body["errors"][0]["extensions"]["retryAfter"] <= 16
    assert gql(acme, FILTER, w=workspace, p=PHONE).codes == ["RATE_LIMITED"]
    refused = Client().post(
        LOOKUP, {"phone": PHONE}, "application/json", headers={"X-API-Key": acme.api_key}
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert refused.json()["error"]["retryable"] is True
    assert 0 < int(refused["Retry-After"]) <= 16
    assert gql(acme, LIST, w=workspace).data  # what names no number goes on
    other = key_with(acme.tenant, Scope.CONTACTS_LOOKUP)
    for key in (globex, other):
        assert ask(key, LOOKUP, {"phone": PHONE})[0] == 200


def test_a_document_that_fails_takes_back_no_count(
    gql: Gql, acme: Cast, globex: Cast, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SIGMA_LOOKUP_RATE = 1
    monkeypatch.setattr("messaging.queries.MOST_COUNTED", 0)
    write(acme, 2)
    document = """query($w: ID!, $p: String) {
      contact(phone: $p) { id } messages(workspaceId: $w) { totalCount } }"""
    asks = {"w": str(acme.workspace.id), "p": PHONE}

    assert gql(acme, document, **asks).codes == ["LIMIT_EXCEEDED"]
    assert "RATE_LIMITED" in gql(acme, document, **asks).codes


def test_nothing_is_told_while_the_rate_cannot_be_counted(
    gql: Gql, acme: Cast, globex: Cast, no_broker: None
) -> None:
    knows(acme)

    status, answer = ask(acme, LOOKUP, {"phone": PHONE})

    assert (status, answer["error"]["code"]) == (503, "UNAVAILABLE")
    assert gql(acme, CONTACT, phone=PHONE).codes == ["UNAVAILABLE"]
    assert gql(acme, CONTACT, id=str(uuid4())).data == {"contact": None}


def test_rest_knows_who_is_signed_in(acme: Cast, globex: Cast) -> None:
    ann = talk(acme, "Ann")
    talk(globex, "Gil")
    viewer, manager = member(acme.tenant, Role.VIEWER), member(acme.tenant)
    careful = Client(enforce_csrf_checks=True)
    careful.cookies = manager.cookies

    found = viewer.get(f"{CONVERSATIONS}?workspace_id={acme.workspace.id}").json()
    told = manager.post(LOOKUP, {"phone": PHONE}, "application/json")
    forged = careful.post(LOOKUP, {"phone": PHONE}, "application/json")

    assert ids_of(found["nodes"]) == [str(ann.id)]
    assert (told.status_code, told.json()) == (200, {"contact": None})
    assert (forged.status_code, forged.json()["error"]["code"]) == (403, "FORBIDDEN")
    assert viewer.post(LOOKUP, {"phone": PHONE}, "application/json").status_code == 403
    assert Client().get(f"{CONVERSATIONS}/{ann.id}").status_code == 401


def test_a_contact_is_read_by_its_id_over_rest(acme: Cast, globex: Cast) -> None:
    ann, gil, anna = knows(acme), knows(globex, name="Gil"), talk(acme, "Anna")
    merge(anna, talk(acme, "Cyd"))
    OptOut.objects.create(tenant_id=acme.tenant.id, contact_id=ann.id, source="API", said_at=START)

    status, found = get(acme, f"/api/v1/contacts/{ann.id}")

    assert (status, found["display_name"], found["opted_out"]) == (200, "Ann", True)
    assert get(acme, f"/api/v1/contacts/{anna.contact_id}")[1]["display_name"] == "Cyd"
    for foreign in (gil.id, uuid4()):
        status, refused = get(acme, f"/api/v1/contacts/{foreign}")
        assert (status, refused["error"]["code"]) == (404, "NOT_FOUND")
    assert get(key_with(acme.tenant, Scope.MESSAGES_SEND), f"/api/v1/contacts/{ann.id}")[0] == 403
