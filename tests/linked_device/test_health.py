"""What is wrong with a number, in sentences, over any transport."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from connectors.linked_device import health
from connectors.linked_device.health import SilenceBaseline
from messaging.models import NumberState, SendingPause
from tests.conftest import Cast
from tests.linked_device.rows import hold, linked, message, messages, session_of
from workspaces.models import Workspace

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db
Spell = tuple[datetime, datetime, int]


@pytest.fixture
def device(acme: Cast) -> Workspace:
    """A linked device of acme, connected and held by a process."""
    workspace = linked(acme)
    hold(session_of(workspace, NOW - timedelta(days=2)), NOW)
    return workspace


def chatter(workspace: Workspace, *, last: datetime) -> None:
    """Let a number receive something every two hours, 30 times, up to ``last``."""
    for back in range(30):
        message(workspace, last - timedelta(hours=2 * back))


def test_a_connected_number_that_people_write_to_is_well(device: Workspace) -> None:
    chatter(device, last=NOW - timedelta(minutes=1))
    found = health.check(device, now=NOW)
    assert found.ok
    assert found.last_activity_at == NOW - timedelta(minutes=1)


def test_silence_as_long_as_its_longest_is_no_problem(device: Workspace) -> None:
    chatter(device, last=NOW - timedelta(hours=2.9))
    found = health.check(device, now=NOW)
    assert found.ok
    assert found.tolerated_silence == timedelta(hours=3)


def test_a_connected_number_that_is_silent_for_longer_has_a_problem(device: Workspace) -> None:
    chatter(device, last=NOW - timedelta(hours=3.1))
    (problem,) = health.check(device, now=NOW).problems
    assert problem.startswith("Connected, and nothing heard since 2026-03-31 08:54 UTC;")
    assert "longest silence in two weeks was 2.0 h" in problem


def test_a_receipt_is_activity_too(device: Workspace) -> None:
    chatter(device, last=NOW - timedelta(hours=3.1))
    read = {"read_at": (NOW - timedelta(minutes=5)).isoformat()}
    message(device, NOW - timedelta(hours=5), "read", delivery=read)
    found = health.check(device, now=NOW)
    assert found.ok
    assert found.last_activity_at == NOW - timedelta(minutes=5)


def test_what_it_sends_itself_is_no_activity(device: Workspace) -> None:
    chatter(device, last=NOW - timedelta(hours=3.1))
    accepted = {"accepted_at": NOW.isoformat()}
    message(device, NOW, "accepted", delivery=accepted)
    assert not health.check(device, now=NOW).ok


def test_a_number_that_came_back_a_moment_ago_is_given_time(acme: Cast) -> None:
    workspace = linked(acme)
    chatter(workspace, last=NOW - timedelta(hours=5))
    hold(session_of(workspace, NOW), NOW)
    assert health.check(workspace, now=NOW).ok


def test_a_number_that_receives_little_is_never_called_silent(device: Workspace) -> None:
    for day in range(1, 14):
        message(device, NOW - timedelta(days=day))
    assert health.check(device, now=NOW).ok


def test_a_cloud_api_number_may_be_silent_as_well(acme: Cast) -> None:
    Workspace.objects.update(created_at=NOW - timedelta(days=30))
    acme.workspace.refresh_from_db()
    chatter(acme.workspace, last=NOW - timedelta(hours=4))
    (problem,) = health.check(acme.workspace, now=NOW).problems
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
    (problem,) = health.check(workspace, now=NOW).problems
    assert problem.startswith(says)
    assert problem.endswith(f"Because it is {state.lower()}.")


def test_nobody_ever_linked_a_phone(acme: Cast) -> None:
    workspace = linked(acme)
    assert health.check(workspace, now=NOW).problems == ("No phone is linked: pair it.",)
    session_of(workspace, NOW, "STOPPED", paired_at=None, wanted="STOPPED")
    assert health.check(workspace, now=NOW).problems == ("No phone is linked: pair it.",)


def test_a_session_whose_host_is_down_is_said_to_be_connected_by_nobody(acme: Cast) -> None:
    workspace = linked(acme)
    session_of(workspace, NOW)
    (problem,) = health.check(workspace, now=NOW).problems
    assert "no session host (on desk) runs it" in problem


def test_it_counts_only_what_ended_in_the_last_day(device: Workspace) -> None:
    messages(device, NOW - timedelta(hours=25), *["failed"] * 9)
    messages(device, NOW, "failed", "unknown", "sent", "sent", "read", "queued")
    (problem,) = health.check(device, now=NOW).problems
    assert problem == "2 of 5 messages of the last 24 hours failed (40%)."
    assert health.check(device, now=NOW, worst_rate=0.4).ok


def test_a_cloud_api_number_says_what_the_platform_said(acme: Cast, globex: Cast) -> None:
    now = datetime.now(UTC)
    ids = {"tenant_id": acme.tenant.pk, "workspace_id": acme.workspace.pk}
    NumberState.objects.create(**ids, status="FLAGGED", problem="Quality is low")
    SendingPause.objects.create(**ids, code=190, reason="The token expired.", since=now)
    assert health.check(acme.workspace, now=now).problems == (
        "The number may not send: Quality is low.",
        "Sending is paused (190): The token expired.",
    )
    assert health.check(globex.workspace, now=now).ok


def test_it_reads_the_index_by_time(device: Workspace) -> None:
    for back in range(200):
        message(device, NOW - timedelta(days=back))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE messages; SET LOCAL enable_seqscan = off")
        cursor.execute(
            f"EXPLAIN {health.ACTIVITY}",
            {"workspace": device.pk, "since": NOW - timedelta(days=14), "now": NOW},
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "messages_newest_first" in plan


def spells(*hours: float) -> list[Spell]:
    """Return single events so many hours ago."""
    moments = [NOW - timedelta(hours=hour) for hour in hours]
    return [(moment, moment, 1) for moment in moments]


def test_it_finds_the_longest_silence_and_the_last_activity() -> None:
    found = SilenceBaseline.of(spells(30, 20, 18, 5))
    assert found == SilenceBaseline(4, timedelta(hours=13), NOW - timedelta(hours=5))


def test_a_spell_counts_all_its_events() -> None:
    minute = timedelta(minutes=1)
    found = SilenceBaseline.of([(NOW - minute, NOW, 40)])
    assert found == SilenceBaseline(40, minute, NOW)


def test_a_number_without_events_has_no_baseline() -> None:
    assert SilenceBaseline.of([]) == SilenceBaseline(0, timedelta(), None)
    assert SilenceBaseline.of([]).tolerated is None


@pytest.mark.parametrize(
    ("events", "longest", "tolerated"),
    [
        (19, timedelta(hours=10), None),
        (20, timedelta(hours=10), timedelta(hours=15)),
        (500, timedelta(minutes=5), timedelta(hours=1)),
    ],
)
def test_the_silence_it_tolerates_follows_from_its_past(
    events: int, longest: timedelta, tolerated: timedelta | None
) -> None:
    assert SilenceBaseline(events, longest, NOW).tolerated == tolerated


@pytest.mark.parametrize(("hours", "exceeded"), [(15, False), (15.1, True)])
def test_a_longer_silence_exceeds_it(hours: float, exceeded: bool) -> None:
    baseline = SilenceBaseline(20, timedelta(hours=10), NOW)
    since = NOW - timedelta(hours=hours)
    assert baseline.is_exceeded(silent_since=since, now=NOW) is exceeded
