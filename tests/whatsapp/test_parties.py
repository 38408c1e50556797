"""Who talks to whom, and what callbacks say of people: preferences and the address book."""

from __future__ import annotations

from typing import Any

import pytest

from messaging.events import (
    AddressBookName,
    Direction,
    MarketingPreference,
    Person,
    Private,
    Source,
    Unhandled,
)
from tests.whatsapp.reading import (
    BUSINESS,
    NUMBER,
    RECEIVED_AT,
    SENT_AT,
    SIPHO,
    SIPHO_ID,
    THANDI,
    THANDI_ID,
    events,
    only,
    read,
    tree,
    value_of,
)

NUMBERED = Person(THANDI, THANDI_ID, None, Private("Thandi 000 000 101"))
NALEDI = {"profile": {"name": "Naledi"}}


@pytest.mark.parametrize(
    ("name", "person"),
    [
        ("text_without_contacts", Person(THANDI, THANDI_ID)),
        ("text_without_profile", Person(THANDI, THANDI_ID)),
        ("text_name_is_a_number", NUMBERED),
        ("text_from_is_empty", Person(None, THANDI_ID, None, "Naledi")),
        ("text_from_is_a_bsuid", Person(None, THANDI_ID, None, "Naledi")),
        (
            "text_with_another_wa_id",
            Person("5511900000101", None, None, "Beatriz", other_phone="551100000101"),
        ),
        ("contacts_shared_on_request", Person(None, THANDI_ID)),
        (
            "text_without_phone",
            Person(None, THANDI_ID, "ZA.ENT.506847293015824", "Naledi", "naledi.k"),
        ),
    ],
)
def test_it_finds_out_who_wrote(name: str, person: Person) -> None:
    message = only(name)
    assert message.sender == message.contact == person


def test_it_gives_each_message_its_own_contact() -> None:
    messages = events("batch_of_two_entries")[:2]
    people = [(message.text, message.contact.name) for message in messages]
    assert people == [("From Thandi", "Thandi Mokoena"), ("From Sipho", "Sipho Dube")]


def senders(contacts: list[Any], *messages: dict[str, Any]) -> list[Person]:
    body = tree("text_without_contacts")
    value = value_of(body)
    value["contacts"] = contacts
    value["messages"] = [{"id": "wamid.A", "type": "text", **message} for message in messages]
    return [update.events[0].contact for update in read(body)]


def test_it_never_gives_a_message_the_contact_of_somebody_else() -> None:
    contacts = [{**NALEDI, "wa_id": SIPHO}]
    assert senders(contacts, {"from": THANDI}) == [Person(THANDI)]
    contacts = [{**NALEDI, "user_id": SIPHO_ID}]
    assert senders(contacts, {"from_user_id": THANDI_ID}) == [Person(None, THANDI_ID)]


def test_it_matches_by_number_before_bsuid_before_position() -> None:
    contacts = [{**NALEDI, "user_id": THANDI_ID}, {"wa_id": THANDI, "profile": {"name": "T"}}]
    found = senders(contacts, {"from": THANDI, "from_user_id": THANDI_ID})
    assert found == [Person(THANDI, THANDI_ID, None, "T")]


def test_it_matches_by_position_only_if_there_is_a_contact_for_each() -> None:
    contacts = [{**NALEDI, "user_id": THANDI_ID}]
    assert senders(contacts, {}) == [Person(None, THANDI_ID, None, "Naledi")]
    assert senders(contacts, {}, {"from": SIPHO}) == [Person(), Person(SIPHO)]


@pytest.mark.parametrize("name", ["text", "image", "reaction", "order"])
def test_it_reads_a_number_in_any_notation(name: str) -> None:
    body = tree(name)
    value_of(body)["messages"][0]["from"] = "+27 000 000-101"
    assert read(body)[0].events[0].contact.phone == THANDI


@pytest.mark.parametrize(
    ("name", "contact"),
    [
        ("echo_text", Person(THANDI, THANDI_ID, None, "Thandi Mokoena")),
        ("echo_to_a_username_user", Person(None, THANDI_ID)),
        ("echo_revoke", Person(THANDI)),
        ("echo_of_another_app", Person(THANDI)),
    ],
)
def test_it_reads_what_the_business_wrote_elsewhere(name: str, contact: Person) -> None:
    echo = only(name)
    assert (echo.direction, echo.source) == (Direction.OUTBOUND, Source.ECHO)
    assert (echo.sender, echo.contact) == (Person(BUSINESS), contact)


