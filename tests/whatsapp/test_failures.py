"""What goes wrong with one callback goes wrong with that one alone; what hits everything stops the
work, so that nothing is given up, and all is stored once the cause is fixed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models.functions import Length

from connectors.whatsapp import ledger, processing, replay
from connectors.whatsapp.models import DeadKind, WebhookDead, WebhookPending
from connectors.whatsapp.processing import BRAKE, process_batch
from lib.brake import Stopped
from messaging.models import Message, MessageStatus
from tests.conftest import Cast
from tests.whatsapp.conftest import Web
from tests.whatsapp.deliveries import callback, contact, deliver, status, text
from tests.whatsapp.trouble import (
    NUMBER,
    POISON,
    dead_rows,
    places,
    refused,
    refused_by_the_database,
)
from workspaces import keys
from workspaces.models import INSTALLATION_ID, RawKey

pytestmark = pytest.mark.django_db

INSTALLATION = INSTALLATION_ID
LOST, KEPT = ("lost", os.urandom(32)), ("kept", os.urandom(32))
POISONOUS_FIELD = "poisonous_field"


def post(cast: Cast, wamid: str, **more: object) -> dict:
    return callback(cast.workspace.external_id, messages=[text(wamid)], **more)


@pytest.mark.parametrize("poisoned", [(0,), (4,), (1, 2), (0, 1, 2, 3, 4)])
def test_it_gives_up_whole_what_fails_beside_the_storing(
    acme: Cast, globex: Cast, poisoned: tuple[int, ...]
) -> None:
    for number in range(5):
        nobodys = callback(NUMBER, field=POISONOUS_FIELD)
        deliver(acme.tenant.id, nobodys if number in poisoned else post(acme, f"wamid.{number}"))
    deliver(globex.tenant.id, post(globex, "wamid.G"))

    with refused(f"field <> '{POISONOUS_FIELD}'"):
        assert process_batch(10) == 6

    assert set(WebhookDead.objects.values_list("reason", flat=True)) == {
        "Processing failed: IntegrityError"
    }
    assert places(acme.tenant.id) == (5 - len(poisoned), 0, len(poisoned))
    assert places(globex.tenant.id) == (1, 0, 0)


def test_it_replays_from_raw_a_callback_parked_whole(acme: Cast, globex: Cast) -> None:
    for cast in (acme, globex):
        deliver(cast.tenant.id, callback(NUMBER, field=POISONOUS_FIELD, messages=[text("wamid.1")]))
    with refused(f"field <> '{POISONOUS_FIELD}'"):
        process_batch(10)

    replay.replay(dead_rows())

    row = WebhookDead.objects.filter(tenant_id=acme.tenant.id).get()
    assert (row.kind, row.phone_number_id) == (DeadKind.QUARANTINE, NUMBER)
    assert places(acme.tenant.id) == places(globex.tenant.id) == (0, 1, 0)


@pytest.fixture
def acme_lost_its_master_key(settings, acme: Cast, globex: Cast) -> None:
    """Acme's day key of today is wrapped by a key that is not configured any more."""
    settings.SIGMA_MASTER_KEYS = (LOST, *settings.SIGMA_MASTER_KEYS)
    keys.day_cipher(acme.tenant.id, datetime.now(UTC).date())
    deliver(acme.tenant.id, post(acme, "wamid.A"))
    settings.SIGMA_MASTER_KEYS = settings.SIGMA_MASTER_KEYS[1:]
    keys.forget()


def test_it_goes_on_without_a_tenant_whose_master_key_is_missing(
    acme: Cast, globex: Cast, acme_lost_its_master_key: None, settings
) -> None:
    deliver(globex.tenant.id, post(globex, "wamid.G"))

    process_batch(10)

    assert "'lost' is not configured" in WebhookDead.objects.get().reason
    assert (places(acme.tenant.id), places(globex.tenant.id)) == ((0, 0, 1), (1, 0, 0))
    assert replay.replay(dead_rows()).processed == 0

    settings.SIGMA_MASTER_KEYS = (*settings.SIGMA_MASTER_KEYS, LOST)
    assert replay.replay(dead_rows()).processed == 1
    assert places(acme.tenant.id) == (1, 0, 0)


