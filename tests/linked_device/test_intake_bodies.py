"""Whatever a device reports becomes exactly one update per message or receipt, with the same
content.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.linked_device.events import ChatMember, MessageArrived, ReceiptArrived
from connectors.linked_device.intake import body_of
from connectors.whatsapp.wire.isolation import Isolator
from connectors.whatsapp.wire.parsing import parse
from connectors.whatsapp.wire.updates import LINKED_DEVICE
from messaging.events import Direction, MessageEvent, Person, Source, StatusUpdate
from tests.linked_device.sends import ANNA, receipt, said

AT = datetime(2026, 9, 22, 8, 30, tzinfo=UTC)
NUMBER, SEAL = "424242424242424", "device:0123"
OWNER = ChatMember(phone="27820000001")

lenient = settings(max_examples=40, deadline=None, database=None)
words = st.none() | st.text(max_size=30) | st.sampled_from(["\x00", "\ud800", "+27 831 234 567"])
ids = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=32)
digits = st.from_regex("[1-9][0-9]{6,14}", fullmatch=True)
people = st.builds(ChatMember, phone=st.none() | digits, lid=st.none() | digits, name=words)
kinds = st.sampled_from(
    [
        "text",
        "image",
        "video",
        "audio",
        "voice",
        "document",
        "sticker",
        "location",
        "contacts",
        "reaction",
        "edit",
        "revoke",
        "button",
        "interactive",
        "unsupported",
        "poll",
        "id",
        "from",
    ]
)
# Between the first WhatsApp and the arrival: other times are not believed.
moments = st.integers(1_230_768_000, int(AT.timestamp())).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)
messages = st.builds(
    MessageArrived,
    id=ids,
    chat=people,
    sender=people,
    at=moments,
    kind=kinds,
    text=words,
    from_me=st.booleans(),
    group_id=st.none() | ids,
    quoted_id=st.none() | ids,
    mime_type=words,
    emoji=words,
)
statuses = st.sampled_from(["delivered", "read", "played"])
receipts = st.builds(
    ReceiptArrived,
    ids=st.lists(ids, min_size=1, max_size=4).map(tuple),
    chat=people,
    status=statuses,
    at=moments,
)


def written(*events) -> bytes:
    return body_of(events, external_id=NUMBER, seal=SEAL)


def read(*events) -> list:
    """Return what parsing makes of events, one each."""
    updates = parse(written(*events), AT)
    assert [update.problem for update in updates] == [None] * len(updates)
    assert {(u.object, u.waba_id, u.phone_number_id) for u in updates} == {
        (LINKED_DEVICE, SEAL, NUMBER)
    }
    return [update.events[0] for update in updates]


@lenient
@given(st.lists(messages | receipts, min_size=1, max_size=5))
def test_it_loses_and_adds_nothing(events) -> None:
    expected = [
        (one, event.at.replace(microsecond=0))
        for event in events
        for one in (event.ids if isinstance(event, ReceiptArrived) else (event.id,))
    ]
    found = read(*events)
    assert [(event.platform_message_id, event.timestamp) for event in found] == expected


@lenient
@given(messages)
def test_it_keeps_who_wrote_what_to_whom(event: MessageArrived) -> None:
    (found,) = read(event)
    other = event.chat if event.from_me else event.sender
    expected = Direction.OUTBOUND if event.from_me else Direction.INBOUND
    assert (found.direction, found.type) == (expected, event.kind)
    assert found.group_id == event.group_id
    if other.phone:
        assert found.contact.phone == other.phone
    if other.lid:
        assert found.contact.parent_user_id == f"lid:{other.lid}"


@lenient
@given(messages | receipts)
def test_it_can_be_cut_out_and_read_again(event) -> None:
    body = written(event)
    for update in parse(body, AT):
        (again,) = parse(Isolator(body).isolate([update.path]), AT)
        assert (again.events, again.object) == (update.events, LINKED_DEVICE)


def test_it_writes_a_live_message_with_its_person() -> None:
    (found,) = read(said(AT, quoted_id="3EB0"))
    assert found == MessageEvent(
        NUMBER,
        "3EB0AA",
        Direction.INBOUND,
        Source.LIVE,
        "text",
        AT,
        *[Person("27831234567", None, "lid:170000000000001", "Anna")] * 2,
        text="Good morning",
        reply_to="3EB0",
    )


def test_it_names_a_person_of_a_chat_by_what_is_known_of_either_side() -> None:
    hidden = ChatMember(lid=ANNA.lid)
    (found,) = read(said(AT, sender=hidden))
    assert found.sender == Person("27831234567", None, "lid:170000000000001", "Anna")
    (found,) = read(said(AT, sender=hidden, who=ChatMember(phone="1"), group_id="120363@g.us"))
    assert (found.sender.phone, found.group_id) == (None, "120363@g.us")


def test_it_writes_what_the_owner_wrote_elsewhere_as_an_echo() -> None:
    (found,) = read(said(AT, sender=OWNER, from_me=True))
    assert (found.direction, found.source) == (Direction.OUTBOUND, Source.ECHO)
    assert (found.sender.phone, found.contact.phone) == (OWNER.phone, ANNA.phone)
    (found,) = read(said(AT, who=ChatMember(), sender=OWNER, from_me=True, group_id="120363@g.us"))
    assert not found.contact.is_known


@pytest.mark.parametrize("kind", ["image", "video", "audio", "voice", "document", "sticker"])
def test_it_writes_of_a_file_what_is_known(kind: str) -> None:
    (found,) = read(said(AT, kind=kind, mime_type="image/webp"))
    assert (found.media.mime_type, found.media.voice) == ("image/webp", kind == "voice")
    assert found.media.platform_media_id.startswith("device-")


@pytest.mark.parametrize(
    ("kind", "more", "text"),
    [
        ("reaction", {"emoji": "👍"}, "👍"),
        ("reaction", {"emoji": None}, None),
        ("edit", {"text": "Good evening"}, "Good evening"),
        ("revoke", {"text": None}, None),
    ],
)
def test_it_names_the_message_that_is_meant(kind: str, more: dict, text: str | None) -> None:
    (found,) = read(said(AT, kind=kind, quoted_id="3EB0BB", **more))
    assert (found.reply_to, found.text) == ("3EB0BB", text)


def test_it_writes_one_receipt_for_each_message() -> None:
    first, second = read(receipt(AT, "A", "B", status="read"))
    person = Person("27831234567", None, "lid:170000000000001")
    assert first == StatusUpdate(NUMBER, "A", "read", AT, recipient=person)
    assert second.platform_message_id == "B"
