"""Receipts at the door: kept one by one, and carried to the message they belong to."""

from __future__ import annotations

import pytest

from connectors.whatsapp import ledger
from connectors.whatsapp.processing import process_batch
from messaging.models import Message, MessageStatus
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, deliver, status, text

pytestmark = pytest.mark.django_db

AT = 1_790_000_000


def receive(cast: Cast, *statuses: dict) -> None:
    deliver(cast.tenant.id, callback(cast.workspace.external_id, statuses=list(statuses)))
    process_batch(10)


def echo(cast: Cast, wamid: str = "wamid.E") -> Message:
    """Receive word of a message that the business wrote in its app."""
    said = {**text(wamid, sender="15550100001"), "to": "15550123456"}
    value = {"field": "smb_message_echoes", "message_echoes": [said]}
    deliver(cast.tenant.id, callback(cast.workspace.external_id, **value))
    process_batch(10)
    return Message.objects.get(tenant_id=cast.tenant.id)


def test_it_carries_a_message_forward_and_keeps_every_first_time(acme: Cast, globex: Cast) -> None:
    theirs, ours = echo(globex), echo(acme)
    for second, word in enumerate(("delivered", "read", "sent", "delivered")):
        receive(acme, status("wamid.E", word, AT + second))

    ours.refresh_from_db()
    theirs.refresh_from_db()

    assert (ours.status, theirs.status) == ("read", None)
    times = {name: moment[-8:-6] for name, moment in sorted(ours.delivery.items())}
    second = {name: int(moment) % 60 for name, moment in times.items()}
    start = second["delivered_at"]
    assert second == {"delivered_at": start, "read_at": start + 1, "sent_at": start + 2}


def test_it_applies_all_receipts_that_came_before_their_message(acme: Cast) -> None:
    errors = [{"code": 131026, "title": "Message undeliverable"}]
    receive(acme, status("wamid.E", "sent", AT, pricing={"category": "utility"}))
    receive(acme, status("wamid.E", "failed", AT + 1, errors=errors))

    message = echo(acme)

    assert message.status == "failed"
    assert message.delivery["pricing"] == {"category": "utility"}
    assert message.delivery["errors"] == errors


def test_it_keeps_the_receipts_of_a_group_apart(acme: Cast) -> None:
    group = {"recipient_type": "group", "recipient_id": "group-id-1"}
    members = [{"recipient_participant_id": f"1555012345{n}"} for n in range(3)]
    receipts = [status("wamid.E", "delivered", AT + n, **group, **m) for n, m in enumerate(members)]
    receive(acme, *receipts)
    receive(acme, *reversed(receipts))

    assert MessageStatus.objects.count() == 3
    assert MessageStatus.objects.values("participant").distinct().count() == 3
    assert ledger.read(acme.tenant.id).duplicates == 3
    assert echo(acme).status == "delivered"


def test_it_takes_the_receipt_of_a_person_without_a_phone(acme: Cast) -> None:
    receipt = {**status("wamid.E", "delivered"), "recipient_user_id": "US.123"}
    del receipt["recipient_id"]
    receive(acme, receipt)
    receive(acme, {key: receipt[key] for key in ("id", "timestamp")} | {"status": "failed"})
    by_word = dict(MessageStatus.objects.values_list("status", "recipient"))
    assert len(by_word["delivered"]) == 64
    assert by_word["failed"] is None


def test_it_keeps_a_word_it_does_not_know_and_moves_nothing(acme: Cast) -> None:
    message = echo(acme)
    receive(acme, status("wamid.E", "sent"), status("wamid.E", "teleported"))
    message.refresh_from_db()
    assert message.status == "sent"
    assert MessageStatus.objects.filter(status="teleported").exists()
    assert [kind.kind for kind in ledger.read(acme.tenant.id).unhandled_kinds] == [
        "status:teleported"
    ]


def test_it_takes_payments_apart_and_leaves_the_message_where_it_was(acme: Cast) -> None:
    message = echo(acme)
    payment = {"type": "payment", "payment": {"reference_id": "r-1"}}
    for second, word in enumerate(("pending", "pending", "captured", "failed")):
        receive(acme, status("wamid.E", word, AT + second, **payment))
    message.refresh_from_db()
    assert MessageStatus.objects.count() == 4
    assert message.status is None
