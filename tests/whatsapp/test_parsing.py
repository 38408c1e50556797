"""Every update of a body: read by itself, counted where it is not modelled, cut out alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from connectors.whatsapp.wire.decoding import NotAnEnvelope
from connectors.whatsapp.wire.isolation import Isolator, message_json
from connectors.whatsapp.wire.parsing import parse
from connectors.whatsapp.wire.updates import Path as Place
from messaging.events import IdentityChange, Unhandled
from tests.whatsapp.reading import (
    NAMES,
    NUMBER,
    RECEIVED_AT,
    WABA,
    events,
    payload,
    read,
    tree,
    value_of,
)


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


PARTNERS_WABA = "777000888999000"


@pytest.mark.parametrize(
    ("name", "field", "kinds"),
    [
        ("calls", "calls", ["error:138023", "connect", "terminate"]),
        ("history_declined", "history", ["error:2593109"]),
        ("groups_created", "group_lifecycle_update", ["group_create"]),
        ("user_actions", "messages", ["marketing_messages_link_click"]),
        ("standby", "standby", ["messages:text", "statuses:sent"]),
        ("messaging_handovers", "messaging_handovers", ["control_passed"]),
        ("automatic_events", "automatic_events", ["leadsubmitted"]),
        ("account_update_partner_added", "account_update", ["partner_added"]),
        ("account_update_misplaced_field", "account_update", ["partner_app_installed"]),
        ("account_review_update", "account_review_update", ["approved"]),
        ("account_settings_update", "account_settings_update", ["phone_number_settings"]),
        ("account_alerts", "account_alerts", ["oba_approved"]),
        ("phone_number_quality_update", "phone_number_quality_update", ["throughput_upgrade"]),
        ("flows", "flows", ["client_error_rate"]),
        ("future_field", "quantum_updates", ["empty"]),
        ("messages_metadata_only", "messages", ["empty"]),
        ("errors_only", "messages", ["error:131035"]),
        ("empty_entry", "", ["empty"]),
        ("another_object", "comments", ["object:instagram"]),
    ],
)
def test_it_counts_what_it_does_not_model(name: str, field: str, kinds: list[str]) -> None:
    counted = [event for event in events(name) if not isinstance(event, IdentityChange)]
    assert counted == [Unhandled(field, kind) for kind in kinds]


@pytest.mark.parametrize(
    ("name", "waba_id", "phone_number_id"),
    [
        ("calls", WABA, NUMBER),
        ("messaging_handovers", WABA, NUMBER),
        ("account_settings_update", WABA, NUMBER),
        ("account_review_update", WABA, None),
        ("account_update_partner_added", PARTNERS_WABA, None),
        ("empty_entry", "", None),
    ],
)
def test_it_says_to_whom_an_update_belongs(
    name: str, waba_id: str, phone_number_id: str | None
) -> None:
    update = parse(payload(name), RECEIVED_AT)[0]
    assert (update.waba_id, update.phone_number_id) == (waba_id, phone_number_id)


@pytest.mark.parametrize("name", ["unknown_type", "status_unknown_word", "future_field"])
def test_it_keeps_field_and_kind_short_whatever_meta_sends(name: str) -> None:
    body = tree(name)
    long = "İ" * 200
    change = body["entry"][0]["changes"][0]
    change["value"].update(event=long, type=long)
    for item in change["value"].get("messages", []) + change["value"].get("statuses", []):
        item.update(type=long, status="x" * 200)
    change["field"] = long if name == "future_field" else "messages"
    for event in read(body)[0].events:
        words = [getattr(event, slot, "") for slot in ("field", "kind", "type", "status")]
        assert all(len(word or "") <= 64 for word in words)


@pytest.mark.parametrize("value", [[1, {"a": 2}], "soon", 5, 1.5, True])
def test_it_counts_a_field_to_come_whatever_its_value(value: object) -> None:
    body = tree("future_field")
    body["entry"][0]["changes"][0]["value"] = value
    (update,) = read(body)
    assert update.problem is None
    assert update.events == (Unhandled("quantum_updates", "value"),)


@pytest.mark.parametrize(
    "value",
    [
        {"history": []},
        {"history": [{"metadata": {"phase": 1}, "threads": []}]},
        {"standby": {}},
        {"standby": {"messages": []}},
    ],
)
def test_it_counts_no_import_and_no_standby_without_updates(value: dict) -> None:
    (update,) = read({"entry": [{"changes": [{"field": "history", "value": value}]}]})
    assert (update.events, update.problem) == ((), None)


def test_it_takes_an_empty_object_for_no_message() -> None:
    body = tree("text")
    value_of(body)["messages"].insert(0, {})
    empty, said = read(body)
    assert empty.events == (Unhandled("messages", "messages:empty"),)
    assert said.events[0].text == "Does it come in another colour?"


@pytest.mark.parametrize("word", ["RINGING", "ACCEPTED", "REJECTED"])
def test_it_counts_the_receipts_of_calls_by_kind(word: str) -> None:
    receipt = {"id": "wacid.A", "type": "call", "status": word, "timestamp": "1767225600"}
    body = tree("calls")
    value_of(body).clear()
    value_of(body)["statuses"] = [receipt]
    assert read(body)[0].events == (Unhandled("calls", f"call:{word.lower()}"),)


THREAD_MESSAGE = "wamid.HBULMjcwMDAwMDAxMDEVAgASGBQzQTAwMDAwMDAwMDAwMDAwMDAwQw=="


@pytest.mark.parametrize("name", NAMES)
def test_it_isolates_each_update_with_all_that_it_needs(name: str) -> None:
    body = payload(name)
    for update in parse(body, RECEIVED_AT):
        (alone,) = parse(Isolator(body).isolate([update.path]), RECEIVED_AT)
        assert (alone.events, alone.field) == (update.events, update.field)
        assert (alone.waba_id, alone.phone_number_id) == (update.waba_id, update.phone_number_id)


@pytest.mark.parametrize("name", NAMES)
def test_it_isolates_all_updates_at_once(name: str) -> None:
    body = payload(name)
    updates = parse(body, RECEIVED_AT)
    again = parse(Isolator(body).isolate([update.path for update in updates]), RECEIVED_AT)
    assert [update.events for update in again] == [update.events for update in updates]


def test_it_leaves_out_the_neighbours_and_their_contacts() -> None:
    body = payload("batch_of_two_entries")
    alone = Isolator(body).isolate([parse(body, RECEIVED_AT)[1].path])
    assert b"From Sipho" in alone
    assert b"27000000101" not in alone
    assert b"Thandi" not in alone


def test_it_finds_the_json_of_a_message() -> None:
    body = payload("batch_of_two_entries")
    message = value_of(tree("batch_of_two_entries"))["messages"][1]
    assert message_json(body, message["id"]) == message
    assert message_json(body, "wamid.other") is None


@pytest.mark.parametrize(
    ("name", "wamid", "type_"),
    [
        ("history_threads", THREAD_MESSAGE, "text"),
        ("echo_text", THREAD_MESSAGE.replace("wQw==", "wMQ=="), "text"),
        (
            "request_welcome_without_id",
            "sha256:ba0da03b37c345d5e3d0ec9530195a509c859987a04a7fc0c91c8d4486eb7a12",
            "request_welcome",
        ),
    ],
)
def test_it_finds_echoes_history_and_messages_without_id(name: str, wamid: str, type_: str) -> None:
    message = message_json(payload(name), wamid)
    assert message is not None
    assert message["type"] == type_


def test_it_finds_nothing_in_a_body_of_other_shape() -> None:
    for body in (b"{}", b'{"entry": 5}', b'{"entry": [5, {"changes": [[]]}]}'):
        assert message_json(body, "wamid.A") is None


def test_it_isolates_nothing_from_what_is_no_json() -> None:
    with pytest.raises(NotAnEnvelope):
        message_json(b"{", "wamid.A")


def test_it_answers_with_valid_json() -> None:
    body = payload("text_nul_and_lone_surrogate")
    alone = Isolator(body).isolate([parse(body, RECEIVED_AT)[0].path])
    assert json.loads(alone)["object"] == "whatsapp_business_account"


def test_it_cuts_a_full_batch_into_single_updates_without_reading_it_each_time() -> None:
    body = tree("text")
    value = value_of(body)
    value["messages"] = [{**value["messages"][0], "id": f"wamid.{n}"} for n in range(1000)]
    whole = json.dumps(body).encode()
    isolator = Isolator(whole)
    for update in parse(whole, RECEIVED_AT):
        (alone,) = parse(isolator.isolate([update.path]), RECEIVED_AT)
        assert alone.events == update.events


@pytest.mark.parametrize(
    "history",
    [
        [{"threads": 5, "errors": [{"code": 1}]}, {"threads": [], "errors": 5}],
        [{"threads": [5, {"messages": 5}, {"id": "27000000101", "messages": [{}, 5]}]}],
        [5, {"threads": [{"messages": [{"id": "wamid.A"}]}]}],
    ],
)
def test_it_isolates_each_part_of_a_broken_import(history: list[Any]) -> None:
    body = tree("history_declined")
    value_of(body)["history"] = history
    sent = json.dumps(body).encode()
    for update in parse(sent, RECEIVED_AT):
        (alone,) = parse(Isolator(sent).isolate([update.path]), RECEIVED_AT)
        assert (alone.events, alone.problem) == (update.events, update.problem)


@pytest.mark.parametrize("standby", [5, {"messages": 5}, {"messages": [5, {"type": "text"}]}])
def test_it_isolates_each_part_of_a_broken_standby(standby: object) -> None:
    body = tree("standby")
    value_of(body)["standby"] = standby
    sent = json.dumps(body).encode()
    for update in parse(sent, RECEIVED_AT):
        (alone,) = parse(Isolator(sent).isolate([update.path]), RECEIVED_AT)
        assert (alone.events, alone.problem) == (update.events, update.problem)


def test_it_copies_nothing_that_nobody_reads_with_every_update() -> None:
    body = tree("text")
    value = value_of(body)
    value["messages"] = [{**value["messages"][0], "id": f"wamid.{n}"} for n in range(50)]
    value["contacts"][0]["junk"] = "x" * 10_000
    for place in (body, body["entry"][0], body["entry"][0]["changes"][0], value):
        place["new_in_2030"] = "x" * 10_000
    sent = json.dumps(body).encode()
    updates = parse(sent, RECEIVED_AT)

    together = Isolator(sent).isolate([update.path for update in updates])

    assert len(together) < 30_000  # the contact of all of them once
    assert b"new_in_2030" not in together
    assert [u.events for u in parse(together, RECEIVED_AT)] == [u.events for u in updates]
