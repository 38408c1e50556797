"""Conversations of a number: newest first, each with its person, its last word and its window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import groupby

import pytest

from lib.cursors import Cursor
from messaging import conversations
from messaging.conversations import Touch
from messaging.models import Contact, Conversation
from messaging.optouts import opt_out
from tests.conftest import Cast
from tests.graphql.conftest import START, Gql, gql, key_with, write
from workspaces.access import Scope

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

LIST = """
query List($w: ID!, $first: Int, $after: String, $unread: Boolean) {
  conversations(workspaceId: $w, first: $first, after: $after, unreadOnly: $unread) {
    nodes { id unreadCount lastMessageAt windowOpenUntil contact { displayName optedOut }
            lastMessage { text direction } }
    edges { cursor node { id } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""
FULL = """
query Full($w: ID!, $first: Int) {
  conversations(workspaceId: $w, first: $first) {
    nodes {
      unreadCount contact { displayName optedOut }
      lastMessage { text contact { username } media { mimeType } statuses { status } }
      messages(first: 2) {
        nodes { text contact { displayName } workspace { name } media { mimeType } raw }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
}
"""
ONE = """
query One($id: ID!, $first: Int, $after: String) {
  conversation(id: $id) {
    contact { displayName }
    messages(first: $first, after: $after) {
      totalCount nodes { text } pageInfo { hasNextPage endCursor }
    }
  }
}
"""


def person(cast: Cast, name: str) -> Contact:
    return Contact.objects.create(tenant_id=cast.tenant.id, display_name=name)


def talk(cast: Cast, name: str, count: int = 1, **columns: object) -> Conversation:
    """Have a new person write so often, a second apart."""
    contact = person(cast, name)
    said = write(cast, count, contact=contact, **columns)
    conversations.touch(
        Touch(m.tenant_id, m.workspace_id, contact.id, m.id, m.timestamp_utc, True, True)
        for m in said
    )
    return Conversation.objects.get(contact_id=contact.id)


@pytest.fixture
def listed(gql: Gql, acme: Cast):
    """Ask for a page of acme's conversations."""

    def ask(**arguments: object) -> dict:
        return gql(acme, LIST, w=str(acme.workspace.id), **arguments).data["conversations"]

    return ask


def texts(conversation: dict) -> list[list[str]]:
    """Return what is said, in its order; what is said in one second stands together."""
    words = [node["text"] for node in conversation["messages"]["nodes"]]
    return [sorted(group) for _, group in groupby(words, lambda word: int(word) // 2)]


def names(page: dict) -> list[str]:
    return [node["contact"]["displayName"] for node in page["nodes"]]


def test_it_lists_the_newest_first(listed, acme: Cast) -> None:
    talk(acme, "Ann", 1)
    talk(acme, "Bob", 5)

    page = listed()

    assert names(page) == ["Bob", "Ann"]
    assert [node["unreadCount"] for node in page["nodes"]] == [5, 1]
    assert page["nodes"][0]["lastMessage"] == {"text": "4", "direction": "INBOUND"}
    assert page["nodes"][0]["lastMessageAt"] == (START + timedelta(seconds=2)).isoformat()


def test_it_walks_over_everything_once(listed, acme: Cast) -> None:
    for number in range(7):
        talk(acme, f"{number}", 1 + 2 * number)
    seen, after = [], None
    for more in (True, True, False):
        page = listed(first=3, after=after)
        seen += names(page)
        after = page["pageInfo"]["endCursor"]
        assert page["pageInfo"]["hasNextPage"] is more
        assert page["edges"][-1] == {"cursor": after, "node": {"id": page["nodes"][-1]["id"]}}

    assert seen == [f"{number}" for number in reversed(range(7))]
    assert page["pageInfo"]["hasPreviousPage"]


def test_it_lists_what_nobody_has_read(listed, acme: Cast, now: datetime) -> None:
    talk(acme, "Ann")
    bob = talk(acme, "Bob", 3)
    place = {"tenant_id": bob.tenant_id, "workspace_id": bob.workspace_id}
    conversations.mark_read(**place, contact_id=bob.contact_id, upto=Cursor(now, bob.id))

    assert names(listed(unread=True)) == ["Ann"]
    assert names(listed(unread=None)) == ["Bob", "Ann"]


@pytest.mark.parametrize(("hours", "is_open"), [(23, True), (25, False)])
def test_it_tells_how_long_the_window_is_open(
    listed, acme: Cast, hours: int, is_open: bool
) -> None:
    heard = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=hours)
    talk(acme, "Ann")
    Conversation.objects.update(last_inbound_at=heard)

    (found,) = listed()["nodes"]

    until = (heard + timedelta(hours=24)).isoformat()
    assert found["windowOpenUntil"] == (until if is_open else None)


def test_it_has_no_window_where_the_person_never_wrote(listed, acme: Cast) -> None:
    talk(acme, "Ann")
    Conversation.objects.update(last_inbound_at=None)

    assert listed()["nodes"][0]["windowOpenUntil"] is None


def test_it_tells_who_opted_out(listed, acme: Cast) -> None:
    ann = talk(acme, "Ann")
    talk(acme, "Bob", 3)
    opt_out(tenant_id=acme.tenant.id, contact_ids=[ann.contact_id], source="API")

    assert [node["contact"]["optedOut"] for node in listed()["nodes"]] == [False, True]


def test_it_shows_one_with_its_messages(gql: Gql, acme: Cast) -> None:
    ann = talk(acme, "Ann", 5)
    talk(acme, "Bob", 5)
    write(acme, 2, contact_id=ann.contact_id, group_id="ab" * 32)  # said to others

    found = gql(acme, ONE, id=str(ann.id), first=3).data["conversation"]
    assert found["contact"] == {"displayName": "Ann"}
    assert found["messages"]["totalCount"] == 5
    assert texts(found) == [["4"], ["2", "3"]]

    after = found["messages"]["pageInfo"]["endCursor"]
    rest = gql(acme, ONE, id=str(ann.id), first=3, after=after).data["conversation"]
    assert texts(rest) == [["0", "1"]]
    assert rest["messages"]["pageInfo"]["hasNextPage"] is False


def test_it_shows_the_messages_of_each(gql: Gql, acme: Cast) -> None:
    for name, count in (("Ann", 1), ("Bob", 3), ("Cyd", 4)):
        talk(acme, name, count)
    page = gql(acme, FULL, w=str(acme.workspace.id)).data["conversations"]["nodes"]

    said = {node["contact"]["displayName"]: texts(node) for node in page}
    assert (said["Ann"], said["Cyd"]) == ([["0"]], [["2", "3"]])
    assert said["Bob"][0] == ["2"]
    more = {n["contact"]["displayName"]: n["messages"]["pageInfo"]["hasNextPage"] for n in page}
    assert more == {"Ann": False, "Bob": True, "Cyd": True}


def test_it_costs_the_same_for_many(gql: Gql, acme: Cast, django_assert_max_num_queries) -> None:
    for number in range(12):
        talk(acme, f"{number}", 3)
    with django_assert_max_num_queries(24):
        page = gql(acme, FULL, w=str(acme.workspace.id), first=12).data["conversations"]
    assert len(page["nodes"]) == 12


def test_it_keeps_another_tenants_conversations_to_itself(
    gql: Gql, acme: Cast, globex: Cast
) -> None:
    ann = talk(acme, "Ann")

    assert gql(globex, ONE, id=str(ann.id)).data == {"conversation": None}
    assert gql(globex, LIST, w=str(acme.workspace.id)).codes == ["NOT_FOUND"]
    assert gql(globex, LIST, w=str(globex.workspace.id)).data["conversations"]["nodes"] == []


def test_it_needs_permission(gql: Gql, acme: Cast) -> None:
    key = key_with(acme.tenant, Scope.WORKSPACES_READ)
    assert gql(key, LIST, w=str(acme.workspace.id)).codes == ["FORBIDDEN"]
    assert gql(key, ONE, id=str(acme.workspace.id)).codes == ["FORBIDDEN"]


@pytest.mark.parametrize("arguments", [{"first": -1}, {"first": 101}, {"after": "nonsense"}])
def test_it_refuses_a_page_that_is_none(gql: Gql, acme: Cast, arguments: dict) -> None:
    assert gql(acme, LIST, w=str(acme.workspace.id), **arguments).codes == ["BAD_USER_INPUT"]


def test_it_counts_pages_of_pages(gql: Gql, acme: Cast) -> None:
    document = """query($w: ID!) { conversations(workspaceId: $w, first: 100) {
      nodes { messages(first: 100) { nodes { text } } } } }"""
    assert gql(acme, document, w=str(acme.workspace.id)).codes == ["LIMIT_EXCEEDED"]
