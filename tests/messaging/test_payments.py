"""Payments that messages asked for: told beside the message's own status, and readable."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from connectors.events.models import OutgoingEvent
from connectors.whatsapp.processing import process_batch
from messaging.models import Message, MessageStatus
from messaging.sealed_values import PURGED
from tests.conftest import Cast
from tests.events.test_outbox import subscribe
from tests.graphql.conftest import Gql, gql
from tests.messaging.test_sealed_values import purge
from tests.whatsapp.deliveries import callback, deliver, status, text

__all__ = ("gql",)

pytestmark = pytest.mark.django_db

PHONE = "15550123456"
READ = """query($id: ID!) { message(id: $id) { status statuses { status } payments {
    status referenceId amount currency transactionId transactionType transactionStatus details
} } }"""
PAYMENT = {
    "reference_id": f"order-{PHONE}",
    "amount": {"value": 21000, "offset": 100},
    "currency": "INR",
    "transaction": {
        "id": "tx-24681012",
        "type": "upi",
        "status": "failed",
        "error": {"code": "declined", "reason": "No funds"},
    },
}


@pytest.fixture
def asked(acme: Cast) -> Message:
    """A message of the business that asked for a payment, was read, and whose payment failed."""
    echo = {**text("wamid.P", sender="15550100001"), "to": PHONE}
    number = acme.workspace.external_id
    deliver(acme.tenant.id, callback(number, field="smb_message_echoes", message_echoes=[echo]))
    paid = status("wamid.P", "failed", type="payment", payment=PAYMENT)
    deliver(acme.tenant.id, callback(number, statuses=[status("wamid.P", "read"), paid]))
    process_batch(10)
    return Message.objects.get(tenant_id=acme.tenant.id)


def test_it_tells_of_a_failed_payment_beside_the_message(
    gql: Gql, acme: Cast, globex: Cast, asked: Message
) -> None:
    found = gql(acme, READ, id=str(asked.id)).data["message"]
    headers = {"Authorization": f"Bearer {acme.api_key}"}
    by_rest = Client().get(f"/api/v1/messages/{asked.id}", headers=headers).json()

    assert (found["status"], found["statuses"]) == ("read", [{"status": "read"}])
    assert found["payments"] == [
        {
            "status": "failed",
            "referenceId": PAYMENT["reference_id"],
            "amount": "210",
            "currency": "INR",
            "transactionId": "tx-24681012",
            "transactionType": "upi",
            "transactionStatus": "failed",
            "details": PAYMENT,
        }
    ]
    assert by_rest["payments"][0]["reference_id"] == PAYMENT["reference_id"]
    assert by_rest["payments"][0]["amount"] == "210"
    assert gql(globex, READ, id=str(asked.id)).data["message"] is None


def test_it_keeps_no_number_of_a_payment_at_rest(gql: Gql, acme: Cast, asked: Message) -> None:
    row = MessageStatus.objects.get(status="failed")
    assert PHONE not in json.dumps(row.payment)

    purge(acme)

    (payment,) = gql(acme, READ, id=str(asked.id)).data["message"]["payments"]
    assert (payment["referenceId"], payment["amount"]) == (PURGED, "210")


@pytest.mark.parametrize("value", ["1e-99999", "1e99999", "NaN", "-Infinity", "a lot"])
def test_it_shows_no_amount_that_nobody_pays(
    gql: Gql, acme: Cast, asked: Message, value: str
) -> None:
    odd = {**PAYMENT, "amount": {"value": value, "offset": 100}}
    paid = status("wamid.P", "captured", 1_790_000_100, type="payment", payment=odd)
    deliver(acme.tenant.id, callback(acme.workspace.external_id, statuses=[paid]))
    process_batch(10)

    found = gql(acme, READ, id=str(asked.id)).data["message"]["payments"]

    assert [one["amount"] for one in found] == ["210", None]


def test_it_emits_an_event_of_a_payment(acme: Cast, globex: Cast, asked: Message) -> None:
    for cast in (acme, globex):
        subscribe(cast)
    paid = status("wamid.P", "captured", 1_790_000_100, type="payment", payment=PAYMENT)

    deliver(acme.tenant.id, callback(acme.workspace.external_id, statuses=[paid]))
    process_batch(10)

    event = OutgoingEvent.objects.get()
    mine = {"message_id": str(asked.id), "workspace_id": str(acme.workspace.id)}
    assert (event.tenant_id, event.type) == (acme.tenant.id, "payment.updated")
    assert event.data == {**mine, "status": "captured"}
