"""What Meta reports changes the catalogue at once, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from connectors.events.models import EventSubscription, OutgoingEvent
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
DETECTION = "template_correct_category_detection"
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
    given = {
        "template_id": fact().platform_template_id,
        "name": "welcome",
        "language": "en",
        "reason": None,
        "details": {},
        **parts,
    }
    return TemplateEvent(cast.workspace.waba_id, change, word, occurred_at=at, **given)


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
    assert report((2, DETECTION, "UTILITY")).category == "MARKETING"


def test_the_order_of_events_counts_and_not_of_their_arrival(report: Report) -> None:
    report((3, STATUS, "DISABLED"))

    assert report((2, STATUS, "APPROVED")).status == "DISABLED"
    assert report((5, STATUS, "PAUSED"), (4, STATUS, "APPROVED")).status == "PAUSED"


def test_an_event_of_before_the_sync_changes_nothing(report: Report) -> None:
    assert report((-2, STATUS, "DISABLED"), (-2, QUALITY, "RED")).status == "APPROVED"


@pytest.mark.parametrize(
    ("change", "words", "column"),
    [
        (STATUS, ("PAUSED", "DISABLED"), "status"),
        (QUALITY, ("YELLOW", "RED"), "quality"),
        (CATEGORY, ("UTILITY", "AUTHENTICATION"), "category"),
    ],
)
def test_of_two_events_the_later_one_holds_and_of_one_second_the_one_that_came_last(
    report: Report, change: str, words: tuple[str, str], column: str
) -> None:
    first, second = words

    assert getattr(report((3, change, first)), column) == first
    assert getattr(report((2, change, second)), column) == first
    assert getattr(report((3, change, second)), column) == second


def test_an_event_of_the_second_of_the_sync_is_news(report: Report, synced: datetime) -> None:
    began = -synced.microsecond / 1_000_000

    assert report((began - 1, STATUS, "PAUSED")).status == "APPROVED"
    assert report((began, STATUS, "DISABLED")).status == "DISABLED"


def test_it_changes_nobody_elses_template_of_the_same_id_or_account(
    acme: Cast, globex: Cast, report: Report
) -> None:
    template_id = fact().platform_template_id
    theirs = Template.objects.filter(tenant_id=globex.tenant.id)
    theirs.update(waba_id=acme.workspace.waba_id)
    mine = Template.objects.get(tenant_id=acme.tenant.id)
    of_another_account = Template.objects.create(
        tenant_id=acme.tenant.id,
        waba_id="777",
        platform_template_id=template_id,
        name="elsewhere",
        language="en",
        status="APPROVED",
        components=[],
        synced_at=mine.synced_at,
    )

    store(
        [
            ReportedChange(acme.tenant.id, event(acme, STATUS, "PAUSED", mine.synced_at + SECOND)),
        ]
    )

    rows = (mine, theirs.get(), of_another_account)
    for row in rows:
        row.refresh_from_db()
    assert [row.status for row in rows] == ["PAUSED", "APPROVED", "APPROVED"]


def test_the_same_event_is_news_to_each_tenant_that_it_is_about(
    acme: Cast, globex: Cast, synced: datetime
) -> None:
    Template.objects.update(waba_id="777")
    said = replace(event(acme, STATUS, "PAUSED", synced + SECOND), waba_id="777")

    for cast in (acme, globex, acme):
        store([ReportedChange(cast.tenant.id, said)])

    statuses = {row.tenant_id: row.status for row in Template.objects.all()}
    assert statuses == {acme.tenant.id: "PAUSED", globex.tenant.id: "PAUSED"}
    assert TemplateEventRow.objects.count() == 2


def test_it_keeps_what_a_category_was_as_meta_says_or_as_it_was_known(report: Report) -> None:
    said = report((1, CATEGORY, "UTILITY"), details={"previous_category": "AUTHENTICATION"})
    assert (said.category, said.previous_category) == ("UTILITY", "AUTHENTICATION")

    known = report((2, CATEGORY, "MARKETING"))
    assert (known.category, known.previous_category) == ("MARKETING", "UTILITY")
    assert report((3, CATEGORY, "")).category == "MARKETING"


def test_only_a_rejection_changes_the_reason_of_one(report: Report) -> None:
    report((1, STATUS, "REJECTED"), reason="SCAM")

    paused = report((2, STATUS, "PAUSED"), reason="NONE")
    again = report((3, STATUS, "REJECTED"))

    assert (paused.rejected_reason, again.rejected_reason) == ("SCAM", "")


def test_words_of_a_later_version_fit_their_columns(report: Report) -> None:
    word, sentence = "X" * 64, "x" * 600
    said = [(1, change, word) for change in (STATUS, QUALITY, CATEGORY)]

    row = report(
        *said,
        (2, STATUS, "REJECTED"),
        reason=sentence,
        details={"previous_category": sentence},
        name=sentence,
        language=sentence,
    )

    sizes = (row.quality, row.category, row.previous_category, row.rejected_reason)
    assert [len(kept) for kept in sizes] == [16, 64, 64, 64]
    stored = TemplateEventRow.objects.filter(event="REJECTED").get()
    assert [len(stored.name), len(stored.language), stored.reason] == [512, 32, sentence]


def test_it_publishes_what_changed_and_nothing_else(
    acme: Cast, globex: Cast, report: Report
) -> None:
    for cast in (acme, globex):
        EventSubscription.objects.create(
            tenant_id=cast.tenant.id,
            url="https://apps.example/",
            sealed_secrets=b"",
        )
    row = report((1, STATUS, "PAUSED"), (2, QUALITY, "RED"))
    report((1, STATUS, "PAUSED"))
    report((3, STATUS, "PAUSED"))

    (published,) = OutgoingEvent.objects.all()
    assert (published.tenant_id, published.type) == (acme.tenant.id, "template.updated")
    assert published.occurred_at == row.quality_at
    assert (published.data["status"], published.data["quality"]) == ("PAUSED", "RED")


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
