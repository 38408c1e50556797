"""What is pending is sent once, in its turn, and not when it must not be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from pytest_django.fixtures import Settings

from connectors.simulator.meta.server import RunningSimulator
from lib.ids import uuid7
from messaging.delivery.claims import Claims, ReadyNumbers
from messaging.models import (
    Broadcast,
    Contact,
    Conversation,
    Message,
    NumberState,
    OptOut,
    PendingSend,
    PortfolioRecipient,
    SendingPause,
)
from templates_wa.models import Template
from tests.conftest import Cast
from tests.delivery.outgoing import Platform, pending, queue
from workspaces import identity, provisioning
from workspaces.models import TenantSecret, TenantStatus

Deliver = Callable[[], int]


def test_it_sends_what_is_owed_once_and_records_it(
    acme: Cast, globex: Cast, now: datetime, platform: Platform, deliver: Deliver
) -> None:
    ours, theirs = queue(acme, now), queue(globex, now)

    assert (deliver(), deliver()) == (2, 0)
    assert sorted(platform.posted) == [
        (cast.workspace.external_id, str(message.id))
        for cast, message in ((acme, ours), (globex, theirs))
    ]
    ours.refresh_from_db()
    assert (ours.status, ours.attempts, pending(ours)) == ("accepted", 1, None)
    digest = identity.digester(acme.tenant.id).wamid(f"wamid.{ours.id}")
    assert ours.platform_message_id == digest
    assert Message.objects.filter(status="accepted").count() == 2


def test_it_gives_each_tenant_its_share_whatever_is_pending_for_others(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    for _ in range(20):
        queue(acme, now - timedelta(hours=1))
    mine = queue(globex, now)

    claimed = Claims(chance=Random(1)).claim(10, {}, most=10, now=now)

    assert mine.id in {one.attempt.message_id for one in claimed}
    assert len(claimed) == 6


def test_a_tenant_of_many_numbers_has_no_more_places_than_the_others(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    for n in range(30):
        one = provisioning.create_workspace(
            tenant_id=globex.tenant.id, name=f"Shop {n}", external_id=f"3{n:014}"
        )
        queue(replace(globex, workspace=one), now - timedelta(hours=1))
    mine = {queue(acme, now).id for _ in range(5)}

    claimed = Claims(chance=Random(1)).claim(10, {}, most=100, now=now)

    assert len(claimed) == 10
    assert mine < {one.attempt.message_id for one in claimed}


def test_it_leaves_places_for_the_next_number(acme: Cast, now: datetime) -> None:
    for _ in range(12):
        queue(acme, now)
    NumberState.objects.create(
        workspace=acme.workspace, tenant_id=acme.tenant.id, throughput_level="HIGH"
    )
    claims = Claims(chance=Random(1))

    assert len(claims.claim(12, {}, most=12, now=now)) == 9
    assert claims.claim(3, {acme.workspace.id: 9}, most=12, now=now) == []


def test_single_messages_go_before_those_of_a_broadcast(
    acme: Cast, globex: Cast, now: datetime, platform: Platform
) -> None:
    broadcast, long_due = uuid7(), now - timedelta(minutes=1)
    for cast in (acme, globex):
        for _ in range(5):
            queue(cast, now, broadcast_id=broadcast, due_at=long_due)
    singles = {queue(cast, now).id for cast in (acme, globex)}
    claimed = Claims(chance=Random(1)).claim(2, {}, most=1_000, now=now)
    assert {one.attempt.message_id for one in claimed} == singles
    more = Claims(chance=Random(1)).claim(8, {}, most=1_000, now=now)
    assert len(more) == 8
    assert all(one.is_of_broadcast for one in more)


@pytest.mark.parametrize(
    "columns",
    [
        {"due_at": timedelta(minutes=5)},
        {"due_at": None},
        {"status": "sending"},
        {"status": "unknown"},
        {"status": "cancelled"},
    ],
)
def test_it_sends_nothing_else(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver, columns: dict
) -> None:
    later = columns.get("due_at")
    queue(acme, now, **{**columns, "due_at": later and now + later})

    assert deliver() == 0
    assert platform.posted == []


@pytest.mark.parametrize(("state", "count"), [("PAUSED", 0), ("CANCELLED", 0), ("RUNNING", 1)])
def test_it_sends_nothing_of_a_broadcast_that_was_stopped_while_it_tried(
    acme: Cast, now: datetime, deliver: Deliver, state: str, count: int
) -> None:
    broadcast = Broadcast.objects.create(
        tenant_id=acme.tenant.id, workspace_id=acme.workspace.id, state=state
    )
    queue(acme, now, broadcast_id=broadcast.id, attempts=1)

    assert deliver() == count


def test_it_gives_up_what_expired(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver
) -> None:
    message = queue(acme, now, expires_at=now)
    deliver()
    message.refresh_from_db()

    assert platform.posted == []
    assert (message.status, pending(message)) == ("failed", None)
    assert message.delivery["errors"][0]["code"] == "EXPIRED"
    assert message.delivery["failed_at"]


def template(cast: Cast, now: datetime, **columns: object) -> Template:
    return Template.objects.create(
        tenant_id=cast.tenant.id,
        waba_id=cast.workspace.waba_id,
        platform_template_id="1",
        name="hello",
        language="en",
        synced_at=now,
        **{"status": "APPROVED", **columns},
    )


@pytest.mark.parametrize(
    ("columns", "state", "code"),
    [
        ({}, "accepted", None),
        ({"status": "PAUSED"}, "queued", None),
        ({"status": "PENDING"}, "queued", None),
        ({"stale_at": timedelta()}, "queued", None),
        ({"stale_at": timedelta(hours=-1)}, "accepted", None),
        ({"status": "DISABLED"}, "failed", 132016),
        ({"deleted_at": timedelta()}, "failed", 132016),
    ],
)
def test_it_looks_at_the_template_again(
    acme: Cast, now: datetime, deliver: Deliver, columns: dict, state: str, code: int | None
) -> None:
    moments = {k: now + v for k, v in columns.items() if isinstance(v, timedelta)}
    used = template(acme, now, **{**columns, **moments})
    message = queue(acme, now, type="template", template_id=used.id)
    deliver()
    message.refresh_from_db()

    assert message.status == state
    assert [error["code"] for error in message.delivery.get("errors", ())] == [code][: bool(code)]
    if state == "queued":
        assert message.pending.due_at > now + timedelta(seconds=50)
        assert message.pending.reason


def test_it_keeps_the_order_and_the_pace_of_what_goes_to_one_person(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver
) -> None:
    ann = Contact.objects.create(tenant_id=acme.tenant.id, display_name="Ann")
    NumberState.objects.create(
        workspace=acme.workspace, tenant_id=acme.tenant.id, throughput_level="HIGH"
    )
    times = [now - timedelta(seconds=seconds) for seconds in range(50, 0, -1)]
    messages = [queue(acme, now, contact=ann, due_at=at) for at in times]
    deliver()

    assert platform.ids == [str(message.id) for message in messages[:45]]
    waiting = PendingSend.objects.filter(attempts=0).order_by("due_at")
    assert [row.pk for row in waiting] == [message.id for message in messages[45:]]
    late = [(row.due_at - now).total_seconds() for row in waiting]
    assert late == pytest.approx([6, 12, 18, 24, 30], abs=1.5)


def test_a_burst_to_one_person_is_not_too_fast_for_meta(
    acme: Cast, now: datetime, meta: RunningSimulator, deliver: Deliver
) -> None:
    ann = Contact.objects.create(tenant_id=acme.tenant.id, display_name="Ann")
    for n in range(50):
        queue(acme, now, contact=ann, due_at=now - timedelta(seconds=50 - n))
    while deliver():
        pass

    assert Counter(entry["code"] for entry in meta.control.journal()) == {0: 45}


def limited(cast: Cast, now: datetime, people: int) -> None:
    """Let a portfolio of 50 have written to so many people."""
    NumberState.objects.create(
        workspace=cast.workspace,
        tenant_id=cast.tenant.id,
        portfolio_id="p",
        messaging_limit="TIER_50",
    )
    PortfolioRecipient.objects.bulk_create(
        PortfolioRecipient(
            tenant_id=cast.tenant.id, portfolio_id="p", contact_id=uuid7(), opened_at=now
        )
        for _ in range(people)
    )


def test_it_keeps_the_limit_of_the_portfolio(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver
) -> None:
    limited(acme, now - timedelta(hours=3), 48)
    used = template(acme, now)
    messages = [
        queue(
            acme,
            now,
            type="template",
            template_id=used.id,
            due_at=now - timedelta(seconds=3 - turn),
        )
        for turn in range(3)
    ]
    open_to = queue(acme, now, type="template", template_id=used.id)
    Conversation.objects.create(
        tenant_id=acme.tenant.id,
        workspace_id=acme.workspace.id,
        contact_id=open_to.contact_id,
        last_message_id=open_to.id,
        last_message_at=now,
        last_inbound_at=now,
    )
    deliver()

    assert set(platform.ids) == {str(m.id) for m in (*messages[:2], open_to)}
    messages[2].refresh_from_db()
    assert messages[2].pending.due_at == now + timedelta(hours=21)
    assert PortfolioRecipient.objects.count() == 50


def test_it_says_that_there_is_no_token(
    acme: Cast, globex: Cast, now: datetime, platform: Platform, deliver: Deliver
) -> None:
    TenantSecret.objects.filter(tenant=acme.tenant, kind="ACCESS_TOKEN").delete()
    queue(acme, now)
    theirs = queue(globex, now)
    deliver()

    assert platform.ids == [str(theirs.id)]
    pause = SendingPause.objects.get()
    assert (pause.workspace_id, pause.code) == (acme.workspace.id, 0)
    assert "no access token" in pause.reason
    assert pause.until > now


class Crash(Exception):
    """The end of a process, wherever it is."""


def crash(*_: object) -> None:
    raise Crash


def test_a_crash_between_a_pause_and_its_event_leaves_neither(
    acme: Cast, now: datetime, settings: Settings
) -> None:
    TenantSecret.objects.filter(tenant=acme.tenant, kind="ACCESS_TOKEN").delete()
    settings.SIGMA_EVENT_SINK = f"{__name__}.crash"

    with pytest.raises(Crash):
        ReadyNumbers().of([acme.workspace.id], now=now)

    assert not SendingPause.objects.exists()


def test_a_token_that_cannot_be_read_stops_nobody_else(
    acme: Cast, globex: Cast, now: datetime, platform: Platform, deliver: Deliver
) -> None:
    TenantSecret.objects.filter(tenant=acme.tenant, kind="ACCESS_TOKEN").update(sealed=b"ruined")
    queue(acme, now)
    theirs = queue(globex, now)
    deliver()

    assert platform.ids == [str(theirs.id)]
    pause = SendingPause.objects.get()
    assert (pause.workspace_id, pause.code) == (acme.workspace.id, 0)
    assert "cannot be read" in pause.reason


@pytest.mark.parametrize("clock", [timedelta(hours=1), timedelta(hours=-1)])
def test_it_keeps_what_it_has_reserved_whatever_its_clock_says(
    acme: Cast, now: datetime, clock: timedelta
) -> None:
    queue(acme, now - timedelta(hours=2))
    claims = Claims(chance=Random(1))

    assert len(claims.claim(10, {}, most=10, now=now + clock)) == 1
    assert claims.claim(10, {}, most=10, now=now + clock) == []


@pytest.mark.parametrize(
    ("category", "lifted", "state"),
    [
        ("MARKETING", None, "failed"),
        ("MARKETING", True, "accepted"),
        ("UTILITY", None, "accepted"),
    ],
)
def test_it_sends_no_marketing_to_whoever_has_had_enough_since_it_was_tried(
    acme: Cast, now: datetime, deliver: Deliver, category: str, lifted: bool | None, state: str
) -> None:
    used = template(acme, now, category=category)
    message = queue(acme, now, type="template", template_id=used.id, attempts=1)
    OptOut.objects.create(
        tenant_id=acme.tenant.id,
        contact_id=message.contact_id,
        source="WORD",
        lifted_at=lifted and now,
    )
    deliver()
    message.refresh_from_db()

    assert message.status == state
    if state == "failed":
        assert message.delivery["errors"][0]["code"] == 131050


@pytest.mark.parametrize(
    ("category", "lifted", "state"),
    [
        ("MARKETING", None, "failed"),
        ("MARKETING", True, "accepted"),
        ("UTILITY", None, "accepted"),
    ],
)
@pytest.mark.parametrize("is_utility_now", [False, True], ids=["forced", "utility_now"])
def test_it_goes_by_what_a_template_was_when_it_was_queued(
    acme: Cast,
    globex: Cast,
    now: datetime,
    deliver: Deliver,
    category: str,
    lifted: bool | None,
    state: str,
    is_utility_now: bool,
) -> None:
    """Nothing is looked up for a forced one."""
    used = template(acme, now, category="UTILITY") if is_utility_now else None
    content = {"template": {"category": category}}
    message = queue(
        acme, now, type="template", content=content, template_id=used and used.id, attempts=1
    )
    theirs = queue(globex, now, type="template", content=content)
    for person in (message.contact_id, theirs.contact_id):  # of another tenant it says nothing
        OptOut.objects.create(
            tenant_id=acme.tenant.id, contact_id=person, source="WORD", lifted_at=lifted and now
        )
    deliver()
    for one in (message, theirs):
        one.refresh_from_db()

    assert (message.status, theirs.status) == (state, "accepted")
    assert [e["code"] for e in message.delivery.get("errors", ())] == [131050] * (state == "failed")


@pytest.mark.parametrize("who", ["workspace", "tenant"])
def test_it_sends_nothing_for_whoever_is_switched_off(
    acme: Cast, now: datetime, deliver: Deliver, who: str
) -> None:
    acme.workspace.is_active = who != "workspace"
    acme.tenant.status = TenantStatus.SUSPENDED if who == "tenant" else TenantStatus.ACTIVE
    acme.workspace.save()
    acme.tenant.save()
    queue(acme, now)

    assert deliver() == 0
