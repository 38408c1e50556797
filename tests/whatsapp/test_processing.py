"""What becomes of callbacks, from the work list to the tables: fairly, and by cheap plans."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from connectors.simulator.traffic import Mix, Traffic
from connectors.simulator.updates import Business
from connectors.whatsapp import ledger, processing, replay
from connectors.whatsapp.models import DeadKind, WebhookDead, WebhookDelivery, WebhookPending
from connectors.whatsapp.processing import process_batch
from connectors.whatsapp.raw import BODY
from lib import bulk
from lib.envelope import associated_data
from messaging import conversations, joining, receipts, references, transitions
from messaging.models import Contact, Message, MessageStatus
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, contact, deliver, status, text
from workspaces import keys, provisioning
from workspaces.identity import digester
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db


def test_it_stores_a_text_message_without_its_phone_number(acme: Cast) -> None:
    body = callback(acme.workspace.external_id, messages=[text("wamid.A")], contacts=[contact()])
    deliver(acme.tenant.id, body)

    assert process_batch(10) == 1

    message = Message.objects.get()
    digest = digester(acme.tenant.id)
    assert (message.text, message.sender) == ("Hello", digest.phone("15550123456"))
    assert message.platform_message_id == digest.wamid("wamid.A")
    assert message.contact.display_name == "Alice"
    assert not WebhookPending.objects.exists()


def test_it_has_its_effect_once_however_often_a_callback_comes(acme: Cast) -> None:
    first, second = text("wamid.A"), text("wamid.B")
    number = acme.workspace.external_id
    for messages in ([first], [first, second], [second], [second, first]):
        deliver(acme.tenant.id, callback(number, messages=messages))

    process_batch(10)

    assert Message.objects.count() == 2
    assert Contact.objects.count() == 1
    entry = ledger.read(acme.tenant.id, verify=True)
    assert (entry.accepted, entry.processed, entry.duplicates) == (6, 6, 4)
    assert entry.balanced


def test_it_quarantines_a_number_of_another_tenant(acme: Cast, globex: Cast) -> None:
    deliver(acme.tenant.id, callback(globex.workspace.external_id, messages=[text("wamid.A")]))

    process_batch(10)

    assert not Message.objects.exists()
    row = WebhookDead.objects.get()
    assert (row.kind, row.tenant_id) == (DeadKind.QUARANTINE, acme.tenant.id)
    assert ledger.read(acme.tenant.id).quarantined == 1
    assert ledger.read(globex.tenant.id).accepted == 0


def test_it_parks_an_unreadable_body(acme: Cast) -> None:
    deliver(acme.tenant.id, b'{"object":')

    process_batch(10)

    assert WebhookDead.objects.get().kind == DeadKind.DEAD
    assert ledger.read(acme.tenant.id, verify=True).balanced


def test_it_keeps_a_status_that_comes_before_its_message(acme: Cast) -> None:
    number = acme.workspace.external_id
    deliver(acme.tenant.id, callback(number, statuses=[status("wamid.E", "read", 1_790_000_009)]))
    process_batch(10)
    echo = {**text("wamid.E", sender="15550100001"), "to": "15550123456"}
    deliver(acme.tenant.id, callback(number, field="smb_message_echoes", message_echoes=[echo]))

    process_batch(10)

    assert MessageStatus.objects.count() == 1
    assert Message.objects.get().status == "read"


def test_it_applies_an_edit_that_comes_before_its_message(acme: Cast) -> None:
    number = acme.workspace.external_id
    edit = {
        "from": "15550123456",
        "id": "wamid.X",
        "timestamp": "1790000010",
        "type": "edit",
        "edit": {
            "original_message_id": "wamid.A",
            "message": {"type": "text", "text": {"body": "Hello again"}},
        },
    }
    deliver(acme.tenant.id, callback(number, messages=[edit]))
    process_batch(10)
    deliver(acme.tenant.id, callback(number, messages=[text("wamid.A")]))

    process_batch(10)

    message = Message.objects.get(type="text")
    assert message.text == "Hello again"
    assert message.edited_at is not None


def test_it_forgets_what_its_sender_revoked(acme: Cast) -> None:
    number = acme.workspace.external_id
    revoke = {
        "from": "15550123456",
        "id": "wamid.X",
        "timestamp": "1790000010",
        "type": "revoke",
        "revoke": {"original_message_id": "wamid.A"},
    }
    deliver(acme.tenant.id, callback(number, messages=[text("wamid.A"), revoke]))

    process_batch(10)

    assert Message.objects.get(type="text").text is None
    assert Message.objects.get(type="text").revoked_at is not None


def test_it_quarantines_what_comes_for_an_inactive_workspace_until_it_is_active(acme: Cast) -> None:
    Workspace.objects.update(is_active=False)
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[text("wamid.A")]))
    process_batch(10)
    assert (Message.objects.count(), replay.releasable()) == (0, [])
    Workspace.objects.update(is_active=True)

    assert replay.replay(replay.releasable()).processed == 1

    assert Message.objects.count() == 1
    assert ledger.read(acme.tenant.id, verify=True).balanced


@pytest.mark.parametrize("taken", [True, False])
def test_it_learns_an_account_unless_another_tenant_has_it(
    acme: Cast, globex: Cast, taken: bool
) -> None:
    """Whoever signs with their own app may name any account."""
    Workspace.objects.filter(pk=acme.workspace.pk).update(waba_id="")
    named = globex.workspace.waba_id if taken else "777"
    deliver(acme.tenant.id, callback(acme.workspace.external_id, named, messages=[text("wamid.A")]))

    process_batch(10)

    acme.workspace.refresh_from_db()
    assert acme.workspace.waba_id == ("" if taken else "777")
    assert Message.objects.count() == 1


def flood(cast: Cast, count: int) -> None:
    """Put a backlog where the receiver would have put it, all at once."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('webhook_delivery_blocks')")
        (start,) = cursor.fetchone()
    at, tenant_id = datetime.now(UTC), cast.tenant.id
    cipher, rows = keys.day_cipher(tenant_id, at.date()), []
    for number in range(start, start + count):
        body = callback(cast.workspace.external_id, messages=[text(f"wamid.{number}", "flood")])
        sealed = cipher.seal(json.dumps(body).encode(), associated_data(tenant_id, BODY, number))
        row = WebhookDelivery(id=number, received_at=at, tenant_id=tenant_id, size=1, digest=b"")
        row.body = sealed
        rows.append(row)
    WebhookDelivery.objects.bulk_create(rows)
    WebhookPending.objects.bulk_create(
        WebhookPending(delivery_id=row.id, received_at=at, tenant_id=tenant_id) for row in rows
    )


