"""Whatever goes wrong with one callback, and however badly, goes wrong with that one alone."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Length

from connectors.models import DeadKind, WebhookDead, WebhookPending
from connectors.whatsapp import replay
from connectors.whatsapp.processing import process_batch
from messaging.models import Message
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, deliver, text
from tests.whatsapp.trouble import NUMBER, dead_rows, places, refused
from workspaces import keys
from workspaces.models import INSTALLATION_ID, RawKey

pytestmark = pytest.mark.django_db

INSTALLATION = INSTALLATION_ID
LOST, KEPT = ("lost", os.urandom(32)), ("kept", os.urandom(32))
POISON = "poisonous_field"


def post(cast: Cast, wamid: str, **more: object) -> dict:
    return callback(cast.workspace.external_id, messages=[text(wamid)], **more)


@pytest.mark.parametrize("poisoned", [(0,), (4,), (1, 2), (0, 1, 2, 3, 4)])
def test_it_buries_whole_what_fails_beside_the_storing(
    acme: Cast, globex: Cast, poisoned: tuple[int, ...]
) -> None:
    for number in range(5):
        nobodys = callback(NUMBER, field=POISON)
        deliver(acme.tenant.id, nobodys if number in poisoned else post(acme, f"wamid.{number}"))
    deliver(globex.tenant.id, post(globex, "wamid.G"))

    with refused(f"field <> '{POISON}'"):
        assert process_batch(10) == 6

    assert set(WebhookDead.objects.values_list("reason", flat=True)) == {
        "Processing failed: IntegrityError"
    }
    assert places(acme.tenant.id) == (5 - len(poisoned), 0, len(poisoned))
    assert places(globex.tenant.id) == (1, 0, 0)


def test_it_replays_from_raw_what_was_buried_whole(acme: Cast, globex: Cast) -> None:
    for cast in (acme, globex):
        deliver(cast.tenant.id, callback(NUMBER, field=POISON, messages=[text("wamid.1")]))
    with refused(f"field <> '{POISON}'"):
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
    foreign = callback(NUMBER, field=POISON)["entry"]
    mixed = post(acme, "wamid.A")
    mixed["entry"] += foreign
    deliver(INSTALLATION, mixed)
    with refused(f"field <> '{POISON}'"):
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
