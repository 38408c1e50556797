"""The names in a business's own address book."""

from __future__ import annotations

import pytest

from messaging.events import AddressBookName, Person, Unhandled
from tests.whatsapp.reading import (
    NUMBER,
    RECEIVED_AT,
    SENT_AT,
    SIPHO,
    THANDI,
    THANDI_ID,
    events,
    read,
    tree,
    value_of,
)  # fmt: skip


def told(**changes: object) -> object:
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
    found = told(full_name=None, first_name="Thandi", phone_number=None, user_id=THANDI_ID)
    person = Person(user_id=THANDI_ID)
    assert found == AddressBookName(NUMBER, person, "Thandi", RECEIVED_AT)


@pytest.mark.parametrize("changes", [{"full_name": " "}, {"phone_number": None}])
def test_it_counts_entries_of_no_use(changes: dict[str, object]) -> None:
    assert told(**changes) == Unhandled("smb_app_state_sync", "add")