def test_it_serves_everybody_in_the_next_batch(acme: Cast, globex: Cast) -> None:
    flood(acme, 900)
    deliver(globex.tenant.id, callback(globex.workspace.external_id, messages=[text("wamid.G")]))

    process_batch(20)

    assert Message.objects.filter(tenant_id=globex.tenant.id).count() == 1
    assert Message.objects.filter(tenant_id=acme.tenant.id).count() in range(9, 21)


def test_it_shares_a_batch_evenly(acme: Cast, globex: Cast) -> None:
    flood(acme, 100)
    flood(globex, 100)

    process_batch(50)

    for cast in (acme, globex):
        assert Message.objects.filter(tenant_id=cast.tenant.id).count() == 25


def test_it_takes_turns_where_there_are_more_tenants_than_places(acme: Cast) -> None:
    others = [provisioning.create_tenant(slug=f"tenant-{n}", name="One of many") for n in range(5)]
    for tenant in (acme.tenant, *others):
        deliver(tenant.id, b"{}")

    batches = [process_batch(2) for _ in range(4)]

    assert sum(batches) == 6
    assert max(batches) == 2


def test_it_finishes_the_oldest_first(acme: Cast, globex: Cast) -> None:
    flood(acme, 30)
    oldest = set(WebhookPending.objects.order_by("delivery_id").values_list("delivery_id")[:10])

    process_batch(10)

    assert {(row,) for row in Message.objects.values_list("delivery_id", flat=True)} == oldest


def test_it_bounds_a_batch_in_bytes_and_shares_those_too(acme: Cast, globex: Cast) -> None:
    flood(acme, 5)
    WebhookPending.objects.update(size=3_000_000)
    flood(globex, 50)

    assert process_batch(100) == 51

    assert Message.objects.filter(tenant_id=globex.tenant.id).count() == 50
    assert process_batch(100) == 1


def test_it_takes_one_callback_however_large(acme: Cast, globex: Cast) -> None:
    for cast in (acme, globex):
        flood(cast, 2)
    WebhookPending.objects.update(size=9_000_000)

    assert [process_batch(100) for _ in range(5)] == [1, 1, 1, 1, 0]


