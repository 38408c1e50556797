"""Who may hold a session: one process at a time, whoever asks, and however often."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError

from connectors.linked_device import leases, status, stores
from connectors.linked_device.leases import Lease, LeaseHeld, LeaseLost
from connectors.linked_device.models import SenderSession, SessionLease, SessionState
from connectors.linked_device.status import SessionStatus
from tests.conftest import Cast
from tests.linked_device import devices

RACERS, ROUNDS = 6, 25
LONG = timedelta(hours=1)


@pytest.fixture
def session(acme: Cast) -> SenderSession:
    """acme's linked device, which nobody ever had."""
    return devices.session_of(devices.linked(acme))


def take(session: SenderSession, host: str = "one") -> Lease:
    return leases.acquire(session.pk, owner=uuid4(), host=host, pid=7)


def row(session: SenderSession) -> SessionLease:
    return SessionLease.objects.get(pk=session.pk)


def move(session: SenderSession, *, lease: timedelta, stop: timedelta | None = None) -> None:
    """Make a lease end, and the last stop have been, so long from now."""
    now = datetime.now(UTC)
    SessionLease.objects.filter(pk=session.pk).update(expires_at=now + lease)
    stopped_at = now + stop if stop is not None else None
    SenderSession.objects.filter(pk=session.pk).update(stopped_at=stopped_at)


def refused(session: SenderSession) -> LeaseHeld:
    with pytest.raises(LeaseHeld) as caught:
        take(session, "two")
    return caught.value


def test_it_is_held_by_one_and_says_by_whom_and_until_when(session: SenderSession) -> None:
    lease = take(session)

    held = refused(session)

    assert lease.fencing_token == 1
    assert lease.tenant_id == session.tenant_id
    assert held.host == "one"
    assert held.until == row(session).expires_at + leases.GRACE


@pytest.mark.parametrize(("ago", "is_free"), [(29, False), (31, True)])
def test_it_is_free_half_a_minute_after_its_lease_ended(
    session: SenderSession, ago: int, is_free: bool
) -> None:
    take(session)
    move(session, lease=-timedelta(seconds=ago))

    if is_free:
        assert take(session, "two").fencing_token == 2
    else:
        assert refused(session).host == "one"


@pytest.mark.parametrize(("ago", "is_free"), [(29, False), (31, True)])
def test_it_is_free_half_a_minute_after_it_was_given_back(
    session: SenderSession, ago: int, is_free: bool
) -> None:
    leases.release(take(session))
    stopped_at = SenderSession.objects.get(pk=session.pk).stopped_at
    assert refused(session).until == stopped_at + leases.GAP
    move(session, lease=timedelta(0), stop=-timedelta(seconds=ago))

    if is_free:
        assert take(session, "two").fencing_token == 2
    else:
        assert refused(session).host == ""


def test_it_waits_for_the_gap_after_the_end_of_a_process_that_was_paused(
    session: SenderSession,
) -> None:
    take(session)
    move(session, lease=-LONG)

    leases.record_end(session.pk, host="another", pid=7)
    leases.record_end(session.pk, host="one", pid=8)
    assert SenderSession.objects.get(pk=session.pk).stopped_at is None
    leases.record_end(session.pk, host="one", pid=7)

    assert refused(session).host == "one"


def test_it_is_renewed_while_it_lasts(session: SenderSession) -> None:
    lease = take(session)
    move(session, lease=timedelta(seconds=2))

    leases.renew(lease)

    assert row(session).expires_at > datetime.now(UTC) + timedelta(seconds=50)
    move(session, lease=-timedelta(seconds=1))
    with pytest.raises(LeaseLost):
        leases.renew(lease)


def test_it_lets_whoever_lost_it_do_nothing(session: SenderSession) -> None:
    old = take(session)
    move(session, lease=-LONG)
    new = take(session, "two")
    now = datetime.now(UTC)

    for verb in (leases.renew, leases.require):
        with pytest.raises(LeaseLost), transaction.atomic():
            verb(old)
    leases.release(old)
    connected = SessionStatus(SessionState.CONNECTED)

    assert not status.write(session.pk, connected, now=now, fencing_token=old.fencing_token)
    assert row(session).owner == new.owner
    assert SenderSession.objects.get(pk=session.pk).stopped_at is None
    with transaction.atomic():
        leases.require(new)
    assert status.write(session.pk, connected, now=now, fencing_token=new.fencing_token)


def test_it_knows_no_session_that_is_not_there(session: SenderSession) -> None:
    with pytest.raises(SenderSession.DoesNotExist):
        leases.acquire(uuid4(), owner=uuid4(), host="one", pid=1)


def race(session_id: UUID, start: threading.Barrier) -> Lease | None:
    start.wait()
    try:
        return leases.acquire(session_id, owner=uuid4(), host="racer", pid=1)
    except LeaseHeld:
        return None
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
def test_it_has_never_two_owners_however_many_race(session: SenderSession) -> None:
    take(session)
    start = threading.Barrier(RACERS)
    with ThreadPoolExecutor(RACERS) as racers:
        for number in range(ROUNDS):
            move(session, lease=-LONG)
            asked = [racers.submit(race, session.pk, start) for _ in range(RACERS)]
            won = [lease for one in asked if (lease := one.result())]

            assert [lease.fencing_token for lease in won] == [number + 2]
            assert won[0].owner == row(session).owner


@pytest.mark.django_db(transaction=True)
def test_it_keeps_the_gap_from_whoever_waits_for_its_release(session: SenderSession) -> None:
    with ThreadPoolExecutor(RACERS) as racers:
        for _ in range(ROUNDS):
            move(session, lease=-LONG)
            lease, start = take(session), threading.Barrier(RACERS)
            asked = [racers.submit(race, session.pk, start) for _ in range(RACERS - 1)]
            start.wait()
            leases.release(lease)

            assert [one.result() for one in asked] == [None] * (RACERS - 1)


@pytest.mark.django_db(transaction=True)
def test_it_cannot_be_taken_while_its_owner_marks_a_send(
    session: SenderSession, wait_for: Callable[..., None]
) -> None:
    lease = take(session)
    with pytest.raises(TransactionManagementError):
        leases.require(lease)
    ended = threading.Event()
    with ThreadPoolExecutor(1) as other:
        with transaction.atomic():
            leases.require(lease)
            other.submit(move, session, lease=-LONG).add_done_callback(lambda _: ended.set())
            assert not ended.wait(0.2)
        wait_for(ended.is_set)


def test_a_store_is_one_process_s_and_free_when_that_ends(tmp_path: Path) -> None:
    with stores.hold(tmp_path):
        with pytest.raises(stores.StoreInUse), stores.hold(tmp_path):
            pass
        with stores.hold(tmp_path, "host.lock"):
            pass
    with stores.hold(tmp_path):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
