"""``manage.py sender`` as operators type it: which one, start, stop, status."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from django.core.management import CommandError
from pytest_django.fixtures import Settings

from connectors.linked_device import supervisor
from connectors.linked_device.models import SenderSession, SessionState
from messaging import numbers
from messaging.models import NumberState
from tests.conftest import Cast
from tests.linked_device.conftest import Sender
from tests.linked_device.rows import hold, linked, session_of
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db
NUMBER = "27711558396"


def test_add_makes_a_linked_device_once(sender: Sender, acme: Cast) -> None:
    first = sender("add", "--tenant", "acme", "--name", "Front desk")
    again = sender("add", "--tenant", "acme", "--name", "Front desk")
    workspace = Workspace.objects.get(transport="LINKED_DEVICE")
    assert f"{workspace.id}" in first
    assert "outside WhatsApp's terms" in first
    assert "is there already" in again
    assert SenderSession.objects.get().workspace == workspace


def test_the_only_linked_device_needs_no_name(sender: Sender, acme: Cast, now: datetime) -> None:
    session_of(linked(acme), now)
    assert "acme/Front desk is stopped" in sender("stop")


def test_it_lists_those_it_might_be(
    sender: Sender, acme: Cast, globex: Cast, now: datetime
) -> None:
    mine, theirs = linked(acme), linked(globex, "Desk")
    with pytest.raises(CommandError) as refused:
        sender("start")
    assert f"acme/Front desk  {mine.id}" in str(refused.value)
    assert f"globex/Desk  {theirs.id}" in str(refused.value)


@pytest.mark.parametrize("name", ["acme/front desk", "workspace", "session"])
def test_it_is_found_by_any_of_its_names(
    sender: Sender, acme: Cast, globex: Cast, now: datetime, name: str
) -> None:
    mine = session_of(linked(acme), now)
    session_of(linked(globex), now)
    known = {"workspace": mine.workspace_id, "session": mine.id}
    sender("stop", known.get(name, name))
    assert set(SenderSession.objects.values_list("tenant_id", "wanted")) == {
        (acme.tenant.id, "STOPPED"),
        (globex.tenant.id, "RUNNING"),
    }


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("acme/nobody", "There is none of that name"),
        ("nobody/x", "There is no tenant 'nobody'"),
        ("x", "'x' names no linked device"),
        ("acme/acme support", "goes through CLOUD_API; only linked devices have sessions"),
    ],
)
def test_it_says_why_a_name_means_nothing(sender: Sender, acme: Cast, name: str, says: str) -> None:
    with pytest.raises(CommandError, match=says):
        sender("start", name)


def test_who_has_no_linked_device_is_told_how_to_add_one(sender: Sender, acme: Cast) -> None:
    with pytest.raises(CommandError, match="sender add"):
        sender("start")
    assert "sender add" in sender("status")


def test_start_says_that_no_phone_is_linked(sender: Sender, acme: Cast, now: datetime) -> None:
    linked(acme)
    with pytest.raises(CommandError, match="No phone is linked with this account: pair it first"):
        sender("start")


def test_start_of_a_connected_session_changes_nothing(
    sender: Sender, acme: Cast, now: datetime
) -> None:
    session = hold(session_of(linked(acme), now), now)
    assert "is connected already" in sender("start")
    assert SenderSession.objects.get().since == session.since


def test_start_waits_for_nobody_if_asked_so(sender: Sender, acme: Cast, now: datetime) -> None:
    session_of(linked(acme), now, "STOPPED", wanted="STOPPED")
    assert "not waited for" in sender("start", "--wait", 0)
    assert SenderSession.objects.get().wanted == "RUNNING"


def test_start_says_how_long_the_gap_is_still(sender: Sender, acme: Cast, now: datetime) -> None:
    stopped = now - timedelta(seconds=13)
    session_of(linked(acme), now, "STOPPED", wanted="STOPPED", stopped_at=stopped)
    with pytest.raises(CommandError, match=r"30 s between stop and start: 1[67] s left"):
        sender("start", "--wait", 0.01)


@pytest.mark.parametrize("home", ["desk", "attic"])
def test_start_says_that_no_host_runs(
    sender: Sender, acme: Cast, now: datetime, settings: Settings, home: str
) -> None:
    (settings.SIGMA_SENDER_STORE / supervisor.ALIVE).unlink()
    session_of(linked(acme), now, "WAITING", home=home)
    with pytest.raises(CommandError, match=rf"no session host \(on {home}\) runs it"):
        sender("start", "--wait", 0.01)


def test_start_does_not_wait_out_a_limit(sender: Sender, acme: Cast, now: datetime) -> None:
    session_of(linked(acme), now, "RATE_LIMITED", until=now + timedelta(hours=2))
    with pytest.raises(CommandError, match="Asked to wait"):
        sender("start")


def test_status_shows_every_state_with_its_remedy(
    sender: Sender, acme: Cast, now: datetime
) -> None:
    for state in SessionState.values:
        session_of(linked(acme, f"In {state}"), now, state)
    shown = " ".join(sender("status").split())
    for state in SessionState.values:
        assert f"acme/In {state}" in shown
    assert "Remedy: Find and stop the other program that has this account" in shown


def test_status_sends_nobody_to_pair_where_that_is_refused(
    sender: Sender, acme: Cast, now: datetime
) -> None:
    session_of(linked(acme), now, "LOGGED_OUT")
    assert "Remedy: Restore a backup, or clear it" in " ".join(sender("status").split())


def test_status_is_for_machines_too(
    sender: Sender, acme: Cast, globex: Cast, now: datetime
) -> None:
    session = hold(session_of(linked(acme), now), now)
    linked(globex)
    sealed = numbers.seal(NUMBER, tenant_id=acme.tenant.id, workspace_id=session.workspace_id)
    NumberState.objects.update(sealed_number=sealed)
    mine, theirs = json.loads(sender("status", "--json"))
    assert (mine["name"], mine["state"], mine["healthy"]) == ("acme/Front desk", "CONNECTED", True)
    assert (mine["phone"], mine["process"]["pid"]) == ("+27XXXXXXXXX", 4711)
    assert (theirs["name"], theirs["phone"], theirs["process"]) == ("globex/Front desk", None, None)


def test_status_shows_the_account_masked(sender: Sender, acme: Cast, now: datetime) -> None:
    session = session_of(linked(acme), now)
    sealed = numbers.seal(NUMBER, tenant_id=acme.tenant.id, workspace_id=session.workspace_id)
    NumberState.objects.update(sealed_number=sealed)
    shown = sender("status")
    assert "+27XXXXXXXXX" in shown
    assert NUMBER not in shown
