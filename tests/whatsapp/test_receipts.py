from typing import Any

import pytest

from messaging.events import Person, StatusUpdate, Unhandled
from tests.whatsapp.reading import (
    NUMBER,
    RECEIVED_AT,
    SENT_AT,
    SIPHO,
    THANDI,
    THANDI_ID,
    events,
    only,
    read,
    tree,
    value_of,
)

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
def test_it_takes_the_time_of_arrival_for_a_bad_timestamp(timestamp: object) -> None:
    body = tree("status_read")
    value_of(body)["statuses"][0]["timestamp"] = timestamp
    assert read(body)[0].events[0].timestamp == RECEIVED_AT
