"""From one message, or one status of a message, to events."""

from __future__ import annotations

from typing import Any

import pytest

from messaging.events import (
    Direction,
    IdentityChange,
    MediaItem,
    MessageEvent,
    Person,
    Source,
    StatusUpdate,
    Unhandled,
)
from tests.whatsapp.reading import (
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
from tests.whatsapp.said import SAID

SHA256 = "3f9d94d399fa61c191bc1d4ca71375a035cbb9b1d4b4b4a0cb5cd9a1b6e0b0aa"


@pytest.mark.parametrize("name", SAID)
def test_it_reads_what_is_said(name: str) -> None:
    message = only(name)
    said = (message.type, message.text, message.content, message.reply_to)
    assert said == SAID[name]


def test_it_reads_the_whole_of_a_message() -> None:
    thandi = Person(THANDI, THANDI_ID, None, "Thandi Mokoena")
    assert only("text") == MessageEvent(
        phone_number_id=NUMBER,
        platform_message_id="wamid.HBULMjcwMDAwMDAxMDEVAgASGBQzQTAwMDAwMDAwMDAwMDAwMDAwMQ==",
        direction=Direction.INBOUND,
        source=Source.LIVE,
        type="text",
        timestamp=SENT_AT,
        sender=thandi,
        contact=thandi,
        text="Does it come in another colour?",
    )


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("image", {"mime_type": "image/jpeg"}),
        ("video", {"mime_type": "video/mp4"}),
        ("audio", {"mime_type": "audio/mpeg"}),
        ("voice_note", {"mime_type": "audio/ogg; codecs=opus", "voice": True}),
        ("voice_legacy", {"mime_type": "audio/ogg; codecs=opus", "voice": True}),
        ("voicemail", {"mime_type": "audio/ogg"}),
        ("document", {"mime_type": "application/pdf", "filename": "invoice-2026.pdf"}),
        ("sticker", {"mime_type": "image/webp", "animated": True}),
        (
            "document_named_after_a_chat",
            {"mime_type": "text/plain", "filename": "WhatsApp Chat with +27 000 000 101.txt"},
        ),
    ],
)
def test_it_reads_media(name: str, facts: dict[str, Any]) -> None:
    assert only(name).media == MediaItem("1003383421387256", sha256=SHA256, **facts)


def test_it_has_no_media_when_the_download_failed() -> None:
    assert only("image_with_errors").media is None


def test_it_keeps_the_group_of_a_message() -> None:
    assert only("text_in_a_group").group_id == "HBgLMTIwMzYzMDI1NjE3"


@pytest.mark.parametrize("name", ["text_integer_timestamp", "text"])
def test_it_reads_timestamps_as_text_or_number(name: str) -> None:
    assert only(name).timestamp == SENT_AT


@pytest.mark.parametrize("timestamp", ["soon", "", "0", -5, "1e9", 10**15, "9" * 400, None])
def test_it_takes_the_time_of_arrival_for_a_bad_timestamp(timestamp: object) -> None:
    body = tree("text_bad_timestamp")
    value_of(body)["messages"][0]["timestamp"] = timestamp
    assert read(body)[0].events[0].timestamp == RECEIVED_AT


def test_it_makes_an_id_of_the_content_when_there_is_none() -> None:
    message = only("request_welcome_without_id")
    assert message.platform_message_id == (
        "sha256:ba0da03b37c345d5e3d0ec9530195a509c859987a04a7fc0c91c8d4486eb7a12"
    )


@pytest.mark.parametrize(
    ("name", "type_", "kind"),
    [
        ("unknown_type", "hologram-3d", "hologram-3d"),
        ("interactive_product", "interactive", "interactive:product"),
    ],
)
def test_it_keeps_and_counts_what_it_does_not_know(name: str, type_: str, kind: str) -> None:
    message, count = events(name)
    assert (message.type, message.text, message.media) == (type_, None, None)
    assert count == Unhandled("messages", kind)


def test_it_counts_an_interactive_message_without_body_and_its_error() -> None:
    message, count, error = events("interactive_without_body")
    assert (message.type, message.content) == ("interactive", {})
    assert count == Unhandled("messages", "interactive:empty")
    assert error == Unhandled("messages", "error:131000")


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("system_number_changed", Person(THANDI), Person("27000000199")),
        ("system_number_changed_in_words_only", Person(THANDI), Person("27000000199")),
        ("system_user_id_changed", Person(None, THANDI_ID), Person(None, SIPHO_ID)),
    ],
)
def test_it_links_the_identities_of_a_person(name: str, before: Person, after: Person) -> None:
    change, message = events(name)
    assert change == IdentityChange(NUMBER, before, after, SENT_AT)
    assert (message.type, message.contact) == ("system", before)


def test_it_reads_an_update_of_a_user_id() -> None:
    before = Person(THANDI, THANDI_ID)
    after = Person(None, "ZA.99887766554433221100")
    assert events("user_id_update") == [IdentityChange(NUMBER, before, after, SENT_AT)]


def test_it_names_the_numbers_in_the_sentence_of_a_system_message() -> None:
    _, message = events("system_number_changed")
    assert {THANDI, "27000000199"} <= set(message.numbers)


