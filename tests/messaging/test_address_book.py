"""What a business calls people in its own address book, and when that is their name."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection

from messaging.models import Contact
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql
from tests.messaging.test_merging import BSUID, NOW, PHONE, says, take_in
from tests.whatsapp.deliveries import text

__all__ = ("gql",)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_wake_ups")]

NAMES = """query($w: ID!) { conversations(workspaceId: $w) { nodes { contact { displayName }
    messages { nodes { sender { displayName } } } } } }"""


def keeps(cast: Cast, name: str, *, action: str = "add", ago: int = 0, **who: str) -> None:
    """Have the business's phone tell of an entry of its address book."""
    person = who or {"phone_number": f"+{PHONE}"}
    entry = {
        "type": "contact",
        "contact": {**person, **({"full_name": name} if name else {})},
        "action": action,
        "metadata": {"timestamp": str(NOW - ago)},
    }
    take_in(cast, field="smb_app_state_sync", state_sync=[entry])


def introduces(cast: Cast, name: str) -> None:
    """Have the person write, with a profile name."""
    contact = {"wa_id": PHONE, "profile": {"name": name}}
    message = {**text(f"wamid.{uuid.uuid4()}", "Hello", at=NOW), "from": PHONE}
    take_in(cast, messages=[message], contacts=[contact])


def names(cast: Cast, gql: Gql) -> set[str]:
    """Return what the people of the cast's conversations are called, as contacts and senders."""
    nodes = gql(cast, NAMES, w=str(cast.workspace.id)).data["conversations"]["nodes"]
    senders = {m["sender"]["displayName"] or "" for n in nodes for m in n["messages"]["nodes"]}
    assert senders == {node["contact"]["displayName"] for node in nodes}
    return senders


def test_who_told_no_name_is_called_as_in_the_address_book(
    acme: Cast, globex: Cast, gql: Gql
) -> None:
    says(acme, "Hello", phone=PHONE)
    says(globex, "Hello", phone=PHONE)

    keeps(acme, "Thandi from Durban")

    assert names(acme, gql) == {"Thandi from Durban"}
    assert names(globex, gql) == {""}


def test_the_address_book_may_come_before_the_first_message(acme: Cast, gql: Gql) -> None:
    keeps(acme, "Thandi", phone_number=PHONE, user_id=BSUID)
    says(acme, "Hello", from_user_id=BSUID)
    assert names(acme, gql) == {"Thandi"}


@pytest.mark.parametrize("first", ["the profile", "the address book"])
def test_a_profile_name_always_wins(acme: Cast, gql: Gql, first: str) -> None:
    if first == "the profile":
        introduces(acme, "Thandi M")
    keeps(acme, "Customer 7")
    introduces(acme, "Thandi M")
    assert names(acme, gql) == {"Thandi M"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([("Tandi", "add", 30), ("Thandi", "add", 20)], "Thandi"),
        ([("Tandi", "add", 30), ("Thandi", "edit", 20)], "Thandi"),
        ([("Thandi", "add", 20), ("Tandi", "add", 30)], "Thandi"),
        ([("Thandi", "add", 30), ("", "remove", 20)], ""),
        ([("Thandi", "add", 30), ("", "remove", 20), ("Thandi", "add", 30)], ""),
        ([("Thandi", "add", 30), ("", "add", 20), ("", "edit", 10), ("X", "blocked", 5)], "Thandi"),
    ],
    ids=["again", "edit", "late", "remove", "repeated", "of no use"],
)
def test_the_last_that_the_address_book_says_holds(
    acme: Cast, gql: Gql, changes: list[tuple[str, str, int]], expected: str
) -> None:
    says(acme, "Hello", phone=PHONE)
    for name, action, ago in changes:
        keeps(acme, name, action=action, ago=ago)
    assert names(acme, gql) == {expected}


def test_the_name_outlives_a_merge(acme: Cast, gql: Gql) -> None:
    says(acme, "Hello", phone=PHONE)
    says(acme, "Hello", from_user_id=BSUID)
    keeps(acme, "Thandi", user_id=BSUID)

    says(acme, "It is me", phone=PHONE, from_user_id=BSUID)

    assert names(acme, gql) == {"Thandi"}


def test_who_is_only_removed_becomes_no_contact(acme: Cast) -> None:
    keeps(acme, "", action="remove")
    assert not Contact.objects.exists()


def test_no_number_of_the_address_book_is_stored_readable(acme: Cast) -> None:
    keeps(acme, f"Thandi +{PHONE}")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c::text, i::text FROM contacts c JOIN contact_identities i "
            "ON i.contact_id = c.id"
        )
        rows = cursor.fetchall()
    assert rows
    assert PHONE not in str(rows)
