"""Linked devices in the admin: who sees and does what, and the page that links a phone."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connectors.linked_device.models import SenderSession, SessionLease
from messaging import numbers
from messaging.models import NumberState
from tests.conftest import Cast
from tests.linked_device import devices
from tests.linked_device.devices import asked, html, url_of
from tests.people import list_of, member, page_of, superuser
from workspaces.models import Role, Workspace

pytestmark = pytest.mark.django_db

DIGITS = "27711558396"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def device(acme: Cast, globex: Cast) -> Workspace:
    """A linked device of acme; globex has one as well."""
    devices.session_of(devices.linked(globex))
    return devices.linked(acme)


def change_page(session: SenderSession) -> str:
    return page_of("linked_device_sendersession", session.pk)


def test_it_lists_devices_that_nobody_touched(acme: Cast, device: Workspace) -> None:
    page = html(superuser(), list_of("linked_device_sendersession"))

    assert device.name in page
    assert "Device of globex" in page
    assert SenderSession.objects.filter(workspace=device).count() == 1


def test_a_member_sees_own_devices_only(acme: Cast, device: Workspace) -> None:
    foreign = SenderSession.objects.exclude(tenant_id=acme.tenant.pk).get()
    browser = member(acme.tenant)

    page = html(browser, list_of("linked_device_sendersession"))

    assert device.name in page
    assert "globex" not in page
    for name, more in (("pair", ()), ("pairing", ())):
        assert browser.get(url_of(name, foreign, *more)).status_code == 404
    assert browser.post(url_of("pair", foreign), {"by": "QR"}).status_code == 404
    assert browser.post(url_of("ask", foreign, "stop")).status_code == 404
    assert asked(foreign)["pair_by"] == ""


def test_it_says_everything_on_the_devices_page(
    acme: Cast, device: Workspace, now: datetime
) -> None:
    sealed = numbers.seal(DIGITS, tenant_id=acme.tenant.id, workspace_id=device.id)
    NumberState.objects.create(workspace=device, tenant_id=acme.tenant.id, sealed_number=sealed)
    session = devices.session_of(
        device,
        state="CONFLICT",
        reason="Somebody else has it.",
        home="berlin",
        paired_at=now,
        library="neonize 0.5",
        wanted="RUNNING",
    )
    SessionLease.objects.create(
        session=session,
        tenant_id=acme.tenant.id,
        owner=session.pk,
        host="berlin",
        pid=4711,
        fencing_token=3,
        acquired_at=now,
        renewed_at=now,
        expires_at=now + timedelta(seconds=60),
    )

    page = html(member(acme.tenant), change_page(session))

    for fact in (
        "Somebody else has it.",
        "berlin, process 4711, token 3",
        "neonize 0.5",
        "+27XXXXXXXXX",
        "none here",
        "0 to send",
        "Replaced by another client",
    ):
        assert fact in page, fact
    assert DIGITS not in page


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_its_buttons_may_be_pressed_twice(
    acme: Cast, device: Workspace, now: datetime, verb: str
) -> None:
    session = devices.session_of(device, paired_at=now)
    browser = member(acme.tenant)

    for _ in range(2):
        answer = browser.post(url_of("ask", session, verb), follow=True)
        assert f"Asked it to {verb}" in answer.content.decode()

    assert asked(session)["wanted"] == ("STOPPED" if verb == "stop" else "RUNNING")
    entry = LogEntry.objects.filter(object_id=str(session.pk)).latest("pk")
    assert entry.change_message == f"Asked it to {verb}."


def test_its_buttons_take_no_get_and_no_other_word(acme: Cast, device: Workspace) -> None:
    session, browser = devices.session_of(device), member(acme.tenant)

    assert browser.get(url_of("ask", session, "start")).status_code == 405
    assert browser.post(url_of("ask", session, "clear")).status_code == 404


def test_it_says_why_nothing_was_done(acme: Cast, device: Workspace) -> None:
    session = devices.session_of(device)

    answer = member(acme.tenant).post(url_of("ask", session, "start"), follow=True)

    assert "No phone is linked" in answer.content.decode()
    assert not LogEntry.objects.filter(object_id=str(session.pk)).exists()


def test_it_asks_the_selected_devices(acme: Cast, device: Workspace, now: datetime) -> None:
    mine = devices.session_of(device, paired_at=now)
    foreign = SenderSession.objects.exclude(tenant_id=acme.tenant.pk).get()
    SenderSession.objects.filter(pk=foreign.pk).update(paired_at=now)
    form = {"action": "start", "_selected_action": [str(mine.pk), str(foreign.pk)]}

    answer = member(acme.tenant).post(list_of("linked_device_sendersession"), form, follow=True)

    assert "1 asked to start." in answer.content.decode()
    assert (asked(mine)["wanted"], asked(foreign)["wanted"]) == ("RUNNING", "STOPPED")


def test_a_viewer_sees_and_does_nothing(acme: Cast, device: Workspace, now: datetime) -> None:
    session = devices.pairing(device, now)
    viewer = member(acme.tenant, Role.VIEWER)

    page = html(viewer, change_page(session))

    assert "Link a phone" not in page
    for url in (url_of("pair", session), url_of("pairing", session)):
        assert viewer.get(url).status_code == 403
    assert viewer.post(url_of("ask", session, "stop")).status_code == 403
    assert viewer.post(url_of("pair", session), {"by": "CODE"}).status_code == 403
    form = {"action": "stop", "_selected_action": [str(session.pk)]}
    viewer.post(list_of("linked_device_sendersession"), form)
    assert (asked(session)["wanted"], asked(session)["pair_by"]) == ("RUNNING", "QR")


def test_strangers_have_to_sign_in(device: Workspace, now: datetime) -> None:
    session = devices.pairing(device, now)

    for url in (change_page(session), url_of("pair", session), url_of("pairing", session)):
        answer = Client().get(url)
        assert (answer.status_code, answer.url.partition("?")[0]) == (302, "/admin/login/")
    assert Client().post(url_of("ask", session, "stop")).status_code == 302
    assert asked(session)["wanted"] == "RUNNING"


def test_it_escapes_what_an_account_calls_itself(acme: Cast, device: Workspace) -> None:
    session = devices.session_of(device, push_name=SCRIPT, reason=SCRIPT, state="FAILED")
    boss = superuser()

    for url in (
        list_of("linked_device_sendersession"),
        change_page(session),
        url_of("pair", session),
    ):
        assert SCRIPT not in html(boss, url)


def test_it_asks_the_same_number_of_queries_for_a_full_list(acme: Cast) -> None:
    boss, counts = superuser(), []
    for number in range(6):
        devices.session_of(devices.linked(acme, f"Device {number}"))
        if number in (1, 5):
            with CaptureQueriesContext(connection) as queries:
                html(boss, list_of("linked_device_sendersession"))
            counts.append(len(queries))

    assert counts[0] == counts[1]


@pytest.mark.parametrize(("minutes", "named"), [(0, 0), (2, 1)])
def test_the_overview_names_devices_that_no_host_runs(
    acme: Cast, device: Workspace, now: datetime, minutes: int, named: int
) -> None:
    since = now - timedelta(minutes=minutes)
    devices.session_of(device, state="WAITING", wanted="RUNNING", since=since)

    shown = superuser().get(reverse("admin:index")).context["devices"]

    assert len(shown) == named


def test_the_overview_names_devices_that_need_somebody(
    acme: Cast, globex: Cast, device: Workspace
) -> None:
    devices.session_of(device, state="LOGGED_OUT")
    SenderSession.objects.exclude(workspace=device).update(state="CONNECTED")

    whole, other = superuser(), member(globex.tenant)

    assert "need somebody" in html(whole, reverse("admin:index"))
    assert [d.workspace_id for d in whole.get(reverse("admin:index")).context["devices"]] == [
        device.pk
    ]
    assert other.get(reverse("admin:index")).context["devices"] == []
