"""Opt people out and in, and choose the words they do it with."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lib import cursors
from lib.ids import uuid7
from messaging import optouts
from messaging.models import Contact, ContactIdentity, OptOut, SendingPolicy
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with
from workspaces.access import Scope
from workspaces.identity import digester

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

CHANGE = """
mutation Change($input: PersonInput!) {
  change: %s(input: $input) {
    success contact { id displayName optedOut } errors { code field message }
  }
}
"""
OUT, IN = CHANGE % "optOutContact", CHANGE % "optInContact"
WORDS = """
mutation Words($input: SetStopWordsInput!) {
  setStopWords(input: $input) { success words { stop start } errors { code field } }
}
"""
LIST = """
query List($first: Int, $after: String) {
  optOuts(first: $first, after: $after) {
    nodes { contactId source saidAt contact { displayName optedOut } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""


@pytest.fixture
def ann(acme: Cast) -> Contact:
    """A person acme knows."""
    found = Contact.objects.create(tenant_id=acme.tenant.id, display_name="Ann")
    digest = digester(acme.tenant.id).phone("5511987654321")
    ContactIdentity.objects.create(
        tenant_id=acme.tenant.id, digest=digest, kind="PHONE", contact=found
    )
    return found


def test_it_opts_a_person_out_and_in(gql: Gql, acme: Cast, ann: Contact) -> None:
    for document, is_out in ((OUT, True), (OUT, True), (IN, False), (IN, False)):
        done = gql(acme, document, input={"contactId": str(ann.id)}).data["change"]
        shown = {"id": str(ann.id), "displayName": "Ann", "optedOut": is_out}
        assert done == {"success": True, "contact": shown, "errors": []}


@pytest.mark.parametrize("phone", ["+5511987654321", "+55 11 8765-4321"])
def test_it_finds_a_person_by_either_way_to_write_his_number(
    gql: Gql, acme: Cast, ann: Contact, phone: str
) -> None:
    done = gql(acme, OUT, input={"phone": phone}).data["change"]

    assert done["contact"]["id"] == str(ann.id)


def test_it_opts_a_number_out_before_anybody_wrote(gql: Gql, acme: Cast) -> None:
    done = gql(acme, OUT, input={"phone": "+15550123456"}).data["change"]

    (contact,) = Contact.objects.all()
    assert done["contact"]["id"] == str(contact.id)
    assert optouts.opted_out(tenant_id=acme.tenant.id, contact_ids=[contact.id])


def test_it_makes_nobody_to_opt_him_in(gql: Gql, acme: Cast) -> None:
    done = gql(acme, IN, input={"phone": "+15550123456"}).data["change"]

    assert (done["success"], done["errors"][0]["code"]) == (False, "CONTACT_NOT_FOUND")
    assert not Contact.objects.exists()


@pytest.mark.parametrize(
    ("person", "code", "field"),
    [
        ({}, "INVALID_INPUT", "contactId"),
        ({"contactId": str(uuid7()), "phone": "+15550123456"}, "INVALID_INPUT", "contactId"),
        ({"contactId": str(uuid7())}, "CONTACT_NOT_FOUND", "contactId"),
        ({"phone": "0711558396"}, "INVALID_PHONE", "phone"),
    ],
)
def test_it_says_what_is_wrong(gql: Gql, acme: Cast, person: dict, code: str, field: str) -> None:
    (error,) = gql(acme, OUT, input=person).data["change"]["errors"]

    assert (error["code"], error["field"]) == (code, field)
    assert "0711558396" not in error["message"]


def test_it_knows_nobody_of_another_tenant(gql: Gql, globex: Cast, ann: Contact) -> None:
    done = gql(globex, OUT, input={"contactId": str(ann.id)}).data["change"]

    assert done["errors"][0]["code"] == "CONTACT_NOT_FOUND"
    assert not OptOut.objects.exists()


def test_it_lists_those_who_are_out(gql: Gql, acme: Cast, globex: Cast, ann: Contact) -> None:
    for number in range(4):
        gql(acme, OUT, input={"phone": f"+1555012340{number}"})
        gql(globex, OUT, input={"phone": f"+1555012340{number}"})
    gql(acme, OUT, input={"contactId": str(ann.id)})
    gql(acme, IN, input={"phone": "+15550123400"})

    seen, after = [], None
    for more in (True, False):
        page = gql(acme, LIST, first=2, after=after).data["optOuts"]
        seen += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        assert page["pageInfo"]["hasNextPage"] is more

    assert len({node["contactId"] for node in seen}) == 4
    assert seen[0]["contact"] == {"displayName": "Ann", "optedOut": True}
    assert {node["source"] for node in seen} == {"API"}


def test_it_tells_nobody_how_many_others_have(gql: Gql, acme: Cast, ann: Contact) -> None:
    gql(acme, OUT, input={"contactId": str(ann.id)})
    place = gql(acme, LIST, first=1).data["optOuts"]["pageInfo"]["endCursor"]
    assert cursors.decode(place).id == ann.id


def test_it_lists_people_of_one_moment_once_each(gql: Gql, acme: Cast) -> None:
    for number in range(5):
        gql(acme, OUT, input={"phone": f"+1555012340{number}"})
    OptOut.objects.update(said_at=datetime(2026, 1, 1, tzinfo=UTC))

    seen, after = [], None
    for _ in range(3):
        page = gql(acme, LIST, first=2, after=after).data["optOuts"]
        seen += [node["contactId"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert len(seen) == len(set(seen)) == 5


def test_it_sets_the_words(gql: Gql, acme: Cast, globex: Cast) -> None:
    words = {"stopWords": ["Basta!", "NO MÁS"], "startWords": []}
    done = gql(acme, WORDS, input=words).data["setStopWords"]

    assert (done["success"], done["words"]["stop"]) == (True, ["basta", "no mas"])
    assert "unstop" in done["words"]["start"]
    ask = "{ stopWords { stop start } }"
    assert gql(acme, ask).data["stopWords"] == done["words"]
    assert "stop" in gql(globex, ask).data["stopWords"]["stop"]


@pytest.mark.parametrize(
    ("stop", "start", "code", "field"),
    [
        (["stop", "?!"], [], "INVALID_WORD", "stopWords.1"),
        (["x" * 41], [], "INVALID_WORD", "stopWords.0"),
        (["Halt"], ["halt!"], "INVALID_WORD", "startWords"),
        ([], [f"w{n}" for n in range(101)], "INVALID_INPUT", "startWords"),
    ],
)
def test_it_takes_no_words_that_are_none(gql: Gql, acme: Cast, stop, start, code, field) -> None:
    words = {"stopWords": stop, "startWords": start}
    done = gql(acme, WORDS, input=words).data["setStopWords"]

    assert done == {"success": False, "words": None, "errors": [{"code": code, "field": field}]}
    assert not SendingPolicy.objects.exists()


def test_it_needs_permission(gql: Gql, acme: Cast, ann: Contact) -> None:
    reader = key_with(acme.tenant, Scope.MESSAGES_READ, Scope.MESSAGES_SEND)
    sender = key_with(acme.tenant, Scope.SENDING_MANAGE)

    assert gql(reader, WORDS, input={"stopWords": [], "startWords": []}).codes == ["FORBIDDEN"]
    assert gql(sender, OUT, input={"contactId": str(ann.id)}).codes == ["FORBIDDEN"]
    assert gql(sender, LIST).codes == ["FORBIDDEN"]
