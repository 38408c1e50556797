"""The catalogue follows what Meta lists, whoever asks and whatever happens meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from connectors.events.models import EventSubscription, OutgoingEvent
from templates_wa import accounts, catalogue
from templates_wa.catalogue import AmbiguousLanguage, NotSendable, UnknownTemplate
from templates_wa.models import Template, TemplateSync
from templates_wa.sync import SyncReport, run_due, sync, sync_tenant
from tests.conftest import Cast
from tests.templates_wa.account import Platform, fact, in_catalogue
from workspaces import provisioning, secrets
from workspaces.channel_errors import ChannelError, Rejected, Throttled, Unavailable
from workspaces.events import EVENT_TYPES
from workspaces.models import SecretKind, Tenant, TenantSecret, TenantStatus

pytestmark = pytest.mark.django_db

LATER = timedelta(hours=2)


def row(cast: Cast, name: str = "welcome", language: str = "en") -> Template:
    return Template.objects.get(tenant_id=cast.tenant.id, name=name, language=language)


def state(cast: Cast) -> TemplateSync:
    return TemplateSync.objects.get(tenant_id=cast.tenant.id)


def find(cast: Cast, name: str = "welcome", language: str | None = None) -> Template:
    return catalogue.find(
        tenant_id=cast.tenant.id, waba_id=cast.workspace.waba_id, name=name, language=language
    )


def test_it_adds_changes_and_removes(acme: Cast, platform: Platform, now: datetime) -> None:
    listed = platform.accounts[acme.workspace.waba_id] = [fact(), fact("gone"), fact("same")]
    assert sync(acme.workspace, now=now) == SyncReport(added=3)

    listed[:2] = [fact(status="PAUSED", quality="RED"), fact("new", "de")]
    assert sync(acme.workspace, now=now + LATER) == SyncReport(1, 1, 1, 1)

    assert in_catalogue(acme) == {
        ("welcome", "en"): "PAUSED",
        ("same", "en"): "APPROVED",
        ("new", "de"): "APPROVED",
    }
    assert row(acme).quality == "RED"
    assert row(acme, "gone").deleted_at == now + LATER


def test_it_takes_back_what_comes_back(acme: Cast, platform: Platform, now: datetime) -> None:
    listed = platform.accounts[acme.workspace.waba_id] = [fact()]
    sync(acme.workspace, now=now)
    listed.clear()
    sync(acme.workspace, now=now + LATER)
    listed.append(fact())

    assert sync(acme.workspace, now=now + 2 * LATER) == SyncReport(changed=1)
    assert in_catalogue(acme) == {("welcome", "en"): "APPROVED"}


def test_it_keeps_tenants_apart(
    acme: Cast, globex: Cast, platform: Platform, now: datetime
) -> None:
    platform.accounts = {
        acme.workspace.waba_id: [fact()],
        globex.workspace.waba_id: [fact(status="PENDING")],
    }
    sync(acme.workspace, now=now)
    sync(globex.workspace, now=now)
    platform.accounts.clear()
    sync(acme.workspace, now=now + LATER)

    assert in_catalogue(acme) == {}
    assert in_catalogue(globex) == {("welcome", "en"): "PENDING"}
    with pytest.raises(UnknownTemplate):
        find(acme)


def test_it_shares_the_rows_of_one_account(acme: Cast, platform: Platform, now: datetime) -> None:
    second = provisioning.create_workspace(
        tenant_id=acme.tenant.id,
        name="Second",
        external_id="300000000000003",
        waba_id=acme.workspace.waba_id,
    )
    platform.accounts[acme.workspace.waba_id] = [fact()]
    sync(acme.workspace, now=now)

    assert sync(second, now=now + LATER) == SyncReport(unchanged=1)
    assert Template.objects.count() == 1


@pytest.mark.parametrize("error", [Unavailable("Away."), Rejected(190, "No."), Throttled(5)])
def test_a_page_that_fails_changes_nothing_and_is_noted(
    acme: Cast, platform: Platform, now: datetime, error: ChannelError
) -> None:
    platform.accounts[acme.workspace.waba_id] = [fact(), fact("other")]
    sync(acme.workspace, now=now)
    platform.accounts[acme.workspace.waba_id] = [fact(status="PAUSED"), fact("third")]
    platform.error, platform.fails_after = error, 1

    with pytest.raises(type(error)):
        sync(acme.workspace, now=now + LATER)

    assert set(in_catalogue(acme).values()) == {"APPROVED"} and len(in_catalogue(acme)) == 2
    assert (state(acme).synced_at, state(acme).failed_at) == (now, now + LATER)
    assert state(acme).error.startswith(error.message)


def test_it_reads_one_name_alone(acme: Cast, platform: Platform, now: datetime) -> None:
    listed = platform.accounts[acme.workspace.waba_id] = [fact(), fact("welcome", "de"), fact("b")]
    sync(acme.workspace, now=now)
    listed[:] = [fact("welcome", "de")]

    assert sync(acme.workspace, now=now + LATER, name="welcome") == SyncReport(0, 0, 1, 1)
    assert set(in_catalogue(acme)) == {("welcome", "de"), ("b", "en")}


def test_a_sync_that_began_earlier_overwrites_nothing(
    acme: Cast, platform: Platform, now: datetime
) -> None:
    platform.accounts[acme.workspace.waba_id] = [fact(), fact("new")]
    sync(acme.workspace, now=now)
    platform.accounts[acme.workspace.waba_id] = [fact(status="PAUSED")]

    sync(acme.workspace, now=now - LATER)

    assert in_catalogue(acme) == {("welcome", "en"): "APPROVED", ("new", "en"): "APPROVED"}


def test_it_runs_for_every_connected_account_and_then_when_due(
    acme: Cast, globex: Cast, platform: Platform
) -> None:
    now = datetime.now(UTC)
    platform.accounts = {acme.workspace.waba_id: [fact()], globex.workspace.waba_id: [fact()]}

    assert [run_due(now=now), run_due(now=now)] == [2, 0]
    assert state(acme).due_at - state(acme).synced_at == timedelta(hours=1)
    assert run_due(now=now + LATER) == 2
    assert in_catalogue(acme) == in_catalogue(globex) == {("welcome", "en"): "APPROVED"}


def test_one_accounts_trouble_is_not_anothers(acme: Cast, globex: Cast, platform: Platform) -> None:
    now = datetime.now(UTC)
    TenantSecret.objects.filter(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN).delete()
    platform.accounts[globex.workspace.waba_id] = [fact()]

    run_due(now=now)

    assert state(acme).error == "The tenant has no access token; add one in the admin."
    assert in_catalogue(globex)
    secrets.add(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN, value="late")
    platform.accounts[acme.workspace.waba_id] = [fact()]
    run_due(now=now + timedelta(minutes=2))
    assert in_catalogue(acme) and state(acme).error == ""


def test_it_waits_longer_after_each_failure(acme: Cast, platform: Platform, now: datetime) -> None:
    platform.error = Unavailable("Away.")
    waits = []
    for _ in range(3):
        with pytest.raises(Unavailable):
            sync(acme.workspace, now=now)
        waits.append(state(acme).due_at - now)
        now = state(acme).due_at

    assert waits == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]


def test_what_is_asked_for_during_a_sync_is_done_after_it(
    acme: Cast, globex: Cast, platform: Platform, woken: Any
) -> None:
    globex.tenant.workspaces.update(is_active=False)  # whose sync would ask for one after acme's
    begun = datetime.now(UTC)
    platform.meanwhile = lambda: accounts.request(
        tenant_id=acme.tenant.id, waba_id=acme.workspace.waba_id
    )

    run_due(now=begun)

    assert state(acme).due_at < begun + timedelta(minutes=1)


def test_it_leaves_an_account_alone_that_nobody_uses(acme: Cast, platform: Platform) -> None:
    now = datetime.now(UTC)
    run_due(now=now)
    asked = len(platform.asked)
    acme.tenant.workspaces.update(is_active=False)

    run_due(now=now + LATER)
    run_due(now=now + 2 * LATER)

    assert ("list", acme.workspace.waba_id, "") not in platform.asked[asked:]


def test_it_stores_nothing_for_a_tenant_on_its_way_out(
    acme: Cast, platform: Platform, now: datetime
) -> None:
    platform.accounts[acme.workspace.waba_id] = [fact()]
    leave = Tenant.objects.filter(pk=acme.tenant.id)
    platform.meanwhile = lambda: leave.update(status=TenantStatus.ERASING)

    assert sync(acme.workspace, now=now) == SyncReport()
    assert not Template.objects.exists() and not TemplateSync.objects.exists()


def test_a_refused_send_asks_for_a_sync(
    acme: Cast,
    platform: Platform,
    now: datetime,
    woken: Any,
    django_capture_on_commit_callbacks: Any,
) -> None:
    platform.accounts[acme.workspace.waba_id] = [fact()]
    sync(acme.workspace, now=now - LATER)

    with django_capture_on_commit_callbacks(execute=True):
        accounts.mark_stale([row(acme).pk], now=datetime.now(UTC))

    assert row(acme).stale_at and woken() == 1 and state(acme).due_at <= datetime.now(UTC)
    run_due(now=datetime.now(UTC))
    assert row(acme).stale_at is None


def test_connecting_a_tenant_asks_for_all_his_accounts(
    acme: Cast, globex: Cast, woken: Any, django_capture_on_commit_callbacks: Any, now: datetime
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        sync_tenant(acme.tenant.id, now=now)

    assert woken() == 1
    assert [s.waba_id for s in TemplateSync.objects.all()] == [acme.workspace.waba_id]


def test_it_tells_the_tenants_apps(acme: Cast, platform: Platform, now: datetime) -> None:
    EventSubscription.objects.create(
        tenant_id=acme.tenant.id, url="https://app.example", sealed_secrets=b""
    )
    platform.accounts[acme.workspace.waba_id] = [fact()]
    sync(acme.workspace, now=now)
    assert OutgoingEvent.objects.count() == 0  # the first reading is no news
    platform.accounts[acme.workspace.waba_id] = [fact(status="PAUSED")]
    sync(acme.workspace, now=now + LATER)

    event = OutgoingEvent.objects.get()
    assert (event.type, event.data["status"]) == ("template.updated", "PAUSED")
    assert set(event.data) == set(EVENT_TYPES["template.updated"].data)


@pytest.mark.parametrize(
    ("statuses", "language", "found"),
    [
        ({"de": "APPROVED"}, None, "de"),
        ({"de": "APPROVED", "fr": "PAUSED"}, None, "de"),
        ({"de": "APPROVED", "en": "APPROVED"}, None, "en"),
        ({"de": "APPROVED", "en_US": "APPROVED"}, None, "en_US"),
        ({"de": "APPROVED", "en": "APPROVED"}, "de", "de"),
        ({"de": "APPROVED", "fr": "APPROVED"}, None, AmbiguousLanguage),
        ({"de": "PAUSED"}, None, NotSendable),
        ({"de": "APPROVED", "en": "DISABLED"}, "en", NotSendable),
        ({"de": "NEVER_HEARD_OF"}, "de", NotSendable),
        ({"de": "APPROVED"}, "en", UnknownTemplate),
        ({}, None, UnknownTemplate),
    ],
)
def test_it_finds_the_template_of_a_send(
    acme: Cast, platform: Platform, now: datetime, statuses: Any, language: Any, found: Any
) -> None:
    facts = [fact("welcome", locale, status=word) for locale, word in statuses.items()]
    platform.accounts[acme.workspace.waba_id] = facts
    sync(acme.workspace, now=now)

    if isinstance(found, str):
        assert find(acme, language=language).language == found
    else:
        with pytest.raises(found):
            find(acme, language=language)


def test_it_says_why_a_template_cannot_be_sent(
    acme: Cast, platform: Platform, now: datetime
) -> None:
    platform.accounts[acme.workspace.waba_id] = [fact(status="PAUSED"), fact("welcome", "de")]
    sync(acme.workspace, now=now)

    with pytest.raises(NotSendable, match=r"welcome \(en\) is PAUSED: .* it may resume by itself"):
        find(acme, language="en")
    with pytest.raises(UnknownTemplate, match=r"does not exist in fr; it exists in: de, en\."):
        find(acme, language="fr")
    with pytest.raises(UnknownTemplate, match=r"no template named other in this account\.$"):
        find(acme, "other")


def test_it_names_templates_that_may_have_been_meant(
    acme: Cast, globex: Cast, platform: Platform, now: datetime
) -> None:
    platform.accounts[acme.workspace.waba_id] = [
        fact("welcome_message"),
        fact("welcome_back"),
        fact("invoice"),
    ]
    platform.accounts[globex.workspace.waba_id] = [fact("welcome_mesage")]
    for cast in (acme, globex):
        sync(cast.workspace, now=now)

    with pytest.raises(UnknownTemplate, match=r"Did you mean welcome_message or welcome_back\?$"):
        find(acme, "Welcome_mesage")


@pytest.mark.django_db(transaction=True)
def test_syncs_side_by_side_make_each_row_once(
    acme: Cast, platform: Platform, now: datetime
) -> None:
    platform.accounts[acme.workspace.waba_id] = [fact(f"name_{n}") for n in range(50)]
    together = Barrier(3)
    platform.meanwhile = together.wait  # all have read before one writes

    def run(_: int) -> SyncReport:
        try:
            return sync(acme.workspace, now=now)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as threads:
        reports = list(threads.map(run, range(3)))

    assert sorted(report.added for report in reports) == [0, 0, 50]
    assert len(in_catalogue(acme)) == 50
