"""What Meta says of a time is bounded by when it arrived."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connectors.whatsapp.processing import process_batch
from messaging.models import Conversation, Message, MessageStatus
from messaging.optouts import opted_out
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, contact, deliver, status, text

pytestmark = pytest.mark.django_db

ARRIVED = datetime(2026, 11, 20, 12, 0, 0, 500_000, tzinfo=UTC)
SAID = int(datetime(2026, 11, 20, 11, 59, tzinfo=UTC).timestamp())
DAY = 86_400


def receive(cast: Cast, at: object, wamid: str = "wamid.1", body: str = "Hello") -> Message:
    said = {**text(wamid, body), "timestamp": at}
    value = {"messages": [said], "contacts": [contact()]}
    deliver(cast.tenant.id, callback(cast.workspace.external_id, **value), at=ARRIVED)
    process_batch(10)
    return Message.objects.get(tenant_id=cast.tenant.id, text=body)


@pytest.mark.parametrize(
    ("told", "stored"),
    [
        (str(SAID), datetime.fromtimestamp(SAID, UTC)),
        (SAID - 7 * DAY, datetime.fromtimestamp(SAID - 7 * DAY, UTC)),
        (str(SAID + 90), datetime.fromtimestamp(SAID + 90, UTC)),  # half a minute ahead of us
        (str(SAID * 1000 + 123), datetime.fromtimestamp(SAID, UTC)),
        (str(SAID + 3 * DAY), ARRIVED),
        (SAID + 300, ARRIVED),
        ((SAID + 3 * DAY) * 1000, ARRIVED),
        ("100000000000", ARRIVED),  # the year 5138
        ("99999999999999999999", ARRIVED),
        ("0", ARRIVED),
        ("-1767225600", ARRIVED),
        ("86400", ARRIVED),
        ("tomorrow", ARRIVED),
        (None, ARRIVED),
    ],
)
def test_it_takes_no_time_that_cannot_be(
    acme: Cast, globex: Cast, told: object, stored: datetime
) -> None:
    receive(globex, str(SAID))
    message = receive(acme, told)

    assert message.timestamp_utc == stored
    conversation = Conversation.objects.get(tenant_id=acme.tenant.id)
    assert conversation.last_inbound_at == conversation.last_message_at == stored


def test_a_time_to_come_keeps_nothing_on_top(acme: Cast) -> None:
    receive(acme, SAID + 400 * DAY, "wamid.1", "From the future")
    with_now = {"messages": [text("wamid.2", "Now", at=SAID + 120)], "contacts": [contact()]}
    later = ARRIVED + timedelta(minutes=1)
    deliver(acme.tenant.id, callback(acme.workspace.external_id, **with_now), at=later)
    process_batch(10)

    last = Message.objects.get(pk=Conversation.objects.get().last_message_id)
    assert last.text == "Now"


def test_a_stop_to_come_does_not_outlive_a_start(acme: Cast) -> None:
    contact_id = receive(acme, SAID + 400 * DAY, "wamid.1", "stop").contact_id
    value = {"messages": [text("wamid.2", "start", at=SAID + 120)], "contacts": [contact()]}
    later = ARRIVED + timedelta(minutes=1)
    deliver(acme.tenant.id, callback(acme.workspace.external_id, **value), at=later)
    process_batch(10)

    assert opted_out(tenant_id=acme.tenant.id, contact_ids=[contact_id]) == set()


def test_receipts_are_bounded_too(acme: Cast) -> None:
    receipts = [status("wamid.X", "read", SAID + 400 * DAY)]
    deliver(acme.tenant.id, callback(acme.workspace.external_id, statuses=receipts), at=ARRIVED)
    process_batch(10)

    assert MessageStatus.objects.get().timestamp_utc == ARRIVED
