"""When a session may start, and why not now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest

from connectors.linked_device.models import SenderSession, SessionLease
from connectors.linked_device.registry import HeldBack, held_back, pause
from workspaces.models import Tenant, Workspace

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=3)
READY = {"home": "one", "wanted": "RUNNING", "state": "WAITING", "paired_at": NOW}


def planned(
    *, is_served: bool = True, holder: str = "", ends: datetime | None = None, **changes: object
) -> HeldBack | None:
    """Return what holds back a session that could be started but for these changes."""
    session = SenderSession(**{**READY, **changes})
    session.workspace = Workspace(is_active=is_served, tenant=Tenant(status="ACTIVE"))
    session.lease = SessionLease(owner=uuid4() if holder else None, host=holder, expires_at=ends)
    return held_back(session, host="one", now=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"home": ""},
        {"state": "CONNECTED"},  # its host was killed
        {"paired_at": None, "pair_by": "QR"},
        {"state": "BANNED", "until": NOW},
        {"state": "RATE_LIMITED", "until": NOW - timedelta(hours=1)},
        {"state": "STARTING", "until": LATER},  # how long a start may take
        {"stopped_at": NOW - timedelta(seconds=30)},
        {"holder": "two", "ends": NOW - timedelta(seconds=30)},
    ],
)
def test_it_starts_what_nothing_holds_back(changes: dict[str, object]) -> None:
    assert planned(**changes) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"wanted": "STOPPED"}, "nobody wants"),
        ({"home": "two"}, "its store is on two"),
        ({"state": "CONFLICT"}, "operator"),
        ({"state": "LOGGED_OUT", "paired_at": None, "pair_by": ""}, "operator"),
        ({"state": "OUTDATED"}, "operator"),
        ({"paired_at": None}, "no phone"),
        ({"is_served": False}, "not in use"),
    ],
)
def test_it_leaves_what_somebody_has_to_change(changes: dict[str, object], why: str) -> None:
    left = planned(**changes)

    assert left is not None and left.until is None
    assert why in left.why


@pytest.mark.parametrize(
    ("changes", "until"),
    [
        ({"state": "BANNED", "until": LATER}, LATER),
        ({"state": "RATE_LIMITED", "until": LATER}, LATER),
        ({"state": "FAILED", "until": LATER}, LATER),
        ({"stopped_at": NOW - timedelta(seconds=10)}, NOW + timedelta(seconds=20)),
        (
            {"holder": "two", "ends": NOW + timedelta(seconds=5)},
            NOW + timedelta(seconds=35),
        ),
        # The longest wait counts.
        (
            {"state": "BANNED", "until": NOW + timedelta(seconds=1), "stopped_at": NOW},
            NOW + timedelta(seconds=30),
        ),
    ],
)
def test_it_waits_for_what_ends_by_itself(changes: dict[str, object], until: datetime) -> None:
    waiting = planned(**changes)

    assert waiting is not None
    assert waiting.until == until


def test_it_waits_longer_after_each_failure_up_to_five_minutes() -> None:
    pauses = [pause(failures, jitter=0).total_seconds() for failures in range(1, 200)]

    assert pauses[:7] == [5, 10, 20, 40, 80, 160, 300]
    assert all(before <= after <= 300 for before, after in pairwise(pauses))
    assert pause(3, jitter=1).total_seconds() == 16
