"""Broadcasts in the admin: seen by members, moved by managers, no number shown."""

from __future__ import annotations

from datetime import datetime

from django.urls import reverse

from messaging.models import Broadcast
from tests.broadcasts.conftest import draft, people, phone, start, template
from tests.conftest import Cast
from tests.people import list_of, member, page_of
from workspaces.models import Role


def press(browser, action: str, *broadcasts: Broadcast) -> str:
    """Press a button for some rows of the list; return the page that follows."""
    form = {"action": action, "_selected_action": [str(b.pk) for b in broadcasts]}
    url = reverse("admin:messaging_broadcast_changelist")
    return browser.post(url, form, follow=True).content.decode()


def test_a_manager_pauses_resumes_and_cancels(running: Broadcast, acme: Cast) -> None:
    browser = member(acme.tenant, Role.MANAGER)

    for action, state in (("pause", "PAUSED"), ("resume", "RUNNING"), ("cancel", "CANCELLED")):
        assert "1 broadcasts were changed." in press(browser, action, running)
        running.refresh_from_db()
        assert running.state == state
    assert "it has to be" in press(browser, "resume", running)


def test_nobody_else_does(running: Broadcast, acme: Cast, globex: Cast) -> None:
    press(member(acme.tenant, Role.VIEWER), "pause", running)
    press(member(globex.tenant, Role.MANAGER), "pause", running)

    running.refresh_from_db()
    assert running.state == "RUNNING"


def test_pages_show_how_far_it_is_and_no_number(acme: Cast, now: datetime) -> None:
    template(acme)
    broadcast = start(draft(acme, people(2) + f"{phone(9)},r,\n".encode()), now)
    browser = member(acme.tenant, Role.VIEWER)

    for address in (
        list_of("messaging_broadcast"),
        page_of("messaging_broadcast", broadcast.pk),
    ):
        page = browser.get(address).content.decode()
        assert "1 row does not fit the template" in page
        assert phone(9)[4:] not in page
    assert "TEMPLATE_PARAMETERS" in page
