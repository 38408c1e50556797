"""What is wrong with a number, in sentences, over any transport."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from connectors.linked_device import health, hearing
from messaging.models import NumberState, SendingPause
from tests.conftest import Cast
from tests.linked_device.told import hold, linked, message, messages, session_of
from workspaces.models import Workspace

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture
def device(acme: Cast) -> Workspace:
    """A linked device of acme, connected and held by a process."""
    workspace = linked(acme)
    hold(session_of(workspace, NOW - timedelta(days=2)), NOW)
    return workspace


def chatter(workspace: Workspace, *, last: datetime) -> None:
    """Let a number hear something every two hours, 30 times, up to ``last``."""
    for back in range(30):
        message(workspace, last - timedelta(hours=2 * back))


def test_a_connected_number_that_hears_people_is_well(device: Workspace) -> None:
    chatter(device, last=NOW - timedelta(minutes=1))
    found = health.look(device, now=NOW)
    assert found.ok
    assert found.heard_at == NOW - timedelta(minutes=1)


def test_silence_as_long_as_its_habit_is_no_problem(device: Workspace) -> None:
    chatter(device, last=NOW - timedelta(hours=2.9))
    found = health.look(device, now=NOW)
    assert found.ok
    assert found.patience == timedelta(hours=3)


def test_a_connected_number_that_is_silent_for_longer_is_deaf(device: Workspace) -> None:
    chatter(device, last=NOW - timedelta(hours=3.1))
    (problem,) = health.look(device, now=NOW).problems
    assert problem.startswith("Connected, and nothing heard since 2026-03-31 08:54 UTC;")
    assert "longest silence in two weeks was 2.0 h" in problem


def test_a_receipt_is_a_sound_too(device: Workspace) -> None:
    chatter(device, last=NOW - timedelta(hours=3.1))
    read = {"read_at": (NOW - timedelta(minutes=5)).isoformat()}
    message(device, NOW - timedelta(hours=5), "read", delivery=read)
    found = health.look(device, now=NOW)
    assert found.ok
    assert found.heard_at == NOW - timedelta(minutes=5)


def test_what_it_sends_itself_is_no_sound(device: Workspace) -> None:
    chatter(device, last=NOW - timedelta(hours=3.1))
    accepted = {"accepted_at": NOW.isoformat()}
    message(device, NOW, "accepted", delivery=accepted)
    assert not health.look(device, now=NOW).ok


def test_a_number_that_came_back_a_moment_ago_is_given_time(acme: Cast) -> None:
    workspace = linked(acme)
    chatter(workspace, last=NOW - timedelta(hours=5))
    hold(session_of(workspace, NOW), NOW)
    assert health.look(workspace, now=NOW).ok


def test_a_number_that_hears_little_is_never_called_deaf(device: Workspace) -> None:
    for day in range(1, 14):
        message(device, NOW - timedelta(days=day))
    assert health.look(device, now=NOW).ok


def test_a_cloud_api_number_may_be_deaf_as_well(acme: Cast) -> None:
    Workspace.objects.update(created_at=NOW - timedelta(days=30))
    acme.workspace.refresh_from_db()
    chatter(acme.workspace, last=NOW - timedelta(hours=4))
    (problem,) = health.look(acme.workspace, now=NOW).problems
    assert "nothing heard" in problem


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("CONFLICT", "Replaced by another client (since"),
        ("BANNED", "Banned for a time (since"),
        ("PAIRING", "Pairing (since"),
        ("STOPPED", "Stopped (since"),
    ],
)
def test_a_number_that_is_not_connected_says_why(acme: Cast, state: str, says: str) -> None:
    workspace = linked(acme)
    hold(session_of(workspace, NOW, state), NOW)
    (problem,) = health.look(workspace, now=NOW).problems
    assert problem.startswith(says)
    assert problem.endswith(f"Because it is {state.lower()}.")


def test_nobody_ever_linked_a_phone(acme: Cast) -> None:
    workspace = linked(acme)
    assert health.look(workspace, now=NOW).problems == ("No phone is linked: pair it.",)
    session_of(workspace, NOW, "STOPPED", paired_at=None, wanted="STOPPED")
    assert health.look(workspace, now=NOW).problems == ("No phone is linked: pair it.",)


def test_a_session_whose_host_is_down_is_said_to_be_connected_by_nobody(acme: Cast) -> None:
    workspace = linked(acme)
    session_of(workspace, NOW)
    (problem,) = health.look(workspace, now=NOW).problems
    assert "no session host (on desk) runs it" in problem


def test_it_counts_only_what_ended_in_the_last_day(device: Workspace) -> None:
    messages(device, NOW - timedelta(hours=25), *["failed"] * 9)
    messages(device, NOW, "failed", "unknown", "sent", "sent", "read", "queued")
    (problem,) = health.look(device, now=NOW).problems
    assert problem == "2 of 5 messages of the last 24 hours failed (40%)."
    assert health.look(device, now=NOW, worst_rate=0.4).ok


def test_a_cloud_api_number_says_what_the_platform_said(acme: Cast, globex: Cast) -> None:
    now = datetime.now(UTC)
    ids = {"tenant_id": acme.tenant.pk, "workspace_id": acme.workspace.pk}
    NumberState.objects.create(**ids, status="FLAGGED", problem="Quality is low")
    SendingPause.objects.create(**ids, code=190, reason="The token expired.", since=now)
    assert health.look(acme.workspace, now=now).problems == (
        "The number may not send: Quality is low.", "Sending is paused (190): The token expired."
    )  # fmt: skip
    assert health.look(globex.workspace, now=now).ok


def test_it_reads_the_index_by_time(device: Workspace) -> None:
    for back in range(200):
        message(device, NOW - timedelta(days=back))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE messages; SET LOCAL enable_seqscan = off")
        cursor.execute(
            f"EXPLAIN {hearing.HEARD}",
            {"workspace": device.pk, "since": NOW - timedelta(days=14), "now": NOW},
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "messages_newest_first" in plan