def make_suspect(*, attempts: int) -> None:
    """Let what waits have been in batches whose process ended: a worker was killed, repeatedly."""
    for model in (WebhookDelivery, WebhookPending):
        model.objects.update(received_at=F("received_at") - timedelta(minutes=1))
    WebhookPending.objects.update(attempts=attempts)


def test_it_keeps_nobody_waiting_for_suspects(
    acme: Cast, globex: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processing, "MOST_GROUPS", 1)
    flood(acme, 100)
    make_suspect(attempts=2)
    process_batch(500)
    waiting = WebhookPending.objects.filter(tenant_id=acme.tenant.id).count()
    deliver(globex.tenant.id, callback(globex.workspace.external_id, messages=[text("wamid.G")]))

    process_batch(500)

    assert waiting == 80
    assert Message.objects.filter(tenant_id=globex.tenant.id).count() == 1
    while process_batch(500):
        pass
    assert Message.objects.filter(tenant_id=acme.tenant.id).count() == 100


# They grow with every callback, by thousands between two looks of PostgreSQL's statistics.
GROWING = {
    "contact_identities",
    "contacts",
    "conversations",
    "media",
    "message_statuses",
    "messages",
}
PHONE, USER = "15550100777", "US.13491208655302741918"
# What every batch asks of messages. Of the rest (amendments, stops) there is little.
BY_KEY = {references.RESOLVE, transitions.RECEIVE, receipts.MESSAGES, receipts.SENT_TO}
# Without one of these, each look-up would read the messages of a number, or of a person.
KEYS_OF_MESSAGES = {"id", "inner_key", "platform_message_id", "reply_to", "reply_to_key"}
LOOK_UPS = {"Index Scan", "Index Only Scan", "ModifyTable", "Tid Scan"}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plan's nodes, itself first."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def is_look_up(node: dict[str, Any], *, by_key: bool) -> bool:
    """Whether a step finds no more rows of what grows than those that it is asked for."""
    table, kind = node.get("Relation Name"), node["Node Type"]
    if by_key and table == "messages" and kind not in ("ModifyTable", "Tid Scan"):
        return bool(KEYS_OF_MESSAGES.intersection(re.findall(r"\w+", node.get("Index Cond", ""))))
    return table not in GROWING or kind in LOOK_UPS


def two_who_are_one(cast: Cast) -> None:
    """Write as somebody by number, then by user id, then by both."""
    stated_identities = (
        {"from": PHONE},
        {"from_user_id": USER},
        {"from": PHONE, "from_user_id": USER},
    )
    for number, stated in enumerate(stated_identities):
        message = {**text(f"wamid.ONE{number}"), **stated}
        if "from" not in stated:
            del message["from"]
        deliver(cast.tenant.id, callback(cast.workspace.external_id, messages=[message]))
        process_batch(1)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """Return the plans of the statements that are run with many rows, from the first on."""
    found: dict[str, list[dict[str, Any]]] = {}
    run = bulk.run

    def explained(sql: str, columns: Sequence[str], rows: bulk.Rows) -> list[tuple[Any, ...]]:
        if rows:
            ((plan,),) = run(f"EXPLAIN (FORMAT JSON) {sql}", columns, rows)
            found.setdefault(sql, []).append(plan[0]["Plan"])
        return run(sql, columns, rows)

    monkeypatch.setattr(bulk, "run", explained)
    return found


@pytest.mark.parametrize("is_counted", [False, True])
def test_it_looks_rows_up_in_an_index_and_nothing_else(
    acme: Cast, globex: Cast, plans: dict[str, list[dict[str, Any]]], is_counted: bool
) -> None:
    for cast in (acme, globex):
        business = Business(cast.workspace.waba_id, cast.workspace.external_id)
        traffic = Traffic(business, Mix(batch=5), seed=1, now=1_790_000_000)
        for posted in traffic.callbacks(60):
            deliver(cast.tenant.id, posted.body)
    while process_batch(25):
        if is_counted:
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE messages, contacts, contact_identities")
    for cast in (acme, globex):
        two_who_are_one(cast)

    assert Message.objects.count() > 100
    assert len(plans) > 15
    assert plans.keys() >= BY_KEY | {joining.MERGE, joining.HAND_OVER, conversations.LEAD_ON}
    for sql, of_batches in plans.items():
        for node in chain.from_iterable(map(nodes, of_batches)):
            assert is_look_up(node, by_key=sql in BY_KEY), f"{node} of {sql}"
