"""What the platform reports settles what we do not know, whoever comes first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from random import Random
from uuid import UUID

import pytest
from django.db import connections, transaction

from connectors.whatsapp.processing import process_batch
from lib.envelope import associated_data
from messaging.delivery.claims import Claims
from messaging.delivery.recording import Outcome, record
from messaging.models import Message, MessageStatus, OptOut
from messaging.receipts import SEALED_VALUES, sealed_row
from messaging.sealed_values import fill, open_values
from tests.conftest import Cast
from tests.delivery.outgoing import Platform, accept, pending, queue
from tests.whatsapp import deliveries
from tests.whatsapp.deliveries import callback, status
from workspaces import identity, keys
from workspaces.channel_errors import OutcomeUnknown
from workspaces.channel_facts import AcceptedSend

Deliver = Callable[[], int]
AT = 1_790_000_000
# What was said of a failure, and which receipt keeps what is sealed of it.
SAID = {"errors": [{"code": 1}], "errors_sealed_in": "failed|"}


def report(cast: Cast, message: Message, word: str, at: int = AT, **more: object) -> None:
    """Receive a status webhook about a message, as the platform makes it."""
    said = status(f"wamid.{message.id}", word, at, biz_opaque_callback_data=str(message.id), **more)
    body = callback(cast.workspace.external_id, statuses=[said])
    deliveries.deliver(cast.tenant.id, body)
    process_batch(10)
    message.refresh_from_db()


@pytest.mark.parametrize("word", ["sent", "delivered", "read", "failed"])
def test_it_settles_what_was_unknown(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver, word: str
) -> None:
    message = queue(acme, now)
    platform.answer = lambda request: OutcomeUnknown("No answer.")
    deliver()
    report(acme, message, word)

    assert (message.status, pending(message)) == (word, None)
    wamid = f"wamid.{message.id}"
    assert message.platform_message_id == identity.digester(acme.tenant.id).wamid(wamid)
    place = associated_data(acme.tenant.id, "messages.sealed_id", message.id)
    sealed = bytes(message.sealed_id)
    assert keys.cipher_of(sealed).open(sealed, place).decode() == wamid
    assert (message.attempts, message.delivery["unknown_at"] > "") == (1, True)


@pytest.mark.parametrize("state", ["sending", "unknown", "queued", "failed", "cancelled"])
def test_it_believes_the_platform_whatever_it_thought_itself(
    acme: Cast, now: datetime, deliver: Deliver, state: str
) -> None:
    message = queue(acme, now, status=state, delivery={"failed_at": "x", **SAID})
    report(acme, message, "delivered")

    assert (message.status, pending(message)) == ("delivered", None)
    assert set(message.delivery) == {"delivered_at"}
    assert deliver() == 0


def test_it_keeps_the_report_that_came_before_the_answer(acme: Cast, now: datetime) -> None:
    message = queue(acme, now)
    (claimed,) = Claims(chance=Random(1)).claim(10, {}, most=10, now=now)
    report(acme, message, "read")
    answer = AcceptedSend(f"wamid.{message.id}")
    record([Outcome(claimed.attempt, answer, now)], now=now, chance=Random(1))
    message.refresh_from_db()

    assert (message.status, message.attempts, pending(message)) == ("read", 1, None)


def test_it_applies_a_report_that_came_first_and_did_not_name_the_message(
    acme: Cast, now: datetime, deliver: Deliver
) -> None:
    message = queue(acme, now)
    said = status(f"wamid.{message.id}", "delivered", AT)
    deliveries.deliver(acme.tenant.id, callback(acme.workspace.external_id, statuses=[said]))
    process_batch(10)
    deliver()
    message.refresh_from_db()

    assert message.status == "delivered"


def test_it_never_settles_another_tenants_message(acme: Cast, globex: Cast, now: datetime) -> None:
    message = queue(acme, now, status="unknown")
    report(globex, message, "sent")

    assert (message.status, message.platform_message_id) == ("unknown", None)


@pytest.mark.parametrize("data", ["order-4711", "", "x" * 36, None])
def test_it_takes_others_callback_data_for_what_it_is(acme: Cast, now: datetime, data) -> None:
    message = queue(acme, now, status="unknown")
    said = status("wamid.other", "sent", AT, biz_opaque_callback_data=data)
    deliveries.deliver(acme.tenant.id, callback(acme.workspace.external_id, statuses=[said]))
    process_batch(10)
    message.refresh_from_db()

    assert message.status == "unknown"


def test_it_knows_a_message_whose_id_holds_the_digits_of_a_number(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    message_id = UUID("019a0000-0000-7000-8000-015550123456")
    theirs = queue(globex, now, status="unknown")
    queued = queue(acme, now, status="unknown")
    Message.objects.filter(pk=queued.pk).update(id=message_id)
    message = Message.objects.get(pk=message_id)

    report(acme, message, "delivered")
    theirs.refresh_from_db()

    assert (message.status, theirs.status) == ("delivered", "unknown")
    receipt = MessageStatus.objects.get(tenant_id=acme.tenant.id)
    assert "15550123456" not in (receipt.callback_data or "")
    (values,) = open_values(
        {receipt.pk: bytes(receipt.sealed_values or b"")},
        tenant_id=acme.tenant.id,
        place=SEALED_VALUES,
        binding=lambda _: sealed_row(receipt.status, receipt.participant),
    ).values()
    assert fill(receipt.callback_data, values) == str(message_id)


def test_it_writes_to_nobody_who_told_the_platform_to_stop(acme: Cast, now: datetime) -> None:
    message = queue(acme, now, status="unknown")
    report(acme, message, "failed", errors=[{"code": 131050, "title": "Opted out"}])

    assert OptOut.objects.get().contact_id == message.contact_id


@pytest.mark.django_db(transaction=True)
def test_it_settles_once_when_answer_and_report_come_together(
    acme: Cast, now: datetime, platform: Platform, sender
) -> None:
    message = queue(acme, now)
    reported = threading.Event()

    def process() -> None:
        with transaction.atomic():
            report(acme, message, "delivered")
            reported.set()
            release.wait(120)
        connections.close_all()

    release = threading.Event()
    reporting = threading.Thread(target=process)

    def answer(request: dict) -> AcceptedSend:
        reporting.start()
        assert reported.wait(120)  # its transaction is open while ours wants the row
        threading.Timer(0.2, release.set).start()
        return accept(request)

    platform.answer = answer
    sender.work()
    sender.settle()
    reporting.join()
    message.refresh_from_db()
    assert (message.status, pending(message)) == ("delivered", None)
