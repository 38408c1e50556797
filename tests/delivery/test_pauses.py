"""Pauses of sending: whom they hold and until when, who ends them, and what is published of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from connectors.events.models import EventSubscription, OutgoingEvent
from messaging.delivery import pauses
from messaging.delivery.pauses import Pause
from messaging.models import SendingPause
from tests.conftest import Cast
from workspaces import provisioning
from workspaces.channel_errors import Reach
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db

CODE = 131031
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def paused(
    cast: Cast,
    now: datetime,
    *,
    whole: bool = False,
    code: int = CODE,
    reason: str = "Locked",
    until: datetime | None = None,
) -> Pause:
    """Pause a cast's number, or its whole tenant."""
    wanted = Pause(cast.tenant.id, None if whole else cast.workspace.id, code, reason, until)
    pauses.pause([wanted], now=now)
    return wanted


def held(cast: Cast, now: datetime | None = None, **more: UUID) -> list[int]:
    """Return the codes of what holds a tenant, or one number of it."""
    rows = pauses.open_pauses(tenant_id=cast.tenant.id, now=now, **more)
    return list(rows.values_list("code", flat=True))


@pytest.fixture
def subscribed(acme: Cast, globex: Cast) -> None:
    """Both tenants have an app that is notified of everything."""
    for cast in (acme, globex):
        EventSubscription.objects.create(
            tenant_id=cast.tenant.id, url="https://apps.example/", sealed_secrets=b""
        )


def published() -> list[tuple[UUID, str]]:
    return list(OutgoingEvent.objects.order_by("id").values_list("tenant_id", "type"))


def test_a_second_report_renews_the_words_and_is_no_news(
    acme: Cast, subscribed: None, now: datetime
) -> None:
    paused(acme, now, reason="Locked")
    paused(acme, now + HOUR, reason="Locked for good", until=now + 9 * HOUR)

    row = SendingPause.objects.get()
    assert (row.since, row.reason, row.until) == (now, "Locked for good", now + 9 * HOUR)
    assert published() == [(acme.tenant.id, "sending.paused")]


@pytest.mark.parametrize(("after", "since"), [(2 * HOUR - SECOND, 0), (2 * HOUR, 2)])
def test_a_report_after_its_time_was_over_is_a_new_pause(
    acme: Cast, subscribed: None, now: datetime, after: timedelta, since: int
) -> None:
    paused(acme, now, until=now + 2 * HOUR)
    paused(acme, now + after, until=now + 5 * HOUR)

    assert SendingPause.objects.get().since == now + since * HOUR
    assert len(published()) == (2 if since else 1)


def test_it_holds_until_its_time_and_no_longer(acme: Cast, now: datetime) -> None:
    paused(acme, now, until=now + HOUR)

    assert held(acme, now + HOUR - SECOND) == [CODE]
    assert held(acme, now + HOUR) == []
    assert held(acme) == [CODE]