def test_it_hands_out_to_others_while_one_master_key_is_missing(
    acme: Cast, globex: Cast, acme_lost_its_master_key: None, settings
) -> None:
    for cast in (acme, globex):
        deliver(INSTALLATION, post(cast, "wamid.S"))

    while process_batch(10):
        pass

    assert Message.objects.get().tenant_id == globex.tenant.id
    settings.SIGMA_MASTER_KEYS = (*settings.SIGMA_MASTER_KEYS, LOST)
    assert replay.replay(dead_rows()).processed == 2
    process_batch(10)
    assert places(acme.tenant.id) == (2, 0, 0)
    assert places(INSTALLATION)[1:] == (0, 0)


def test_it_keeps_no_key_in_memory_that_was_rolled_back(acme: Cast, globex: Cast) -> None:
    foreign = callback(NUMBER, field=POISONOUS_FIELD)["entry"]
    mixed = post(acme, "wamid.A")
    mixed["entry"] += foreign
    deliver(INSTALLATION, mixed)
    with refused(f"field <> '{POISONOUS_FIELD}'"):
        process_batch(1)
    assert not RawKey.objects.filter(tenant_id=acme.tenant.id).exists()

    replay.replay(dead_rows())
    keys.forget()  # as in another process
    process_batch(1)

    assert places(acme.tenant.id) == (1, 0, 0)


def waited_long(cast: Cast, *wamids: str, attempts: int) -> list[int]:
    """Put callbacks there that were tried before."""
    at = datetime.now(UTC) - timedelta(minutes=1)
    ids = [deliver(cast.tenant.id, post(cast, wamid), at=at) for wamid in wamids]
    WebhookPending.objects.filter(delivery_id__in=ids).update(attempts=attempts)
    return ids


@pytest.mark.parametrize("attempts", range(5))
def test_it_processes_what_waited_long(acme: Cast, globex: Cast, attempts: int) -> None:
    waited_long(acme, "wamid.1", "wamid.2", attempts=attempts)
    deliver(globex.tenant.id, post(globex, "wamid.G"))

    assert process_batch(10) == 3

    assert places(acme.tenant.id) == (2, 0, 0)
    assert places(globex.tenant.id) == (1, 0, 0)


def test_it_gives_up_on_what_ended_every_process_that_tried(acme: Cast, globex: Cast) -> None:
    waited_long(acme, "wamid.1", attempts=5)
    waited_long(globex, "wamid.G", attempts=4)

    process_batch(10)

    assert "Gave up after 5 attempts" in WebhookDead.objects.get().reason
    assert (places(acme.tenant.id), places(globex.tenant.id)) == ((0, 0, 1), (1, 0, 0))
    assert replay.replay(dead_rows()).processed == 1
    assert places(acme.tenant.id) == (1, 0, 0)


def test_it_leaves_alone_what_another_just_began_to_try(acme: Cast, globex: Cast) -> None:
    ids = waited_long(acme, "wamid.1", attempts=1)
    WebhookPending.objects.filter(delivery_id__in=ids).update(tried_at=datetime.now(UTC))
    waited_long(globex, "wamid.G", attempts=0)

    assert process_batch(10) == 1

    assert Message.objects.get().tenant_id == globex.tenant.id
    assert WebhookPending.objects.get().attempts == 1


@pytest.mark.parametrize("beside", ["metadata", "junk"])
def test_it_makes_no_large_rows_of_a_small_callback(acme: Cast, globex: Cast, beside: str) -> None:
    body = callback(acme.workspace.external_id, messages=[5] * 400)
    value = body["entry"][0]["changes"][0]["value"]
    value.setdefault(beside, {})["junk"] = "x" * 200_000
    deliver(acme.tenant.id, body)
    deliver(globex.tenant.id, post(globex, "wamid.G"))

    process_batch(10)

    rows = WebhookDead.objects.annotate(length=Length("sealed"))
    assert sum(row.length for row in rows) < 2_000_000
    assert sum(row.updates for row in rows) == 400
    assert places(acme.tenant.id) == (0, 0, 400)
    replay.replay(dead_rows())
    assert places(acme.tenant.id) == (0, 0, 400)
    assert places(globex.tenant.id) == (1, 0, 0)


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(statement)


