"""Many at once: a few statements however many they are, and no number in plaintext anywhere."""

from __future__ import annotations

from datetime import datetime

import msgspec
import psycopg
import pytest

from messaging.models import Contact, Conversation, Message
from messaging.sending.queueing import Queued, queue, queue_many
from messaging.sending.requests import Recipient, SendRequest
from tests.conftest import Cast
from tests.privacy import places
from tests.sending.conftest import hear, request_to, template, wire_of
from tests.sending.test_queueing import WELCOME
from workspaces.acting import as_tenant

pytestmark = pytest.mark.django_db

CANARY = "27831234567"


def batch(cast: Cast, numbers: range) -> list[SendRequest]:
    return [
        request_to(cast, WELCOME, phone=f"+5511{number}", idempotency_key=f"row-{number}")
        for number in numbers
    ]


def queue_all(cast: Cast, requests: list[SendRequest], now: datetime) -> list:
    with as_tenant(cast.tenant.id):
        return queue_many(
            tenant_id=cast.tenant.id, workspace_id=cast.workspace.id, requests=requests, now=now
        )


def test_it_takes_no_more_statements_for_more_messages(
    acme: Cast, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    template(acme)
    sent, counts, execute = [], [], psycopg.Cursor.execute
    # Django sees its own cursors only, and most of the work is done on the driver's.
    monkeypatch.setattr(
        psycopg.Cursor, "execute", lambda *args, **more: sent.append(1) or execute(*args, **more)
    )
    for numbers in (range(900_000_000, 900_000_002), range(910_000_000, 910_000_200)):
        before = len(sent)
        outcomes = queue_all(acme, batch(acme, numbers), now)
        assert all(isinstance(outcome, Queued) for outcome in outcomes)
        counts.append(len(sent) - before)

    assert 10 < counts[1] <= counts[0]
    assert Message.objects.count() == Contact.objects.count() == Conversation.objects.count() == 202


def test_it_says_of_each_what_became_of_it(acme: Cast, now: datetime) -> None:
    template(acme)
    good = batch(acme, range(900_000_000, 900_000_003))
    bad = msgspec.structs.replace(good[1], recipient=Recipient("0711558396"))

    first, second, third = queue_all(acme, [good[0], bad, good[2]], now)

    assert second.code == "INVALID_PHONE"
    for outcome, asked in ((first, good[0]), (third, good[2])):
        assert wire_of(outcome.message_id)["to"] == asked.recipient.phone


def test_it_leaves_no_number_in_the_clear(
    acme: Cast, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    hear(acme, now, phone=CANARY)
    template(acme)
    for more in ({}, {"content": WELCOME}, {"idempotency_key": "k"}):
        asked = request_to(acme, more.pop("content", None), phone="+27 83 123 4567", **more)
        queue(tenant_id=acme.tenant.id, request=asked, now=now)
    queue_all(acme, [request_to(acme, WELCOME, phone=CANARY)], now)

    forbidden = places.disguises("831234567")
    assert [row for row in places.rows() if places.found_in(row[1], forbidden)] == []
    assert [ln for ln in places.log_lines(caplog.records) if places.found_in(ln, forbidden)] == []
    assert Message.objects.filter(direction="OUTBOUND").count() == 3