def test_it_does_not_take_a_new_identity_key_for_a_new_identity() -> None:
    assert not isinstance(only("system_identity_key_changed"), IdentityChange)


@pytest.mark.parametrize("answer", [{"a": 1}, "[" * 5000, '"x"', "1", '{"a": "\\u0000"}', None, 5])
def test_it_survives_any_answer_of_a_form(answer: object) -> None:
    body = tree("form_reply")
    value_of(body)["messages"][0]["interactive"]["nfm_reply"]["response_json"] = answer
    (update,) = read(body)
    assert update.problem is None
    assert update.events[0].content["interactive"] == "nfm_reply"


@pytest.mark.parametrize(
    ("written", "degrees"),
    [
        ("-25.7479", -25.7479),
        (" 28 ", 28.0),
        (-33, -33),
        ("north", None),
        ("NaN", None),
        (999, None),
    ],
)
def test_it_reads_degrees_as_text_or_number(written: object, degrees: float | None) -> None:
    body = tree("location")
    value_of(body)["messages"][0]["location"]["latitude"] = written
    assert read(body)[0].events[0].content.get("latitude") == degrees


def test_it_finds_the_file_of_an_id_that_is_a_number() -> None:
    body = tree("image")
    value_of(body)["messages"][0]["image"]["id"] = 1003383421387256
    assert read(body)[0].events[0].media.platform_media_id == "1003383421387256"


WAMID = "wamid.HBULMjcwMDAwMDAxMDEVAgASGBQzQTAwMDAwMDAwMDAwMDAwMDAwMQ=="
PRICE = {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "utility"}
NOT_THERE = {
    "code": 131026,
    "title": "Message undeliverable",
    "message": "Message undeliverable",
    "details": "Message undeliverable to 27000000101",
}
TO_THANDI = {"recipient": Person(THANDI)}


@pytest.mark.parametrize(
    ("name", "status", "facts"),
    [
        (
            "status_sent",
            "sent",
            {
                "recipient": Person(THANDI, THANDI_ID),
                "pricing": {**PRICE, "origin": "utility"},
                "callback_data": "0190b5a0-message",
            },
        ),
        ("status_delivered", "delivered", {**TO_THANDI, "pricing": PRICE}),
        ("status_read", "read", {"recipient": Person(THANDI, THANDI_ID, None, "Thandi Mokoena")}),
        ("status_played", "played", TO_THANDI),
        ("status_failed", "failed", {**TO_THANDI, "errors": (NOT_THERE,)}),
        (
            "status_failed_old_errors",
            "failed",
            {
                **TO_THANDI,
                "errors": ({"code": 470, "title": "Old", "details": "Call (000) 000-0101"},),
            },
        ),
        ("status_deleted", "deleted", TO_THANDI),
        ("status_warning", "warning", TO_THANDI),
        (
            "status_without_phone",
            "delivered",
            {"recipient": Person(None, THANDI_ID, "ZA.ENT.506847293015824", "Naledi", "naledi.k")},
        ),
        (
            "status_pricing_in_conversation",
            "sent",
            {
                **TO_THANDI,
                "pricing": {
                    "pricing_model": "PMP",
                    "category": "group_utility",
                    "origin": "group_utility",
                },
            },
        ),
        (
            "status_payment",
            "captured",
            {
                **TO_THANDI,
                "participant": "payment:1767225600",
                "payment": {
                    "reference_id": "ref-1",
                    "amount": {"value": 2100, "offset": 100},
                    "currency": "INR",
                },
            },
        ),
    ],
)
def test_it_reads_a_status(name: str, status: str, facts: dict[str, Any]) -> None:
    assert only(name) == StatusUpdate(NUMBER, WAMID, status, SENT_AT, **facts)


def test_it_tells_the_receipts_of_a_group_apart() -> None:
    receipts = events("status_group_receipts")
    assert {receipt.platform_message_id for receipt in receipts} == {WAMID}
    assert [(receipt.participant, receipt.recipient) for receipt in receipts] == [
        (THANDI, Person(THANDI, THANDI_ID)),
        (SIPHO, Person(SIPHO)),
        ("ZA.55", Person(None, "ZA.55")),
    ]


def test_it_keeps_and_counts_a_status_that_it_does_not_know() -> None:
    update, count = events("status_unknown_word")
    assert update.status == "teleported"
    assert count == Unhandled("messages", "status:teleported")


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("status_without_id", Unhandled("messages", "status:sent")),
        ("calls_status", Unhandled("calls", "call:ringing")),
    ],
)
def test_it_only_counts_what_is_no_status_of_a_message(name: str, count: Unhandled) -> None:
    assert only(name) == count


def test_it_never_gives_a_failed_status_the_contact_of_another() -> None:
    body = tree("status_read")
    value = value_of(body)
    del value["statuses"][0]["recipient_id"]
    assert read(body)[0].events[0].recipient == Person()


@pytest.mark.parametrize("timestamp", [None, "then", 10**20])
def test_it_takes_the_time_of_arrival_for_a_bad_timestamp_of_a_status(timestamp: object) -> None:
    body = tree("status_read")
    value_of(body)["statuses"][0]["timestamp"] = timestamp
    assert read(body)[0].events[0].timestamp == RECEIVED_AT
