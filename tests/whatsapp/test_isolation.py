import json
from typing import Any

import pytest

from connectors.whatsapp.wire.decoding import NotAnEnvelope
from connectors.whatsapp.wire.isolation import Isolator, message_json
from connectors.whatsapp.wire.parsing import parse
from tests.whatsapp.reading import NAMES, RECEIVED_AT, payload, tree, value_of

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
