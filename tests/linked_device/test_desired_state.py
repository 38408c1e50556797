"""What an operator asks for is done also where a process is just about to end."""

from __future__ import annotations

from datetime import datetime

import pytest

from connectors.linked_device import sessions
from connectors.linked_device.models import FINAL, PairBy, SenderSession, SessionState, Wanted
from connectors.linked_device.record import Record
from tests.conftest import Cast
from tests.linked_device import sends

OVER = sorted(FINAL)


def fresh(session: SenderSession) -> SenderSession:
    return SenderSession.objects.select_related("lease").get(pk=session.pk)


def test_a_start_soon_after_a_stop_is_a_restart(acme: Cast, now: datetime) -> None:
    session = sends.linked(acme, wanted=Wanted.RUNNING, paired_at=now)
    record = Record(session, sends.leased(session))

    sessions.stop(session.id, now=now)
    started = sessions.start(session.id, now=now)
    assert (started.state, started.wanted) == (SessionState.WAITING, Wanted.RUNNING)
    assert record.desired_state().restart_asked_at == now, (
        "its process would go on, and say nothing"
    )

    again = sessions.start(session.id, now=now.replace(year=now.year + 1))
    assert again.restart_asked_at == now


@pytest.mark.parametrize("state", OVER)
@pytest.mark.parametrize("is_closing", [True, False])
def test_a_pairing_that_is_over_may_be_asked_for_again(
    acme: Cast, globex: Cast, now: datetime, state: SessionState, is_closing: bool
) -> None:
    other = sends.linked(globex, state=state, pair_by=PairBy.QR, wanted=Wanted.RUNNING)
    session = sends.linked(acme, state=state, pair_by=PairBy.QR, wanted=Wanted.RUNNING)
    if is_closing:
        sends.leased(session)

    sessions.pair(session.id, by=PairBy.QR, now=now)
    assert fresh(session).state == SessionState.WAITING, "no host would start it"
    assert fresh(other).state == state


@pytest.mark.parametrize("state", [SessionState.PAIRING, SessionState.RATE_LIMITED])
def test_a_pairing_that_goes_on_is_left_alone(
    acme: Cast, now: datetime, state: SessionState
) -> None:
    session = sends.linked(acme, state=state, pair_by=PairBy.QR, wanted=Wanted.RUNNING)

    sessions.pair(session.id, by=PairBy.QR, now=now)
    assert (fresh(session).state, fresh(session).restart_asked_at) == (state, None)
