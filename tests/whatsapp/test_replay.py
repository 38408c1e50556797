"""Poison alone is parked, and what was parked is processed again: by an operator, or by itself."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from connectors.whatsapp import ledger, replay
from connectors.whatsapp.models import DeadKind, DeadState, WebhookDead
from connectors.whatsapp.processing import process_batch
from messaging.models import Message, MessageStatus
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, contact, deliver, status, text
from tests.whatsapp.trouble import (
    NUMBER,
    POISON,
    dead_rows,
    places,
    refused,
    refused_by_the_database,
)
from workspaces import keys, ownership, provisioning
from workspaces.models import INSTALLATION_ID, Proof, Tenant, TenantStatus

pytestmark = pytest.mark.django_db

INSTALLATION = INSTALLATION_ID
FINE = text("wamid.fine", "Fine")


def texts(count: int, *poisoned: int) -> list[dict]:
    return [text(f"wamid.{n}", POISON if n in poisoned else f"Fine {n}") for n in range(count)]


def open_rows() -> list[int]:
    return list(WebhookDead.objects.filter(state=DeadState.OPEN).values_list("id", flat=True))


@pytest.mark.parametrize("poisoned", [(0,), (6,), (2, 3), (0, 1, 2, 3, 4, 5, 6)])
def test_it_parks_the_poison_and_nothing_else(
    acme: Cast, globex: Cast, poisoned: tuple[int, ...]
) -> None:
    number = acme.workspace.external_id
    receipt = status("wamid.sent", "read")
    deliver(acme.tenant.id, callback(number, messages=texts(7, *poisoned), statuses=[receipt]))
    deliver(globex.tenant.id, callback(globex.workspace.external_id, messages=[text("wamid.G")]))

    with refused_by_the_database():
        process_batch(10)

    fine = {f"Fine {n}" for n in range(7) if n not in poisoned}
    assert (
        set(Message.objects.filter(tenant_id=acme.tenant.id).values_list("text", flat=True)) == fine
    )
    assert places(acme.tenant.id) == (len(fine) + 1, 0, len(poisoned))
    assert places(globex.tenant.id) == (1, 0, 0)
    assert MessageStatus.objects.count() == 1


def test_it_says_why_without_quoting_what_was_said(acme: Cast, caplog) -> None:
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=texts(3, 1)))

    with refused_by_the_database():
        process_batch(10)

    row = WebhookDead.objects.get()
    assert (row.kind, row.reason) == (DeadKind.DEAD, "Storing failed: IntegrityError")
    assert POISON.encode() not in bytes(row.sealed)
    assert POISON not in caplog.text


def test_it_stores_the_dead_once_the_cause_is_gone(acme: Cast, globex: Cast) -> None:
    body = callback(acme.workspace.external_id, messages=texts(3, 1), contacts=[contact()])
    deliver(acme.tenant.id, body)
    with refused_by_the_database():
        process_batch(10)
        assert (
            replay.replay(open_rows()).processed == 0
        )  # still refused: one more attempt, no more rows
    row = WebhookDead.objects.get()
    assert (row.attempts, places(acme.tenant.id)) == (2, (2, 0, 1))

    assert replay.replay(open_rows()).processed == 1

    message = Message.objects.get(text=POISON)
    assert message.contact.display_name == "Alice"
    assert WebhookDead.objects.get().state == DeadState.REPLAYED
    assert places(acme.tenant.id) == (3, 0, 0)


def test_it_replays_once(acme: Cast) -> None:
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=texts(1, 0)))
    with refused_by_the_database():
        process_batch(10)
    rows = open_rows()

    assert [replay.replay(rows).processed, replay.replay(rows).processed] == [1, 0]

    assert Message.objects.count() == 1
    assert places(acme.tenant.id) == (1, 0, 0)


def test_it_counts_a_replay_of_what_came_again_meanwhile_as_a_duplicate(acme: Cast) -> None:
    body = callback(acme.workspace.external_id, messages=texts(1, 0))
    deliver(acme.tenant.id, body)
    with refused_by_the_database():
        process_batch(10)
    deliver(acme.tenant.id, body)
    process_batch(10)

    replay.replay(open_rows())

    assert Message.objects.count() == 1
    assert ledger.read(acme.tenant.id).duplicates == 1
    assert places(acme.tenant.id) == (2, 0, 0)


def test_it_releases_a_tenants_quarantine_when_the_workspace_is_made(
    acme: Cast, globex: Cast
) -> None:
    for cast in (acme, globex):
        deliver(cast.tenant.id, callback("300000000000003", messages=[text("wamid.N")]))
    process_batch(10)
    assert replay.releasable() == []

    provisioning.create_workspace(
        tenant_id=acme.tenant.id, name="New", external_id="300000000000003"
    )
    assert replay.replay(replay.releasable()).processed == 1

    assert Message.objects.get().tenant_id == acme.tenant.id
    assert places(acme.tenant.id) == (1, 0, 0)
    assert places(globex.tenant.id) == (0, 1, 0)


def test_it_hands_a_shared_quarantine_to_its_new_owner(acme: Cast, globex: Cast, now) -> None:
    deliver(INSTALLATION, callback("300000000000003", messages=[text("wamid.N")]))
    process_batch(10)
    workspace = provisioning.create_workspace(
        tenant_id=globex.tenant.id, name="New", external_id="300000000000003"
    )
    ownership.prove_number(workspace, Proof.TOKEN, now=now)

    replay.replay(replay.releasable())
    process_batch(10)

    assert Message.objects.get().tenant_id == globex.tenant.id
    assert places(INSTALLATION)[1:] == (0, 0)
    assert places(globex.tenant.id) == (1, 0, 0)
    assert places(acme.tenant.id) == (0, 0, 0)


def test_it_says_so_where_the_key_of_the_day_is_gone(acme: Cast, now) -> None:
    deliver(acme.tenant.id, callback("300000000000003", messages=[text("wamid.N")]))
    process_batch(10)
    keys.destroy_all(acme.tenant.id)

    assert replay.replay(open_rows()).processed == 0

    assert "destroyed" in WebhookDead.objects.get().reason
    assert places(acme.tenant.id) == (0, 1, 0)


def test_it_files_a_dead_body_update_by_update_once_it_can_be_read(acme: Cast) -> None:
    """A body that a newer version can read holds several updates, each with a place of its own."""
    number = acme.workspace.external_id
    deliver(acme.tenant.id, callback(number, messages=texts(4, 1, 2)))
    with refused_by_the_database():
        process_batch(10)

    with refused_by_the_database():
        replay.replay(open_rows())
    assert places(acme.tenant.id) == (2, 0, 2)

    assert replay.replay(open_rows()).processed == 2
    assert places(acme.tenant.id) == (4, 0, 0)


def replayed(*options: str) -> dict:
    """Run the command and return what it says."""
    out = StringIO()
    call_command("replay", "--json", *options, stdout=out)
    return json.loads(out.getvalue())


@pytest.fixture
def parked(acme: Cast, globex: Cast) -> None:
    """Two dead rows and a quarantined one of acme's, one dead of globex's."""
    for cast, count in ((acme, 2), (globex, 1)):
        number = cast.workspace.external_id
        deliver(cast.tenant.id, callback(number, messages=[*texts(count, *range(count)), FINE]))
    deliver(acme.tenant.id, callback("300000000000003", messages=[text("wamid.N")]))
    with refused_by_the_database():
        process_batch(10)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ((), 4),
        (("--tenant", "acme"), 3),
        (("--tenant", "acme", "--kind", "dead"), 2),
        (("--reason", "Storing failed: Integrity"), 3),
        (("--reason", "Parsing failed"), 0),
        (("--since", "2026-01-01"), 4),
        (("--until", "2026-01-01T10:00+02:00"), 0),
        (("--limit", "1"), 1),
        (("--tenant", "shared"), 0),
    ],
)
def test_it_replays_what_is_selected(parked: None, options: tuple[str, ...], count: int) -> None:
    planned = replayed("--dry-run", *options)
    assert planned["rows"] == sum(line["rows"] for line in planned["would_replay"]) == count
    assert len(open_rows()) == 4

    assert replayed(*options)["tried"] == count


def test_it_leaves_the_rest_where_everything_fails_alike(parked: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE contacts RENAME display_name TO elsewhere")

    with pytest.raises(CommandError, match="UndefinedColumn"):
        replayed("--kind", "dead")

    assert set(WebhookDead.objects.values_list("attempts", flat=True)) == {1}
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE contacts RENAME elsewhere TO display_name")
    assert replayed("--kind", "dead") == {"tried": 3, "processed": 3, "rows": 3, "stopped": ""}


def test_it_releases_all_updates_of_a_row(acme: Cast, globex: Cast) -> None:
    messages = [text(f"wamid.{number}", sender=f"1555010{number:04}") for number in range(300)]
    people = [{"wa_id": message["from"], "profile": {"name": "A"}} for message in messages]
    for cast in (acme, globex):
        body = callback(NUMBER, messages=messages, contacts=people)
        body["entry"][0]["changes"][0]["value"]["metadata"]["junk"] = "x" * 100_000
        deliver(cast.tenant.id, body)
    process_batch(10)
    provisioning.create_workspace(tenant_id=acme.tenant.id, name="New", external_id=NUMBER)

    replay.replay(replay.releasable())

    assert places(acme.tenant.id) == (300, 0, 0)
    assert places(globex.tenant.id) == (0, 300, 0)
    named = Message.objects.filter(contact__display_name="A", tenant_id=acme.tenant.id)
    assert named.count() == 300


def quarantined(*casts: Cast) -> None:
    """Park an update for each, and give each the workspace it waited for."""
    for number, cast in enumerate(casts):
        deliver(cast.tenant.id, callback(f"{NUMBER}{number}", messages=[text("wamid.Q")]))
    process_batch(10)
    for number, cast in enumerate(casts):
        provisioning.create_workspace(
            tenant_id=cast.tenant.id, name="New", external_id=f"{NUMBER}{number}"
        )


def test_it_releases_nothing_to_a_tenant_on_its_way_out(acme: Cast, globex: Cast) -> None:
    quarantined(acme, globex)
    Tenant.objects.filter(pk=acme.tenant.pk).update(status=TenantStatus.ERASING)

    assert replay.replay(replay.releasable()).processed == 1

    assert Message.objects.get().tenant_id == globex.tenant.id
    assert replay.releasable() == []


def test_it_replays_the_rest_where_one_row_fails(acme: Cast, globex: Cast) -> None:
    quarantined(acme, globex)

    with refused(f"state <> 'REPLAYED' OR phone_number_id <> '{NUMBER}0'"):
        assert replay.replay(dead_rows()).processed == 1

    row = WebhookDead.objects.get(tenant_id=acme.tenant.id)
    assert (row.reason, row.attempts) == ("Replay failed: IntegrityError", 2)
    assert (places(acme.tenant.id), places(globex.tenant.id)) == ((0, 1, 0), (1, 0, 0))


def test_it_stops_releasing_what_fails_every_time(acme: Cast, globex: Cast) -> None:
    quarantined(acme, globex)
    WebhookDead.objects.filter(tenant_id=acme.tenant.id).update(attempts=replay.MOST_ATTEMPTS)

    assert replay.replay(replay.releasable()).processed == 1

    assert Message.objects.get().tenant_id == globex.tenant.id
