"""The judge of the chaos run must see what it is there to see."""

from __future__ import annotations

from datetime import datetime

import pytest

from benchmarks.chaos.verdict import Verdict, judge
from benchmarks.outgoing import verdict as sends
from connectors.simulator.traffic import SimulatedCallback
from connectors.simulator.updates import SimulatedUpdate
from connectors.whatsapp.models import WebhookLedger
from messaging.events import Direction, Source
from messaging.models import Message, MessageStatus
from tests.conftest import Cast
from workspaces import identity

SENT = (
    SimulatedCallback(
        b"", (SimulatedUpdate("text", "messages", "messages", {}, wamid="wamid.one"),)
    ),
    SimulatedCallback(
        b"",
        (SimulatedUpdate("status", "messages", "statuses", {}, wamid="wamid.two", status="read"),),
    ),
)


def verdict(acme: Cast) -> Verdict:
    return judge(acme.tenant.id, SENT, seconds_to_drain=0)


def store_message(acme: Cast, wamid: str, now: datetime) -> None:
    Message.objects.create(
        tenant_id=acme.tenant.id,
        workspace=acme.workspace,
        direction=Direction.INBOUND,
        source=Source.LIVE,
        type="text",
        timestamp_utc=now,
        content={},
        delivery={},
        platform_message_id=identity.digester(acme.tenant.id).wamid(wamid),
    )


def store_status(acme: Cast, wamid: str, now: datetime, participant: str = "") -> None:
    MessageStatus.objects.create(
        tenant_id=acme.tenant.id,
        workspace_id=acme.workspace.id,
        status="read",
        timestamp_utc=now,
        participant=participant,
        platform_message_id=identity.digester(acme.tenant.id).wamid(wamid),
    )


def test_it_is_content_when_all_is_stored_once(acme: Cast, now: datetime) -> None:
    store_message(acme, "wamid.one", now)
    store_status(acme, "wamid.two", now)
    assert verdict(acme).is_clean


def test_it_sees_what_is_lost(acme: Cast, now: datetime) -> None:
    store_message(acme, "wamid.one", now)
    found = verdict(acme)
    assert (found.lost, found.is_clean) == (1, False)


def test_it_sees_what_is_doubled(acme: Cast, now: datetime) -> None:
    store_message(acme, "wamid.one", now)
    for participant in ("", "again"):
        store_status(acme, "wamid.two", now, participant)
    found = verdict(acme)
    assert (found.doubled, found.lost, found.is_clean) == (1, 0, False)


def test_it_sees_what_nobody_sent(acme: Cast, now: datetime) -> None:
    store_message(acme, "wamid.one", now)
    store_status(acme, "wamid.two", now)
    store_message(acme, "wamid.three", now)
    found = verdict(acme)
    assert (found.invented, found.is_clean) == (1, False)


def test_it_sees_a_ledger_that_does_not_add_up(acme: Cast, now: datetime) -> None:
    store_message(acme, "wamid.one", now)
    store_status(acme, "wamid.two", now)
    WebhookLedger.objects.create(tenant_id=acme.tenant.id, updates=2, processed=1)
    assert not verdict(acme).is_clean


def test_it_sees_nothing_of_another_tenants(acme: Cast, globex: Cast, now: datetime) -> None:
    store_message(acme, "wamid.one", now)
    store_status(acme, "wamid.two", now)
    store_message(globex, "wamid.three", now)
    found = verdict(acme)
    assert (found.messages, found.statuses, found.is_clean) == (1, 1, True)


def posted(message: str, to: str, *, is_processed: bool = True) -> dict[str, object]:
    return {"biz_opaque_callback_data": message, "to": to, "is_processed": is_processed}


@pytest.mark.parametrize(
    ("journal", "rows", "accepted", "found"),
    [
        ([posted("a", "1")], {"a": "delivered"}, 1, (0, 0, 0, 0)),
        ([posted("a", "1"), posted("a", "1")], {"a": "accepted"}, 1, (1, 0, 0, 0)),
        ([posted("a", "1"), posted("b", "1")], {"a": "read", "b": "read"}, 2, (1, 0, 0, 0)),
        ([posted("a", "1"), posted("b", "2")], {"a": "read", "b": "read"}, 1, (1, 0, 0, 0)),
        ([posted("a", "1"), posted("b", "2")], {"a": "read"}, 1, (1, 0, 0, 0)),
        ([], {"a": "accepted"}, 1, (0, 1, 0, 0)),
        ([posted("a", "1", is_processed=False)], {"a": "sent"}, 1, (0, 1, 0, 0)),
        ([], {"a": "queued", "b": "sending"}, 2, (0, 2, 0, 0)),
        ([], {}, 1, (0, 1, 0, 0)),
        ([], {"a": "failed"}, 1, (0, 0, 0, 0)),
        ([], {"a": "unknown"}, 1, (0, 0, 0, 1)),
        ([posted("a", "1")], {"a": "unknown"}, 1, (0, 0, 1, 0)),
    ],
)
def test_it_sees_what_became_of_every_send(
    journal: list, rows: dict[str, str], accepted: int, found: tuple[int, int, int, int]
) -> None:
    seen = sends.judge(journal, rows, accepted=accepted)
    assert (seen.twice, seen.lost, seen.unsettled, seen.in_doubt) == found
    assert seen.is_clean is not any(found[:3])
