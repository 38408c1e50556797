from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from connectors.simulator.traffic import (
    STRANGER,
    Mix,
    SimulatedCallback,
    Traffic,
    UnknownKind,
    kinds_of,
)
from connectors.simulator.updates import KINDS, Business
from connectors.whatsapp.wire.parsing import parse
from messaging.events import MessageEvent, StatusUpdate

ACME = Business("100200300400500", "106540352242922")
NOW = 1_760_000_000


def callbacks(count: int = 300, seed: int = 7, **mix: object) -> list[SimulatedCallback]:
    return list(Traffic(ACME, Mix(**mix), seed=seed, now=NOW).callbacks(count))  # type: ignore[arg-type]


def values(callback: SimulatedCallback) -> list[dict[str, object]]:
    envelope = json.loads(callback.body)
    assert envelope["object"] == "whatsapp_business_account"
    return [change["value"] for entry in envelope["entry"] for change in entry["changes"]]


def held(value: dict[str, object]) -> int:
    lists = ("messages", "statuses", "message_echoes", "history", "calls", "user_preferences")
    return sum(len(value[name]) for name in lists if name in value) or 1  # type: ignore[arg-type]


def test_it_repeats_itself_from_a_seed_and_only_from_that_seed() -> None:
    mix = {"batch": 3, "duplicates": 10, "foreign": 2}
    bodies = [c.body for c in callbacks(**mix)]
    assert bodies == [c.body for c in callbacks(**mix)]
    assert bodies != [c.body for c in callbacks(seed=8, **mix)]


@pytest.mark.parametrize("kind", KINDS)
def test_it_makes_every_kind_alone(kind: str) -> None:
    for callback in callbacks(20, kinds=(kind,)):
        assert [u.kind for u in callback.updates] == [kind]
        assert sum(held(v) for v in values(callback)) == 1


def test_it_knows_how_many_updates_a_body_holds() -> None:
    for callback in callbacks(batch=40, duplicates=20, foreign=5):
        assert sum(held(v) for v in values(callback)) == len(callback)


def test_it_cuts_repeated_updates_into_other_batches() -> None:
    seen: set[bytes] = set()
    wamids: set[str] = set()
    recut = 0
    for callback in callbacks(batch=5, duplicates=30, kinds=("text",)):
        again = wamids.intersection(u.wamid for u in callback.updates)
        assert bool(again) == callback.is_repeat
        recut += callback.is_repeat and callback.body not in seen
        seen.add(callback.body)
        wamids.update(u.wamid for u in callback.updates)
    assert recut > 10


def test_it_sends_nothing_twice_unless_asked() -> None:
    rows = [
        (u.wamid, u.status, u.participant)
        for c in callbacks(2_000, batch=2)
        for u in c.updates
        if u.wamid and u.kind != "group_receipt"
    ]
    assert len(rows) == len(set(rows))


def test_it_addresses_some_updates_to_a_stranger() -> None:
    astray = [c for c in callbacks(foreign=50, kinds=("text",)) if c.updates[0].is_foreign]
    assert 100 < len(astray) < 200
    assert STRANGER.encode() in astray[0].body
    assert astray[0].updates[0].wamid == ""


def test_it_has_users_without_a_phone_number() -> None:
    messages = [values(c)[0]["messages"][0] for c in callbacks(kinds=("text",))]  # type: ignore[index]
    assert any("from" not in m and m["from_user_id"] for m in messages)


def test_it_hides_the_phone_number_in_message_ids_as_meta_does() -> None:
    for callback in callbacks(50, kinds=("text",)):
        message = values(callback)[0]["messages"][0]  # type: ignore[index]
        inner = base64.b64decode(message["id"].removeprefix("wamid."))
        assert message.get("from", "15550100123").encode() in inner


def test_it_escapes_as_meta_does() -> None:
    bodies = b"".join(c.body for c in callbacks(kinds=("text", "image")))
    assert bodies.isascii()
    assert b"https:\\/\\/" in bodies
    assert b"\\u" in bodies


def stored(callback: SimulatedCallback) -> list[tuple[str, str]]:
    """What our own parser makes of the updates that are addressed to us."""
    updates = parse(callback.body, datetime.fromtimestamp(NOW, UTC))
    assert len(updates) == len(callback)
    assert not any(update.problem for update in updates)
    return sorted(
        (event.platform_message_id, event.status if isinstance(event, StatusUpdate) else "")
        for update in updates
        if update.phone_number_id != STRANGER
        for event in update.events
        if isinstance(event, MessageEvent | StatusUpdate)
    )


def test_it_knows_what_each_callback_must_become() -> None:
    for callback in callbacks(500, batch=3, duplicates=10, foreign=5):
        expected = sorted((u.wamid, u.status) for u in callback.updates if u.wamid)
        assert stored(callback) == expected


def test_it_resolves_words_to_kinds() -> None:
    assert kinds_of("all") == KINDS
    assert kinds_of("text, statuses,text") == ("text", "status", "group_receipt")


@pytest.mark.parametrize("words", ["", "all,fax"])
def test_it_names_the_kinds_when_one_is_unknown(words: str) -> None:
    with pytest.raises(UnknownKind, match="all"):
        kinds_of(words)
