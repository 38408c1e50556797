"""What a session's process writes down, and that it writes nothing once the lease is another's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from connectors.linked_device import leases, sessions
from connectors.linked_device.events import LinkedAccount
from connectors.linked_device.machine import ShowPairing
from connectors.linked_device.models import PairBy, SenderSession, SessionLease, SessionState
from connectors.linked_device.record import Record
from connectors.linked_device.status import SessionStatus
from messaging import numbers
from messaging.models import NumberState
from tests.conftest import Cast
from tests.linked_device import sends

ACCOUNT = LinkedAccount(number="447700900123", push_name="Front desk", platform="iphone")
HOUR = timedelta(hours=1)
STOPPED = SessionStatus(SessionState.STOPPED, "Stopped.")


@pytest.fixture
def session(acme: Cast) -> SenderSession:
    """A session whose pairing was asked for."""
    return sends.linked(acme, wanted="RUNNING", pair_by="QR", failures=2)


@pytest.fixture
def record(session: SenderSession) -> Record:
    """The record of its process."""
    return Record(session, sends.leased(session))


def row() -> dict[str, object]:
    return SenderSession.objects.values().get()


WRITES: dict[str, Callable[[Record, datetime], None]] = {
    "status": lambda record, now: record.write_status(STOPPED, now=now),
    "started": lambda record, now: record.started("neonize", now=now),
    "show_pairing": lambda record, now: record.show_pairing(ShowPairing(PairBy.QR, "x", now)),
    "forget_pairing": lambda record, now: record.forget_pairing(),
    "give_up_pairing": lambda record, now: record.give_up_pairing(),
    "linked": lambda record, now: record.linked(ACCOUNT, now=now),
    "unlinked": lambda record, now: record.unlinked(),
    "steady": lambda record, now: record.steady(),
    "activity": lambda record, now: record.write_activity({"last_event_at": now}),
}


@pytest.mark.parametrize("name", WRITES)
def test_it_writes_nothing_once_somebody_else_has_the_lease(
    session: SenderSession, record: Record, name: str, now: datetime
) -> None:
    SessionLease.objects.update(expires_at=now - HOUR)
    sends.leased(session)
    before = row()

    with pytest.raises(leases.LeaseLost):
        WRITES[name](record, now)
    assert row() == before
    assert NumberState.objects.get(pk=session.workspace_id).sealed_number is None


def test_it_writes_down_who_is_linked(
    session: SenderSession, record: Record, globex: Cast, now: datetime
) -> None:
    other = sends.linked(globex)
    record.linked(ACCOUNT, now=now)
    record.linked(LinkedAccount(), now=now + HOUR)

    kept = SenderSession.objects.get(pk=session.pk)
    assert (kept.paired_at, kept.pair_by) == (now, "")
    assert (kept.device_platform, kept.push_name) == ("iphone", "Front desk")
    assert numbers.number_of(NumberState.objects.get(pk=session.workspace_id)) == ACCOUNT.number
    assert SenderSession.objects.get(pk=other.pk).paired_at is None


def test_it_keeps_no_number_in_a_name(record: Record, now: datetime) -> None:
    record.linked(LinkedAccount(number="447700900123", push_name="Desk 07700 900123"), now=now)

    assert row()["push_name"] == "Desk •••"


def test_it_keeps_a_pairing_sealed_until_it_is_over(
    session: SenderSession, record: Record, now: datetime
) -> None:
    record.show_pairing(ShowPairing(PairBy.QR, "2@secret", now + HOUR))
    shown = SenderSession.objects.get()
    assert b"2@secret" not in bytes(shown.sealed_pairing)
    assert sessions.pairing_of(shown, now=now).code == "2@secret"

    record.forget_pairing()
    assert sessions.pairing_of(SenderSession.objects.get(), now=now) is None


def test_it_gives_a_pairing_up_and_forgets_failures(record: Record) -> None:
    record.give_up_pairing()
    record.steady()

    kept = row()
    assert (kept["wanted"], kept["pair_by"], kept["failures"]) == ("STOPPED", "", 0)
