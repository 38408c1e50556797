"""No number and no hidden id stays behind of what a linked device sent and received."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from random import Random

import pytest

from connectors.linked_device.delivering import Deliverer
from connectors.linked_device.events import ChatMember, ReceiptArrived, Sent
from connectors.linked_device.intake import DeviceInbox
from connectors.whatsapp.processing import process_batch
from lib import wakeups
from messaging.models import Message, MessageStatus
from messaging.sending import queueing
from tests.conftest import Cast
from tests.linked_device.sends import FakeDevice, leased, linked, said
from tests.privacy import places
from tests.sending.conftest import request_to
from tests.whatsapp.deliveries import callback, deliver, text
from workspaces.channel_errors import Rejected

pytestmark = pytest.mark.django_db(transaction=True)

# All whom this test names begin so; the hidden id too.
PLANTED = "84719934"
NUMBERS = places.disguises(PLANTED)
WRITER = ChatMember(phone=f"27{PLANTED}1", lid=f"{PLANTED}0000011", name=f"Al +27{PLANTED}1")
HIDDEN = ChatMember(lid=f"{PLANTED}0000012", name="Bo")
OWNER = ChatMember(phone=f"27{PLANTED}0")
GROUP = f"27{PLANTED}0-1600000000@g.us"


def leaks(contents: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(where, text[:300]) for where, text in contents if places.found_in(text, NUMBERS)]


def send(cast: Cast, now: datetime) -> None:
    """Send to two people, one of whom is refused in words that a library might use."""
    session, seconds = linked(cast), [0.0]

    def answer(number: str, text: str) -> Sent | Exception:
        refused = RuntimeError(f"no such user {number}@s.whatsapp.net")
        return {"4": refused, "5": Rejected(131026, "Not on WhatsApp.")}.get(
            number[-1], Sent(f"3EB0{number[-1]}")
        )

    deliverer = Deliverer(
        session=session,
        lease=leased(session),
        send_text=FakeDevice(answer).send_text,
        clock=lambda: seconds[0],
        chance=Random(1),
    )
    for last in "345":
        wanted = request_to(cast, phone=f"+27 {PLANTED[:2]} {PLANTED[2:]}{last}")
        queueing.queue(tenant_id=cast.tenant.id, request=wanted, now=now)
    while Message.objects.filter(status="queued", tenant_id=cast.tenant.id).exists():
        seconds[0] += deliverer.send_next(now) + 0.001


def receive(cast: Cast, now: datetime) -> None:
    """Receive everything that a device may report."""
    DeviceInbox(session=linked(cast)).keep(
        [
            said(now, "A", who=WRITER, text="Hello"),
            said(now, "B", who=HIDDEN),
            said(now, "C", who=WRITER, sender=OWNER, from_me=True),
            said(now, "D", who=WRITER, group_id=GROUP),
            said(now, "E", who=WRITER, kind="image", text=None, mime_type="image/jpeg"),
            said(now, "F", who=WRITER, kind=f"kind +27{PLANTED}1"),
            said(now, f"27{PLANTED}1", who=WRITER, kind="reaction", quoted_id="A", emoji="👍"),
            ReceiptArrived((f"27{PLANTED}2", "3EB03"), WRITER, "read", now),
        ],
        now=now,
    )
    # And what is parked.
    body = callback(cast.workspace.external_id, messages=[text("wamid.X", sender=WRITER.phone)])
    deliver(cast.tenant.id, body)
    process_batch(100)


def test_it_leaves_no_number_anywhere(
    acme: Cast, globex: Cast, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        with caplog.at_level(logging.INFO):
            for cast in (acme, globex):
                send(cast, now)
                receive(cast, now)
        assert leaks(places.rows()) == []
        assert leaks(places.broker_entries()) == []
        assert leaks(("log", line) for line in places.log_lines(caplog.records)) == []

        # It was all taken in, or the search would prove nothing.
        for cast in (acme, globex):
            mine = Message.objects.filter(tenant_id=cast.tenant.id)
            sent = mine.filter(source="API").order_by("pk").values_list("status", flat=True)
            assert list(sent) == ["read", "unknown", "failed"]
            assert mine.exclude(source="API").count() == 7
        assert MessageStatus.objects.count() == 4
    finally:
        broker = wakeups.broker()
        for key in (*broker.scan_iter("sigma:*"), "send", "ingest", "events"):
            broker.delete(key)