def test_a_number_is_held_by_its_own_pauses_and_its_tenants(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    second = provisioning.create_workspace(
        tenant_id=acme.tenant.id, name="Second", external_id="100000000000009"
    )
    paused(acme, now, code=2)
    paused(acme, now - HOUR, whole=True, code=1)
    paused(globex, now, whole=True, code=3)

    assert held(acme, workspace_id=acme.workspace.id) == [1, 2]
    assert held(acme, workspace_id=second.id) == [1]
    assert (held(acme), held(globex)) == ([1, 2], [3])


def test_ending_them_for_a_number_ends_its_tenants_too_and_nobody_elses(
    acme: Cast, globex: Cast, subscribed: None, now: datetime
) -> None:
    for cast in (acme, globex):
        paused(cast, now, code=1)
        paused(cast, now, whole=True, code=2)
    OutgoingEvent.objects.all().delete()
    number = {"tenant_id": acme.tenant.id, "workspace_id": acme.workspace.id}
    end = now + HOUR

    assert pauses.lift(**number, code=9, by="alice", now=end) == 0
    assert pauses.lift(**number, code=1, by="alice", now=end) == 1
    assert pauses.lift(**number, by="a" * 151, now=end) == 1
    assert pauses.lift(**number, by="alice", now=end) == 0

    assert (held(acme), held(globex)) == ([], [1, 2])
    rows = SendingPause.objects.filter(tenant_id=acme.tenant.id).order_by("code")
    assert list(rows.values_list("lifted_by", "lifted_at")) == [("alice", end), ("a" * 150, end)]
    assert published() == [(acme.tenant.id, "sending.resumed")] * 2


def test_one_that_was_ended_is_not_ended_again(acme: Cast, subscribed: None, now: datetime) -> None:
    paused(acme, now)
    row = SendingPause.objects.get()
    paused(acme, now, code=CODE + 1)

    assert pauses.lift_one(row, by="alice", now=now + HOUR) == 1
    assert held(acme) == [CODE + 1]
    assert pauses.lift_one(row, by="bob", now=now + 2 * HOUR) == 0
    row.refresh_from_db()
    assert (row.lifted_by, row.lifted_at) == ("alice", now + HOUR)
    assert [kind for _, kind in published()].count("sending.resumed") == 1


def test_it_publishes_which_number_is_paused_or_that_all_are(
    acme: Cast, subscribed: None, now: datetime
) -> None:
    paused(acme, now, code=1)
    paused(acme, now, whole=True, code=2)

    data = OutgoingEvent.objects.order_by("id").values_list("data", flat=True)
    assert list(data) == [
        {"workspace_id": str(acme.workspace.id), "code": 1},
        {"workspace_id": None, "code": 2},
    ]


def test_it_knows_whether_such_a_pause_was_ended_meanwhile(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    wanted = paused(acme, now)
    assert not pauses.is_ended_since(wanted, now - HOUR)
    pauses.lift(tenant_id=acme.tenant.id, by="alice", now=now)

    assert pauses.is_ended_since(wanted, now)
    assert not pauses.is_ended_since(wanted, now + SECOND)
    for other in (
        wanted._replace(tenant_id=globex.tenant.id),
        wanted._replace(workspace_id=None),
        wanted._replace(code=CODE + 1),
    ):
        assert not pauses.is_ended_since(other, now)


def test_of_whole_tenants_are_those_that_wait_for_a_person(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    paused(acme, now, code=1)
    paused(acme, now, whole=True, code=2)
    paused(acme, now, whole=True, code=3, until=now + HOUR)
    paused(globex, now, whole=True, code=1)
    paused(globex, now, whole=True, code=4)
    paused(globex, now, whole=True, code=2)
    pauses.lift(tenant_id=globex.tenant.id, code=2, by="alice", now=now)

    found = pauses.of_whole_tenants([1, 2, 3])
    assert {(row.tenant_id, row.code) for row in found} == {
        (acme.tenant.id, 2),
        (globex.tenant.id, 1),
    }


def test_what_is_about_an_account_holds_its_numbers_of_one_tenant(acme: Cast, globex: Cast) -> None:
    account, mine = acme.workspace.waba_id, acme.workspace.id
    Workspace.objects.filter(pk=globex.workspace.pk).update(waba_id=account)
    same, _, without, _ = (
        provisioning.create_workspace(
            tenant_id=acme.tenant.id, name=name, external_id=f"10000000000000{n}", waba_id=waba_id
        ).id
        for n, (name, waba_id) in enumerate(
            (("Same", account), ("Other", "912345"), ("Without", ""), ("Nor", "")), start=5
        )
    )

    assert set(pauses.numbers_within(Reach.ACCOUNT, mine)) == {mine, same}
    assert pauses.numbers_within(Reach.ACCOUNT, globex.workspace.id) == [globex.workspace.id]
    assert pauses.numbers_within(Reach.ACCOUNT, without) == [without]
    assert pauses.numbers_within(Reach.NUMBER, mine) == [mine]
    assert pauses.numbers_within(Reach.TENANT, mine) == [None]