@contextmanager
def renamed(table: str, column: str) -> Iterator[None]:
    """For a while the worker's statements name a column that is not there."""
    run(f"ALTER TABLE {table} RENAME {column} TO elsewhere")
    try:
        yield
    finally:
        run(f"ALTER TABLE {table} RENAME elsewhere TO {column}")


@contextmanager
def newer_schema() -> Iterator[None]:
    """For a while the worker is older than the schema: it leaves a column out."""
    run("ALTER TABLE messages ADD novelty int NOT NULL DEFAULT 0")
    run("ALTER TABLE messages ALTER novelty DROP DEFAULT")
    yield
    run("ALTER TABLE messages DROP novelty")


def body_of(cast: Cast, number: int) -> dict:
    wamid = f"wamid.{cast.tenant.slug}.{number}"
    return callback(
        cast.workspace.external_id,
        contacts=[contact()],
        messages=[text(wamid)],
        statuses=[status(f"wamid.sent.{number}", "read")],
    )


def trial() -> bool:
    """Try what a worker would; return whether the work is stopped."""
    try:
        while process_batch(100):
            pass
    except Stopped as stopped:
        BRAKE.stop(stopped)
        return True
    return False


def assert_all_stored(*casts: Cast, each: int) -> None:
    assert not WebhookPending.objects.exists()
    for cast in casts:
        entry = ledger.read(cast.tenant.id, verify=True)
        assert (entry.balanced, entry.dead, entry.pending) == (True, 0, 0)
        assert Message.objects.filter(tenant_id=cast.tenant.id).count() == each
        assert MessageStatus.objects.filter(tenant_id=cast.tenant.id).count() == each


@pytest.mark.django_db(transaction=True)
def test_it_stores_all_that_came_while_a_column_was_missing(
    acme: Cast, globex: Cast, web: Web, no_wake_ups, caplog: pytest.LogCaptureFixture
) -> None:
    with renamed("messages", "text"):
        for number in range(20):
            for cast in (acme, globex):
                assert web.post(cast, json.dumps(body_of(cast, number)).encode()).status_code == 200
            assert processing.drain(0) == 0
        health = web.client.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert health.json()["stopped"] == {"callbacks": "ProgrammingError: UndefinedColumn"}

    assert [r.getMessage() for r in caplog.records if "stopped" in r.message] == [
        "whatsapp work stopped, all of it stays pending"
    ]
    assert not trial()
    assert_all_stored(acme, globex, each=20)
    assert "stopped" not in web.client.get("/healthz").json()


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("contacts", "display_name"),
        ("message_statuses", "errors"),
        ("webhook_ledger", "processed"),
        ("webhook_pending", "size"),
    ],
)
@pytest.mark.parametrize("count", [1, 12])
def test_it_gives_nothing_up_for_want_of_a_column(
    acme: Cast, globex: Cast, table: str, column: str, count: int
) -> None:
    for number in range(count):
        for cast in (acme, globex):
            deliver(cast.tenant.id, body_of(cast, number))

    with renamed(table, column):
        assert [trial(), trial()] == [True, True]
        assert not WebhookDead.objects.exists()

    assert not trial()
    assert_all_stored(acme, globex, each=count)


def test_it_gives_nothing_up_where_the_schema_is_newer(acme: Cast, globex: Cast) -> None:
    for number in range(12):
        for cast in (acme, globex):
            deliver(cast.tenant.id, body_of(cast, number))

    with newer_schema():
        assert [trial() for _ in range(7)] == [True] * 7
        assert not WebhookDead.objects.exists()

    assert not trial()
    assert_all_stored(acme, globex, each=12)


def test_it_gives_few_up_that_come_one_by_one(acme: Cast, globex: Cast) -> None:
    """Alone, one of a few may be poison; many in a row with nothing between them are not."""
    for number in range(12):
        deliver(acme.tenant.id, body_of(acme, number))
        with newer_schema():
            trial()

    assert WebhookDead.objects.count() < 5
    assert BRAKE.is_on


