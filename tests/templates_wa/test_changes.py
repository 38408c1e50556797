"""What Meta reports changes the catalogue at once, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from connectors.whatsapp.processing import process_batch
from templates_wa.changes import ReportedChange, store
from templates_wa.events import TemplateEvent
from templates_wa.models import Template, TemplateEventRow, TemplateSync
from templates_wa.sync import sync
from tests.conftest import Cast
from tests.templates_wa.account import Platform, fact, in_catalogue
from tests.whatsapp.deliveries import callback, deliver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("woken")]

STATUS, QUALITY = "message_template_status_update", "message_template_quality_update"
CATEGORY, COMPONENTS = "template_category_update", "message_template_components_update"
SECOND = timedelta(seconds=1)
Report = Callable[..., Template]


@pytest.fixture
def synced(acme: Cast, globex: Cast, platform: Platform, now: datetime) -> datetime:
    """Both have the template; returns when that was read."""
    for cast in (acme, globex):
        platform.accounts[cast.workspace.waba_id] = [fact(quality="GREEN")]
        sync(cast.workspace, now=now)
    return now


@pytest.fixture
def report(acme: Cast, synced: datetime) -> Report:
    """Report changes of acme's template, seconds after the sync; returns the row."""

    def send(*changes: tuple[float, str, str], **parts: Any) -> Template:
        events = [
            event(acme, change, word, synced + after * SECOND, **parts)
            for after, change, word in changes
        ]
        store([ReportedChange(acme.tenant.id, one) for one in events])
        return Template.objects.get(tenant_id=acme.tenant.id)

    return send


def event(cast: Cast, change: str, word: str, at: datetime, **parts: Any) -> TemplateEvent:
    given = {"template_id": fact().platform_template_id, "reason": None, "details": {}, **parts}
    return TemplateEvent(
        cast.workspace.waba_id, change, word, name="welcome", language="en", occurred_at=at, **given
    )


def is_due(cast: Cast, now: datetime) -> bool:
    """Tell whether a sync was asked for."""
    row = TemplateSync.objects.get(tenant_id=cast.tenant.id)
    return row.due_at < now + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("word", "status", "asks"),
    [
        ("PAUSED", "PAUSED", False),
        ("DISABLED", "DISABLED", False),
        ("REINSTATED", "APPROVED", True),
        ("FLAGGED", "APPROVED", True),
        ("UNARCHIVED", "APPROVED", True),
        ("LOCKED", "LOCKED", True),
        ("OF_A_LATER_VERSION", "OF_A_LATER_VERSION", True),
    ],
)
def test_it_applies_a_status(
    acme: Cast, globex: Cast, report: Report, now: datetime, word: str, status: str, asks: bool
) -> None:
    assert report((1, STATUS, word)).status == status
    assert is_due(acme, now) is asks
    assert in_catalogue(globex) == {("welcome", "en"): "APPROVED"}


def test_it_keeps_the_reason_of_a_rejection(report: Report) -> None:
    row = report((1, STATUS, "REJECTED"), reason="SCAM")

    assert (row.status, row.rejected_reason) == ("REJECTED", "SCAM")


def test_it_hides_what_was_deleted(acme: Cast, report: Report, synced: datetime) -> None:
    assert report((1, STATUS, "DELETED")).deleted_at == synced + SECOND
    assert in_catalogue(acme) == {}


def test_it_applies_quality_and_category(report: Report) -> None:
    row = report((1, QUALITY, "YELLOW"), (1, CATEGORY, "UTILITY"))

    assert (row.quality, row.category, row.previous_category) == ("YELLOW", "UTILITY", "MARKETING")


def test_a_warning_changes_no_category(report: Report) -> None:
    warning = {"new_category": "MARKETING", "correct_category": "UTILITY"}

    assert report((1, CATEGORY, "UTILITY"), details=warning).category == "MARKETING"


def test_the_order_of_events_counts_and_not_of_their_arrival(report: Report) -> None:
    report((3, STATUS, "DISABLED"))

    assert report((2, STATUS, "APPROVED")).status == "DISABLED"
    assert report((5, STATUS, "PAUSED"), (4, STATUS, "APPROVED")).status == "PAUSED"


def test_an_event_of_before_the_sync_changes_nothing(report: Report) -> None:
    assert report((-2, STATUS, "DISABLED"), (-2, QUALITY, "RED")).status == "APPROVED"


def test_an_event_after_the_sync_began_survives_it(
    acme: Cast, platform: Platform, report: Report, synced: datetime
) -> None:
    row = report((20, STATUS, "PAUSED"))
    sync(acme.workspace, now=synced + 10 * SECOND)
    row.refresh_from_db()
    assert (row.status, row.synced_at) == ("PAUSED", synced + 10 * SECOND)

    sync(acme.workspace, now=synced + 30 * SECOND)
    assert in_catalogue(acme) == {("welcome", "en"): "APPROVED"}


def test_a_repeated_event_changes_nothing(report: Report) -> None:
    report((1, STATUS, "PAUSED"), (1, STATUS, "APPROVED"))

    assert report((1, STATUS, "PAUSED")).status == "APPROVED"
    assert TemplateEventRow.objects.count() == 2


@pytest.mark.parametrize(
    "change", [(STATUS, "PAUSED", {"template_id": "7"}), (COMPONENTS, "UPDATED", {})]
)
def test_it_asks_for_what_an_event_does_not_say(
    acme: Cast, globex: Cast, report: Report, now: datetime, change: Any
) -> None:
    kind, word, parts = change

    assert report((1, kind, word), **parts).status == "APPROVED"
    assert (is_due(acme, now), is_due(globex, now)) == (True, False)


def test_it_asks_for_an_account_it_never_read(
    acme: Cast, platform: Platform, now: datetime
) -> None:
    store([ReportedChange(acme.tenant.id, event(acme, STATUS, "APPROVED", now))])

    assert is_due(acme, now)


def test_a_callback_changes_the_catalogue(acme: Cast, globex: Cast, synced: datetime) -> None:
    value = {
        "event": "PAUSED",
        "message_template_id": int(fact().platform_template_id),
        "message_template_name": "welcome",
        "message_template_language": "en",
    }
    number, waba_id = acme.workspace.external_id, acme.workspace.waba_id
    body = callback(number, waba_id, STATUS, **value)
    deliver(acme.tenant.id, body)

    process_batch(10)

    assert in_catalogue(acme) == {("welcome", "en"): "PAUSED"}
    assert in_catalogue(globex) == {("welcome", "en"): "APPROVED"}
