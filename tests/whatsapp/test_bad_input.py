"""Signed, and still not what it should be: stored, answered 200, and ended in one counted place."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.whatsapp import ledger
from connectors.whatsapp.models import WebhookDead, WebhookDelivery, WebhookPending
from connectors.whatsapp.processing import process_batch
from messaging.models import Message, MessageStatus
from tests.conftest import Cast
from tests.whatsapp.conftest import Web
from tests.whatsapp.deliveries import callback, contact, deliver, status, text

HUGE = 10**400
# Bodies that hold no update that can be read: dead.
UNREADABLE = {
    "empty": b"",
    "blank": b" \n",
    "not JSON": b"hello",
    "truncated": b'{"object":"whatsapp_business_account","entry":[{"id":"1","chan',
    "an array": b"[1, 2]",
    "a number": b"5",
    "null": b"null",
    "a string": b'"text"',
    "two documents": b"{}{}",
    "a byte order mark of UTF-16": '{"entry": []}'.encode("utf-16"),
    "deep arrays": b'{"entry": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a NUL": b'{"entry": []}\x00',
}
# Bodies that are callbacks with nothing to store: processed as unhandled, or dead for their form.
HARMLESS = {
    "empty object": b"{}",
    "no entries": b'{"object": "whatsapp_business_account", "entry": []}',
    "null entries": b'{"entry": null}',
    "entries of numbers": b'{"entry": [1, null, "x", []]}',
    "changes of numbers": b'{"entry": [{"id": 5, "changes": [1, null, {}, {"value": 7}]}]}',
    "one key twice": b'{"entry": [], "entry": [{"changes": [{}]}]}',
    "huge integers": b'{"entry": [{"id": %d, "time": -%d, "changes": [{}]}]}' % (HUGE, HUGE),
    "not a number": b'{"entry": NaN}',
    "broken UTF-8": b'{"object": "\xff\xfe"}',
    "a huge float": b'{"entry": [{"time": 1e999, "changes": [{}]}]}',
}


def totals(cast: Cast) -> tuple[int, int, int, int]:
    entry = ledger.read(cast.tenant.id, verify=True)
    assert entry.balanced
    return entry.processed, entry.quarantined, entry.dead, entry.pending


@pytest.mark.django_db(transaction=True)
def test_it_takes_everything_that_is_signed_and_puts_it_in_one_place(
    acme: Cast, globex: Cast, web: Web
) -> None:
    for count, (name, body) in enumerate({**UNREADABLE, **HARMLESS}.items(), start=1):
        assert web.post(acme, body).status_code == 200, name
        assert WebhookDelivery.objects.filter(tenant_id=acme.tenant.id).count() == count, name
        before = totals(acme)
        assert before[3] >= 1

        assert process_batch(1) == 1

        after = totals(acme)
        assert (sum(after), after[3]) == (sum(before), 0), name
        assert name in HARMLESS or after[2] == before[2] + 1, name
    assert totals(globex) == (0, 0, 0, 0)
    assert not WebhookPending.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_it_takes_a_thousand_updates_in_one_post(acme: Cast, globex: Cast, web: Web) -> None:
    messages = [text(f"wamid.{n}", sender=f"1555{n % 100:07}") for n in range(500)]
    statuses = [status(f"wamid.s{n}", "read") for n in range(499)]
    body = callback(acme.workspace.external_id, messages=messages, statuses=[*statuses, 7])

    assert web.post(acme, json.dumps(body).encode()).status_code == 200
    process_batch(10)

    assert totals(acme) == (999, 0, 1, 0)
    assert (Message.objects.count(), MessageStatus.objects.count()) == (500, 499)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("\\u0000", "\ufffd"),
        ("\\ud800", "\ufffd"),
        ("\\udc00\\ud800", "\ufffd\ufffd"),
        ("\\ud83d\\ude00", "\U0001f600"),
        ("\\u202e\\u200f", "\u202e\u200f"),
    ],
)
def test_it_keeps_a_text_of_characters_that_cannot_be_stored(
    acme: Cast, globex: Cast, words: str, kept: str
) -> None:
    whole = callback(acme.workspace.external_id, messages=[text("wamid.A", "WORDS")])
    deliver(acme.tenant.id, json.dumps(whole).replace("WORDS", f"a{words}z").encode())
    deliver(globex.tenant.id, b"{}")

    process_batch(10)

    stored = Message.objects.get().text or ""
    assert (stored[0], stored[-1]) == ("a", "z")
    assert stored[1:-1] in (kept, "")
    assert totals(acme) == (1, 0, 0, 0)


def every_place(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in a JSON value."""
    steps = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for step, inner in steps:
        yield (*path, step)
        yield from every_place(inner, (*path, step))


def replaced(tree: dict, path: tuple[Any, ...], value: object) -> dict:
    changed = copy.deepcopy(tree)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


WRONG = (None, True, HUGE, 1.5, "", "\x00", "x" * 600, [], {}, [[]], [None], {"a": {}})


def whole_callbacks(cast: Cast) -> Iterator[dict]:
    """Yield callbacks with as much in them as there may be."""
    number, waba_id = cast.workspace.external_id, cast.workspace.waba_id
    image = {"id": "5", "mime_type": "image/png", "sha256": "s", "caption": "c"}
    error = {"code": 131026, "title": "t", "error_data": {"details": "d"}}
    payment = status("wamid.S", "captured", type="payment", payment={"reference_id": "r"})
    yield callback(
        number,
        waba_id,
        contacts=[contact(user_id="US.1")],
        messages=[{**text("wamid.A"), "context": {"id": "wamid.0", "from": "1"}}],
        statuses=[status("wamid.S", "sent", errors=[error], pricing={"category": "utility"})],
    )
    yield callback(
        number,
        waba_id,
        statuses=[payment],
        messages=[{**text("wamid.I"), "type": "image", "image": image}],
    )
    said = {**text("wamid.H"), "history_context": {"status": "READ"}}
    threads = [{"id": "15550123456", "messages": [said]}]
    yield callback(number, waba_id, "history", history=[{"metadata": {}, "threads": threads}])
    template = {
        "event": "REJECTED",
        "message_template_id": 5,
        "message_template_name": "n",
        "message_template_language": "en",
        "reason": "NONE",
    }
    yield callback(number, waba_id, "message_template_status_update", **template)


@pytest.mark.django_db
@pytest.mark.parametrize("which", range(4))
def test_it_accounts_for_the_wrong_type_in_every_place(
    acme: Cast, globex: Cast, which: int
) -> None:
    whole = list(whole_callbacks(acme))[which]
    bodies = [replaced(whole, path, value) for path in every_place(whole) for value in WRONG]
    for body in bodies:
        deliver(acme.tenant.id, body)
    deliver(globex.tenant.id, callback(globex.workspace.external_id, messages=[text("wamid.G")]))

    while process_batch(500):
        pass

    entry = ledger.read(acme.tenant.id, verify=True)
    assert (entry.opened_callbacks, entry.balanced) == (len(bodies), True)
    assert WebhookDead.objects.count() == entry.dead + entry.quarantined
    reasons = set(WebhookDead.objects.values_list("reason", flat=True))
    assert not {reason for reason in reasons if "failed" in reason or "Error" in reason}
    assert totals(globex) == (1, 0, 0, 0)
