import re
from pathlib import Path
from typing import Any

import pytest

from connectors.whatsapp.wire.decoding import NotAnEnvelope
from connectors.whatsapp.wire.parsing import parse
from connectors.whatsapp.wire.updates import Path as Place
from messaging.events import Unhandled
from tests.whatsapp.reading import NAMES, RECEIVED_AT, events, payload, read, tree, value_of


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_every_recorded_callback_without_a_problem(name: str) -> None:
    updates = parse(payload(name), RECEIVED_AT)
    assert all(update.problem is None for update in updates)
    assert all(update.events for update in updates) or name == "history_progress_only"


def test_every_recorded_callback_is_expected_by_name() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    assert set(NAMES) <= set(re.findall(r'"(\w+)"', tests))


def test_it_walks_every_entry_change_and_list() -> None:
    updates = parse(payload("batch_of_two_entries"), RECEIVED_AT)
    assert [update.path for update in updates] == [
        Place(0, 0, "messages", 0),
        Place(0, 0, "messages", 1),
        Place(0, 0, "statuses", 0),
        Place(0, 0, "errors", 0),
        Place(0, 1, "messages", 0),
        Place(1, 0, "messages", 0),
    ]
    assert [update.phone_number_id for update in updates][3:] == [
        "106540352242922",
        "106540352242922",
        "222000333444555",
    ]


def test_it_says_where_in_an_import_a_message_stood() -> None:
    updates = parse(payload("history_threads"), RECEIVED_AT)
    subs = [update.path.sub for update in updates]
    assert subs == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {update.path[:4] for update in updates} == {(0, 0, "history", 0)}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "invalid JSON"),
        (b"{", "invalid JSON"),
        (b"object=whatsapp", "invalid JSON"),
        (b"\xff\xfe", "invalid JSON"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b'"text"', "not an object"),
    ],
)
def test_it_refuses_what_is_no_envelope(body: bytes, reason: str) -> None:
    with pytest.raises(NotAnEnvelope, match=reason):
        parse(body, RECEIVED_AT)


@pytest.mark.parametrize("body", [{}, {"entry": None}, {"entry": [{}]}, {"object": None}])
def test_it_counts_an_envelope_without_updates(body: dict[str, Any]) -> None:
    (update,) = read(body)
    assert update.events == (Unhandled("", "empty"),)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"entry": 5}, (-1, -1, "entry", -1)),
        ({"entry": [5]}, (0, -1, "entry", -1)),
        ({"entry": [{"changes": {}}]}, (0, -1, "changes", -1)),
        ({"entry": [{"changes": [5]}]}, (0, 0, "change", -1)),
        ({"entry": [{"changes": [{"value": 5}]}]}, (0, 0, "value", -1)),
        ({"entry": [{"changes": [{"value": {"messages": {}}}]}]}, (0, 0, "messages", -1)),
        ({"entry": [{"changes": [{"value": {"messages": [[]]}}]}]}, (0, 0, "messages", 0)),
        ({"entry": [{"changes": [{"value": {"history": [[]]}}]}]}, (0, 0, "history", 0)),
    ],
)
def test_it_reports_something_else_in_the_place_of_an_update(
    body: dict[str, Any], place: tuple[Any, ...]
) -> None:
    (update,) = read(body)
    assert update.path[:4] == place
    assert update.events == ()
    assert update.problem is not None and update.problem.startswith("Malformed")


def test_it_reads_a_message_in_spite_of_wrong_types_and_names_them() -> None:
    message, *counts = events("text_of_wrong_types")
    assert (message.text, message.contact.phone) == ("Still here", "27000000101")
    assert {count.kind for count in counts} == {
        "malformed:from_user_id",
        "malformed:context",
        "malformed:referral",
    }


@pytest.mark.parametrize("field", [None, 5, ["messages"]])
def test_it_reads_messages_without_a_field_by_their_list(field: object) -> None:
    body = tree("text")
    body["entry"][0]["changes"][0]["field"] = field
    assert read(body)[0].events[0].text == "Does it come in another colour?"


def test_it_does_not_take_the_messages_of_an_unknown_field_for_ours() -> None:
    body = tree("text")
    body["entry"][0]["changes"][0]["field"] = "messages_to_come"
    assert read(body)[0].events == (Unhandled("messages_to_come", "text"),)


def test_it_reads_identifiers_that_are_numbers() -> None:
    body = tree("text")
    value_of(body)["metadata"]["phone_number_id"] = 106540352242922
    value_of(body)["messages"][0]["from"] = 27000000101
    (update,) = read(body)
    assert update.phone_number_id == "106540352242922"
    assert update.events[0].contact.phone == "27000000101"
