import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from connectors.whatsapp.wire.decoding import NotAnEnvelope
from connectors.whatsapp.wire.isolation import Isolator
from connectors.whatsapp.wire.parsing import parse
from connectors.whatsapp.wire.updates import Update
from messaging.sealed_values import Separator
from tests.whatsapp.reading import NAMES, RECEIVED_AT, THANDI, payload, read, tree, value_of

lenient = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["\x00", "\ud800", 10**400, "27000000101", "+27 000 000 101", "", -1])
)
keys = st.sampled_from(["id", "type", "messages", "text", "body", "from", "contacts", "x", "\x00"])
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(NAMES)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value inside ``node``."""
    found = [path] if path else []
    items = node.items() if isinstance(node, dict) else enumerate(node)
    if isinstance(node, dict | list):
        for key, child in list(items):
            inside = isinstance(child, dict | list)
            found += places(child, (*path, key)) if inside else [(*path, key)]
    return found


def put(node: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value


def events_of(updates: list[Update]) -> list[Any]:
    return [(update.events, update.problem, update.phone_number_id) for update in updates]


def texts_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in (*value, *value.values()) for text in texts_in(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in texts_in(item)]
    slots = getattr(value, "__slots__", ())
    return [text for slot in slots for text in texts_in(getattr(value, slot))]


@lenient
@given(anything)
def test_it_reads_any_json_or_says_that_it_is_no_envelope(body: Any) -> None:
    try:
        assert read(body)
    except NotAnEnvelope:
        assert not isinstance(body, dict)


@lenient
@given(st.binary(max_size=60))
def test_it_survives_any_bytes(body: bytes) -> None:
    try:
        assert parse(body, RECEIVED_AT)
    except NotAnEnvelope as refusal:
        assert str(refusal)


@settings(lenient, max_examples=400)
@given(st.data(), names, anything)
def test_it_never_fails_on_a_wrong_value_in_any_place(data: Any, name: str, wrong: Any) -> None:
    body = tree(name)
    put(body, data.draw(st.sampled_from(places(body))), wrong)
    assert all("Malformed" in (update.problem or "Malformed") for update in read(body))


@settings(lenient, max_examples=300)
@given(st.data(), names, anything)
def test_it_isolates_what_it_read_whatever_the_value(data: Any, name: str, wrong: Any) -> None:
    body = tree(name)
    put(body, data.draw(st.sampled_from(places(body))), wrong)
    sent = json.dumps(body).encode()
    updates = parse(sent, RECEIVED_AT)
    chosen = sorted(data.draw(st.sets(st.integers(0, len(updates) - 1), min_size=1)))
    alone = Isolator(sent).isolate([updates[index].path for index in chosen])
    kept = [updates[index] for index in chosen]
    assert events_of(parse(alone, RECEIVED_AT)) == events_of(kept)


@settings(lenient, max_examples=200)
@given(st.data(), anything)
def test_it_keeps_the_siblings_of_a_wrong_value(data: Any, wrong: Any) -> None:
    body = tree("batch_of_two_entries")
    before = [update.events for update in read(body)]
    messages = value_of(body)["messages"]
    put(messages[0], data.draw(st.sampled_from(places(messages[0]))), wrong)
    after = [update.events for update in read(body)]
    assert len(after) == len(before)
    assert after[1:] == before[1:]


@settings(lenient, max_examples=100)
@given(st.data(), anything)
def test_it_counts_an_element_that_is_no_object(data: Any, wrong: Any) -> None:
    assume(not isinstance(wrong, dict))
    body = tree("batch_of_two_entries")
    before = [update.events for update in read(body)]
    section = data.draw(st.sampled_from(["messages", "statuses", "errors"]))
    value_of(body)[section][0] = wrong
    after = read(body)
    assert len(after) == len(before)
    assert sum(update.problem is not None for update in after) == 1


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_the_same_the_tolerant_way(name: str) -> None:
    body = tree(name)
    slowly = {**body, "z": "\x00"}
    assert read(slowly) == read(body)


@settings(lenient, max_examples=150)
@given(st.data(), names)
def test_it_never_lets_unstorable_text_pass(data: Any, name: str) -> None:
    body = tree(name)
    texts = [place for place in places(body) if isinstance(place[-1], str)]
    put(body, data.draw(st.sampled_from(texts)), "a\x00b\ud800c")
    for text in texts_in([update.events for update in read(body)]):
        assert "\x00" not in text
        text.encode()


@settings(lenient, max_examples=150)
@given(st.data(), names, st.sampled_from(["+27 000 000 101", "27000000101", "000-000-101 x"]))
def test_it_keeps_the_senders_number_out_of_the_content(data: Any, name: str, number: str) -> None:
    body = tree(name)
    put(body, data.draw(st.sampled_from(places(body))), number)
    for update in read(body):
        for event in update.events:
            separator = Separator([THANDI, *getattr(event, "numbers", ())])
            sealed = [
                separator.separate(getattr(event, slot, None)) for slot in ("content", "errors")
            ]
            stored = [*sealed, *(getattr(event, slot, None) for slot in ("kind", "type"))]
            digits = "".join(filter(str.isdigit, " ".join(texts_in(stored))))
            assert "00000101" not in digits


@pytest.mark.parametrize("cut", range(0, 100, 7))
def test_it_refuses_a_truncated_body(cut: int) -> None:
    body = payload("batch_of_two_entries").rstrip()
    with pytest.raises(NotAnEnvelope, match="invalid JSON"):
        parse(body[: len(body) * cut // 100], RECEIVED_AT)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_it_refuses_what_is_nested_too_deeply(opening: str) -> None:
    body = f'{{"entry": {opening * 100_000}'.encode()
    with pytest.raises(NotAnEnvelope, match="nested too deeply"):
        parse(body, RECEIVED_AT)


@pytest.mark.parametrize("number", ["9" * 5000, "1e999", "NaN", "-Infinity", "9" * 400])
def test_it_survives_extreme_numbers(number: str) -> None:
    body = payload("location").replace(b"-33.9248685", number.encode())
    (update,) = parse(body, RECEIVED_AT)
    assert update.problem is None
    assert "latitude" not in update.events[0].content
