"""What is wrong with a number, in sentences, over any transport."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import uuid4

import pytest
from django.db import connection

from connectors.linked_device import health
from connectors.linked_device.health import SilenceBaseline
from connectors.linked_device.models import (
    NEEDS_OPERATOR,
    SenderSession,
    SessionLease,
    Wanted,
)
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


def moment(seconds: int | None) -> datetime | None:
    """Return the moment so many seconds ago; ``None``: never."""
    return None if seconds is None else NOW - timedelta(seconds=seconds)


def every_session(cast: Cast) -> list[SenderSession]:
    """Give a tenant a linked device in every condition that matters to who has to act."""
    # State, wanted, since, until, stopped at, lease: none, or its end and whether it has an owner.
    conditions = list(
        product(
            ("CONNECTED", "CONFLICT"),
            Wanted,
            (59, 61),
            (None, 59, 61),
            (None, 59, 61),
            (None, (59, True), (61, True), (61, False), (-1, True)),
        )
    )
    places = Workspace.objects.bulk_create(
        Workspace(
            tenant=cast.tenant, name=f"{n}", external_id=str(uuid4()), transport="LINKED_DEVICE"
        )
        for n in range(len(conditions))
    )
    sessions, leases = [], []
    for place, (state, wanted, since, until, stopped, lease) in zip(
        places, conditions, strict=True
    ):
        session = SenderSession(tenant_id=cast.tenant.id, workspace=place)
        session.state, session.wanted, session.since = state, wanted, moment(since)
        session.until, session.stopped_at = moment(until), moment(stopped)
        sessions.append(session)
        if lease is not None:
            end, is_owned = lease
            owner = uuid4() if is_owned else None
            leases.append(
                SessionLease(
                    session=session,
                    tenant_id=cast.tenant.id,
                    owner=owner,
                    fencing_token=1,
                    expires_at=moment(end),
                )
            )
    SenderSession.objects.bulk_create(sessions)
    SessionLease.objects.bulk_create(leases)
    rows = SenderSession.objects.filter(tenant_id=cast.tenant.id)
    return list(rows.select_related("workspace", "lease"))


def test_the_list_of_those_to_act_on_and_the_look_at_one_agree(acme: Cast) -> None:
    sessions = every_session(acme)
    listed = {found.id for found in health.needing_operator(now=NOW)}
    looked = {
        session.id
        for session in sessions
        if session.state in NEEDS_OPERATOR or health.is_unattended(session, now=NOW)
    }
    assert 0 < len(looked) < len(sessions)
    assert listed == looked


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, True),
        ({"wanted": "STOPPED"}, False),
        ({"state": "CONFLICT"}, False),
        ({"state": "LOGGED_OUT"}, False),
        ({"since": NOW - timedelta(seconds=60)}, False),
        ({"until": NOW - timedelta(seconds=60)}, False),
        ({"until": NOW + timedelta(hours=1)}, False),
        ({"stopped_at": NOW - timedelta(seconds=60)}, False),
        ({"stopped_at": NOW - timedelta(seconds=61)}, True),
    ],
)
def test_a_host_has_a_minute_to_start_what_should_run(
    acme: Cast, columns: dict[str, object], expected: bool
) -> None:
    given = {"state": "FAILED", "wanted": "RUNNING", "since": NOW - timedelta(seconds=61)}
    session = SenderSession(workspace=acme.workspace, **{**given, **columns})
    assert health.is_unattended(session, now=NOW) is expected


@pytest.mark.parametrize(
    ("state", "is_paired", "remedy"),
    [
        ("STOPPED", False, health.PAIR),
        ("STOPPED", True, health.START),
        # An account, and no store: who would pair again is refused.
        ("LOGGED_OUT", True, health.RESTORE),
        ("LOGGED_OUT", False, health.PAIR),
        ("CONFLICT", True, health.REMEDIES["CONFLICT"]),
        ("CONNECTED", True, ""),
    ],
)
def test_it_names_the_next_step(acme: Cast, state: str, is_paired: bool, remedy: str) -> None:
    paired_at = NOW if is_paired else None
    session = SenderSession(workspace=acme.workspace, state=state, since=NOW, paired_at=paired_at)
    session.wanted = Wanted.RUNNING
    assert health.remedy(session, now=NOW) == remedy


def test_a_host_that_is_down_comes_before_what_the_status_says(acme: Cast) -> None:
    session = SenderSession(workspace=acme.workspace, state="FAILED", wanted="RUNNING")
    session.since = NOW - timedelta(minutes=5)
    assert health.remedy(session, now=NOW) == health.NO_HOST


def test_few_sends_and_those_that_wait_say_nothing_about_a_number(device: Workspace) -> None:
    messages(device, NOW, "failed", "failed", "failed", "failed", "queued", "queued")
    assert health.check(device, now=NOW).ok
    messages(device, NOW, "failed")
    (problem,) = health.check(device, now=NOW).problems
    assert problem == "5 of 5 messages of the last 24 hours failed (100%)."


def test_the_status_stands_for_a_problem_that_the_platform_did_not_word(
    acme: Cast, globex: Cast
) -> None:
    for cast, status in ((acme, "BANNED"), (globex, "CONNECTED")):
        NumberState.objects.create(
            tenant_id=cast.tenant.pk, workspace_id=cast.workspace.pk, status=status
        )
    now = datetime.now(UTC)
    assert health.check(acme.workspace, now=now).problems == ("The number may not send: BANNED.",)
    assert health.check(globex.workspace, now=now).ok


def test_a_tenant_sees_its_own_devices_by_name_even_those_that_nobody_started(
    acme: Cast, globex: Cast
) -> None:
    later, first = linked(acme, "Workshop"), linked(acme, "Counter")
    session_of(later, NOW)
    theirs = linked(globex, "Branch")

    found = health.of_tenant(acme.tenant.id)

    assert [session.workspace for session in found] == [first, later]
    assert (found[0].state, found[0].paired_at) == ("STOPPED", None)
    assert health.find(tenant_id=acme.tenant.id, workspace_id=theirs.id) is None
    # A number of the Cloud API is no device.
    assert health.find(tenant_id=acme.tenant.id, workspace_id=acme.workspace.id) is None
    mine = health.find(tenant_id=acme.tenant.id, workspace_id=later.id)
    assert mine is not None
    assert mine.workspace == later
