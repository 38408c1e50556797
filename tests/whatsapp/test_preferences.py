"""What users told WhatsApp about marketing."""

from __future__ import annotations

import pytest

from messaging.events import MarketingPreference, Person, Unhandled
from tests.whatsapp.reading import (
    NUMBER,
    RECEIVED_AT,
    SENT_AT,
    THANDI,
    THANDI_ID,
    only,
    read,
    tree,
    value_of,
)  # fmt: skip

THANDI_IS = Person(phone=THANDI, user_id=THANDI_ID, name="Thandi Mokoena")


def told(*, contacts: bool = True, **changes: object) -> object:
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
    assert told(value=word) == MarketingPreference(NUMBER, THANDI_IS, True, SENT_AT)


def test_it_needs_no_phone_number_and_no_time() -> None:
    found = told(contacts=False, wa_id=None, timestamp="soon")
    assert found == MarketingPreference(NUMBER, Person(user_id=THANDI_ID), False, RECEIVED_AT)


def test_it_knows_who_says_so_by_the_contacts_beside() -> None:
    assert told(wa_id=None) == MarketingPreference(NUMBER, THANDI_IS, False, SENT_AT)


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
    assert told(**changes) == Unhandled("user_preferences", kind)