def test_it_gives_nothing_up_for_want_of_the_master_keys(
    acme: Cast, globex: Cast, settings
) -> None:
    for number in range(6):
        for cast in (acme, globex):
            deliver(cast.tenant.id, body_of(cast, number))
    right, settings.SIGMA_MASTER_KEYS = settings.SIGMA_MASTER_KEYS, (("other", os.urandom(32)),)
    keys.forget()

    assert [trial(), trial()] == [True, True]

    assert not WebhookDead.objects.exists()
    settings.SIGMA_MASTER_KEYS = right
    assert not trial()
    assert_all_stored(acme, globex, each=6)


def test_it_gives_nothing_up_however_long_it_lasts(acme: Cast, globex: Cast) -> None:
    """What waits long is tried with a note; a trial that its process survived is none."""
    long_ago = datetime.now(UTC) - timedelta(minutes=1)
    for cast in (acme, globex):
        deliver(cast.tenant.id, body_of(cast, 1), at=long_ago)

    with renamed("contacts", "display_name"):
        for _ in range(8):
            WebhookPending.objects.update(tried_at=None)
            assert trial()

    WebhookPending.objects.update(tried_at=None)
    assert not trial()
    assert_all_stored(acme, globex, each=1)


def test_it_goes_on_with_what_does_not_need_the_column(acme: Cast, globex: Cast) -> None:
    for number in range(8):
        sent = status(f"wamid.sent.{number}", "read")
        deliver(acme.tenant.id, callback(acme.workspace.external_id, statuses=[sent]))
        hello = text(f"wamid.{number}")
        deliver(globex.tenant.id, callback(globex.workspace.external_id, messages=[hello]))

    with renamed("message_statuses", "errors"):
        assert not trial()
        assert Message.objects.filter(tenant_id=globex.tenant.id).count() == 8
        assert set(WebhookPending.objects.values_list("tenant_id", flat=True)) == {acme.tenant.id}

    WebhookPending.objects.update(tried_at=None)
    assert not trial()
    assert MessageStatus.objects.filter(tenant_id=acme.tenant.id).count() == 8
    assert not WebhookDead.objects.exists()


def test_it_lets_part_of_the_work_wait_for_as_long_as_it_takes(acme: Cast, globex: Cast) -> None:
    long_ago = datetime.now(UTC) - timedelta(minutes=1)
    number = acme.workspace.external_id
    deliver(acme.tenant.id, callback(number, statuses=[status("wamid.S", "read")]), at=long_ago)

    with renamed("message_statuses", "errors"):
        for turn in range(8):
            WebhookPending.objects.update(tried_at=None)
            hello = text(f"wamid.{turn}")
            deliver(globex.tenant.id, callback(globex.workspace.external_id, messages=[hello]))
            assert not trial()

    WebhookPending.objects.update(tried_at=None)
    assert not trial()
    assert Message.objects.filter(tenant_id=globex.tenant.id).count() == 8
    assert MessageStatus.objects.filter(tenant_id=acme.tenant.id).count() == 1
    assert not WebhookDead.objects.exists()


def test_it_is_not_stopped_for_ever_by_poison(acme: Cast, globex: Cast) -> None:
    """More poison than a batch holds, with one good callback behind it."""
    number = acme.workspace.external_id
    for n in range(60):
        deliver(acme.tenant.id, callback(number, messages=[text(f"wamid.{n}", POISON)]))
    deliver(acme.tenant.id, callback(number, messages=[text("wamid.good")]))

    with refused_by_the_database():
        with pytest.raises(Stopped) as stopped:
            process_batch(20)
        BRAKE.stop(stopped.value)
        while not Message.objects.exists():
            trial()

        deliver(
            globex.tenant.id, callback(globex.workspace.external_id, messages=[text("wamid.G")])
        )
        trial()

    assert Message.objects.filter(tenant_id=globex.tenant.id).exists()
    assert WebhookDead.objects.filter(tenant_id=acme.tenant.id).exists()