def test_it_reads_both_sides_of_an_imported_chat() -> None:
    thandi, sipho = Person(THANDI), Person(None, SIPHO_ID, username="sipho.d")
    named = Person(THANDI, THANDI_ID)
    found = [(m.direction, m.contact, m.type, m.status) for m in events("history_threads")]
    assert found == [
        (Direction.INBOUND, named, "text", "read"),
        (Direction.OUTBOUND, thandi, "text", "delivered"),
        (Direction.INBOUND, sipho, "media_placeholder", "sent"),
        (Direction.OUTBOUND, sipho, "text", "error"),
    ]
    assert {message.source for message in events("history_threads")} == {Source.HISTORY}


def test_it_reads_the_media_that_follow_an_import() -> None:
    photo, menu = events("history_media_follow_up")
    assert (photo.direction, photo.source) == (Direction.INBOUND, Source.HISTORY)
    assert photo.contact.name == "Thandi Mokoena"
    assert (menu.direction, menu.source) == (Direction.OUTBOUND, Source.HISTORY)
    assert (menu.sender, menu.contact) == (Person(BUSINESS), Person(THANDI))


def test_it_knows_a_historic_message_of_the_business_without_recipient() -> None:
    body = tree("history_threads")
    message = value_of(body)["history"][0]["threads"][0]["messages"][1]
    message["from"], message["to"] = "+1 555-010-0001", None
    event = read(body)[1].events[0]
    assert (event.direction, event.contact) == (Direction.OUTBOUND, Person(THANDI))


def test_it_takes_a_parent_bsuid_in_the_place_of_a_number_for_what_it_is() -> None:
    assert senders([], {"from": "ZA.ENT.506847293015824"}) == [
        Person(None, None, "ZA.ENT.506847293015824")
    ]


@pytest.mark.parametrize("key", ["", "PN", "abc", "12", "9" * 30, True, [], None])
def test_it_takes_nothing_else_for_a_person(key: object) -> None:
    assert senders([], {"from": key}) == [Person()]


THANDI_IS = Person(phone=THANDI, user_id=THANDI_ID, name="Thandi Mokoena")


def preferences(*, contacts: bool = True, **changes: object) -> object:
    """Return the event of the recorded preference with some keys changed."""
    body = tree("user_preferences")
    if not contacts:
        del value_of(body)["contacts"]
    value_of(body)["user_preferences"][0].update(changes)
    ((event,),) = (update.events for update in read(body))
    return event


def test_it_reads_who_wants_no_marketing() -> None:
    assert only("user_preferences") == MarketingPreference(NUMBER, THANDI_IS, False, SENT_AT)


@pytest.mark.parametrize("word", ["resume", "signup"])
def test_it_reads_who_wants_it_again(word: str) -> None:
    assert preferences(value=word) == MarketingPreference(NUMBER, THANDI_IS, True, SENT_AT)


def test_it_needs_no_phone_number_and_no_time() -> None:
    found = preferences(contacts=False, wa_id=None, timestamp="soon")
    assert found == MarketingPreference(NUMBER, Person(user_id=THANDI_ID), False, RECEIVED_AT)


def test_it_knows_who_says_so_by_the_contacts_beside() -> None:
    assert preferences(wa_id=None) == MarketingPreference(NUMBER, THANDI_IS, False, SENT_AT)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"value": "pause"}, "pause"),
        ({"value": ["stop"]}, "user_preferences"),
        ({"category": "utility_messages"}, "stop"),
        ({"category": ["marketing_messages"]}, "stop"),
        ({"wa_id": None, "user_id": None}, "stop"),
    ],
)
def test_it_counts_what_it_cannot_apply(changes: dict, kind: str) -> None:
    assert preferences(**changes) == Unhandled("user_preferences", kind)


def book(**changes: object) -> object:
    """Return the event of the recorded entry with some keys of its contact changed."""
    body = tree("state_sync")
    entry = value_of(body)["state_sync"][0]
    entry["contact"].update(changes)
    del entry["metadata"]
    value_of(body)["state_sync"] = [entry]
    ((event,),) = (update.events for update in read(body))
    return event


def test_it_reads_who_is_in_the_address_book_and_who_no_longer() -> None:
    assert events("state_sync") == [
        AddressBookName(NUMBER, Person(phone=THANDI), "Thandi Mokoena", SENT_AT),
        AddressBookName(NUMBER, Person(phone=SIPHO), "", SENT_AT),
    ]


def test_it_takes_the_first_name_for_want_of_another_and_needs_no_phone_number() -> None:
    found = book(full_name=None, first_name="Thandi", phone_number=None, user_id=THANDI_ID)
    person = Person(user_id=THANDI_ID)
    assert found == AddressBookName(NUMBER, person, "Thandi", RECEIVED_AT)


@pytest.mark.parametrize("changes", [{"full_name": " "}, {"phone_number": None}])
def test_it_counts_entries_of_no_use(changes: dict[str, object]) -> None:
    assert book(**changes) == Unhandled("smb_app_state_sync", "add")
