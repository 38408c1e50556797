"""Pending messages are sent over the linked device once, at a person's pace, or say why not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from django.db import connection

from connectors.linked_device import leases as sessions_leases
from connectors.linked_device.delivering import IDLE_SECONDS, Deliverer
from connectors.linked_device.events import Sent
from connectors.linked_device.intake import DeviceInbox
from connectors.linked_device.models import SessionLease
from connectors.whatsapp.processing import process_batch
from lib.envelope import associated_data
from messaging import transitions
from messaging.delivery import pauses
from messaging.delivery.pauses import Pause
from messaging.models import Contact, Message, PendingSend, SendingPause
from messaging.sending import queueing
from messaging.transitions import SEALED_REQUEST
from tests.conftest import Cast
from tests.delivery.outgoing import pending
from tests.linked_device.sends import FakeDevice, leased, linked, queue, receipt
from workspaces import keys
from workspaces.channel_errors import OutcomeUnknown, Rejected, Throttled, Unavailable
from workspaces.identity import digester

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _silent(no_wake_ups: Callable[[], int]) -> None:
    """No worker runs here."""


class Stage:
    """A session of a cast that sends on a clock of the test's."""

    def __init__(self, cast: Cast, now: datetime, answer=None) -> None:
        self.session, self.now, self.seconds, self.pause = linked(cast), now, 0.0, 0.0
        self.lease, self.device = leased(self.session), FakeDevice(answer)
        self.deliverer = self.another(self.lease)
        self.moments: list[float] = []

    def another(self, lease: sessions_leases.Lease) -> Deliverer:
        """Return a deliverer of the same session, with this lease."""
        return Deliverer(
            session=self.session,
            lease=lease,
            send_text=self.device.send_text,
            clock=self.clock,
            chance=Random(1),
        )

    def clock(self) -> float:
        """Return the time; a process that is paused finds it much later at each look."""
        self.seconds += self.pause
        return self.seconds

    def take_over(self) -> sessions_leases.Lease:
        """Let somebody else have the session."""
        SessionLease.objects.update(owner=None)
        return leased(self.session)

    def turn(self) -> float:
        """Let it have a turn; time passes as it wants."""
        before = len(self.device.sent)
        wait = self.deliverer.send_next(self.now + timedelta(seconds=self.seconds))
        self.moments += [self.seconds] * (len(self.device.sent) - before)
        self.seconds += wait
        return wait

    def play(self, seconds: float) -> list[tuple[str, str]]:
        """Let it have turns for some time; return all that the device was given. Where nothing was
        to be done, time runs faster.
        """
        until, pause = self.seconds + seconds, 0.001
        while self.seconds < until:
            pause = 0.001 if self.turn() < IDLE_SECONDS else min(pause * 1.5, seconds / 50)
            self.seconds += pause
        return self.device.sent

    def claim(self) -> None:
        """Let it reserve a message, which waits for its slot then."""
        assert self.turn() > 0.0
        assert not self.device.sent


def status_of(message: Message) -> str | None:
    message.refresh_from_db()
    return message.status


class TestSending:
    def test_it_sends_what_is_owed_and_records_its_id(
        self, acme: Cast, globex: Cast, now: datetime, caplog: pytest.LogCaptureFixture
    ) -> None:
        linked(globex)
        message, foreign = queue(acme, now), queue(globex, now)
        stage = Stage(acme, now)
        with caplog.at_level(logging.INFO, "sigma.whatsapp.sender"):
            assert stage.play(30) == [("27831234567", "Hello")]

        assert (status_of(message), pending(message)) == ("accepted", None)
        wamid = digester(acme.tenant.id).wamid("3EB00000000000000001")
        assert message.platform_message_id == wamid
        assert status_of(foreign) == "queued"
        (line,) = [one for one in caplog.records if one.message == "message sent"]
        assert line.to == "+27XXXXXXXXX"

    def test_it_waits_for_what_is_due_later(self, acme: Cast, now: datetime) -> None:
        queue(acme, now, due_at=now + timedelta(seconds=60))
        stage = Stage(acme, now)
        assert stage.play(59) == []
        assert len(stage.play(10)) == 1

    def test_it_keeps_a_persons_pace(self, acme: Cast, now: datetime) -> None:
        anna = Contact.objects.create(tenant_id=acme.tenant.id)
        for number in range(12):
            queue(acme, now, contact=anna if number % 2 else None, text="x" * 25)
        stage = Stage(acme, now)
        stage.play(90)

        gaps = [b - a for a, b in pairwise(stage.moments)]
        assert len(gaps) == 11
        assert min(gaps) >= 2.0
        assert max(gaps) <= 6.1

    def test_it_applies_a_receipt_that_came_before_the_answer(
        self, acme: Cast, now: datetime
    ) -> None:
        message = queue(acme, now)

        def answer(number: str, text: str) -> Sent:
            DeviceInbox(session=stage.session).keep([receipt(now, "3EB0", status="read")], now=now)
            process_batch(10)
            return Sent("3EB0")

        stage = Stage(acme, now, answer)
        stage.play(30)
        assert (status_of(message), "accepted_at" in message.delivery) == ("read", True)

    def test_it_gives_back_what_it_reserved(self, acme: Cast, now: datetime) -> None:
        message = queue(acme, now)
        stage = Stage(acme, now)
        stage.claim()
        assert stage.deliverer.settle(now)
        message.refresh_from_db()
        assert (message.status, message.pending.due_at) == ("queued", now)


class TestRefusals:
    def test_it_fails_what_the_device_refuses_and_goes_on(
        self, acme: Cast, now: datetime, caplog: pytest.LogCaptureFixture
    ) -> None:
        first, second = queue(acme, now), queue(acme, now, number="27830000002")
        refused = Rejected(131026, "Not on WhatsApp.")
        stage = Stage(acme, now, lambda number, _: refused if number[-1] == "7" else Sent("A"))
        stage.play(30)

        assert (status_of(first), status_of(second)) == ("failed", "accepted")
        assert first.delivery["errors"] == [{"code": 131026, "title": "Not on WhatsApp."}]
        (line,) = [one for one in caplog.records if "ERROR" in one.message]
        assert (line.code, line.to) == (131026, "+27XXXXXXXXX")

    def test_it_stops_the_whole_number_when_it_is_asked_to_slow_down(
        self, acme: Cast, now: datetime
    ) -> None:
        messages = [queue(acme, now) for _ in range(3)]
        answers: Iterator = iter([Throttled(120.0, code=429), *map(Sent, "ABC")])
        stage = Stage(acme, now, lambda *_: next(answers))
        stage.play(110)
        assert [status_of(message) for message in messages] == ["queued"] * 3
        assert len(stage.device.sent) == 1
        assert SendingPause.objects.get().code == 429

        stage.play(400)
        assert [status_of(message) for message in messages] == ["accepted"] * 3

    @pytest.mark.parametrize("error", [OutcomeUnknown("No answer."), RuntimeError("+2783123456")])
    def test_it_never_repeats_what_may_have_left(
        self, acme: Cast, now: datetime, error: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        message = queue(acme, now)
        stage = Stage(acme, now, lambda *_: error)
        assert len(stage.play(600)) == 1
        assert status_of(message) == "unknown"
        assert "83123456" not in caplog.text

    def test_it_does_not_hammer_a_device_that_is_not_connected(
        self, acme: Cast, now: datetime
    ) -> None:
        messages = [queue(acme, now) for _ in range(20)]
        stage = Stage(acme, now, lambda *_: Unavailable("Not connected."))
        assert len(stage.play(120)) <= 6
        stage.device.answer = lambda *_: Sent(f"A{len(stage.device.sent)}")
        stage.play(400)
        assert {status_of(message) for message in messages} == {"accepted"}

    @pytest.mark.parametrize("sealed", [b"", b"{}", b'{"type":"image","to":"+1","image":{}}'])
    def test_it_fails_what_it_cannot_send(self, acme: Cast, now: datetime, sealed: bytes) -> None:
        message, good = queue(acme, now), queue(acme, now)
        if sealed:
            PendingSend.objects.filter(pk=message.pk).update(sealed_request=reseal(message, sealed))
        else:
            PendingSend.objects.filter(pk=message.pk).update(sealed_request=sealed)
        stage = Stage(acme, now)
        assert len(stage.play(30)) == 1
        assert (status_of(message), status_of(good)) == ("failed", "accepted")
        code = message.delivery["errors"][0]["code"]
        assert code == ("UNSUPPORTED" if sealed else "UNREADABLE")


def reseal(message: Message, request: bytes) -> bytes:
    """Return a request as it is kept until it is sent."""
    place = associated_data(message.tenant_id, SEALED_REQUEST, message.id)
    return keys.field_cipher(message.tenant_id).seal(request, place)


class TestHeldBack:
    @pytest.mark.parametrize("what", ["pause", "tenant pause", "workspace", "tenant"])
    def test_it_sends_nothing_where_sending_is_stopped(
        self, acme: Cast, now: datetime, what: str
    ) -> None:
        message = queue(acme, now)
        stage = Stage(acme, now)
        stop(acme, now, what)
        assert stage.play(60) == []
        assert (status_of(message), message.attempts) == ("queued", 0)

    @pytest.mark.parametrize("what", ["pause", "workspace", "tenant"])
    def test_it_gives_back_what_was_stopped_since_it_was_reserved(
        self, acme: Cast, now: datetime, what: str
    ) -> None:
        message = queue(acme, now)
        stage = Stage(acme, now)
        stage.claim()
        stop(acme, now, what)
        assert stage.play(60) == []
        assert status_of(message) == "queued"

    def test_it_sends_nothing_that_was_cancelled_or_expired_meanwhile(
        self, acme: Cast, now: datetime
    ) -> None:
        cancelled = queue(acme, now)
        stage = Stage(acme, now)
        stage.claim()
        queueing.cancel(tenant_id=acme.tenant.id, message_id=cancelled.id, now=now)
        expiring = queue(acme, now, expires_at=now + timedelta(seconds=stage.seconds + 0.01))
        assert stage.play(60) == []
        assert (status_of(cancelled), status_of(expiring)) == ("cancelled", "failed")

    def test_it_writes_to_one_person_so_often_a_day(
        self, acme: Cast, now: datetime, settings
    ) -> None:
        settings.SIGMA_SENDER_CONTACT_CAP = 3
        anna = Contact.objects.create(tenant_id=acme.tenant.id)
        messages = [queue(acme, now, contact=anna) for _ in range(5)]
        messages.append(queue(acme, now, number="27830000002"))
        stage = Stage(acme, now)
        assert len(stage.play(60)) == 4
        late = [message for message in messages if status_of(message) == "queued"]
        assert len(late) == 2
        assert {"at most 3 messages" in m.pending.reason for m in late} == {True}

        # By another process, from what is written down; who left the window makes room.
        stage.deliverer = stage.another(stage.take_over())
        assert len(stage.play(3600)) == 4
        stage.play(24 * 3600)
        assert len(stage.device.sent) == 6

    def test_it_gives_up_what_would_expire_before_the_person_may_be_written_to(
        self, acme: Cast, now: datetime, settings
    ) -> None:
        settings.SIGMA_SENDER_CONTACT_CAP = 1
        anna = Contact.objects.create(tenant_id=acme.tenant.id)
        queue(
            acme,
            now,
            contact=anna,
            status="unknown",
            delivery={"unknown_at": now.isoformat()},
        )
        message = queue(acme, now, contact=anna, expires_at=now + timedelta(hours=1))
        stage = Stage(acme, now)
        stage.play(3700)
        assert (status_of(message), message.delivery["errors"][0]["code"]) == ("failed", "EXPIRED")


def stop(cast: Cast, now: datetime, what: str) -> None:
    """Stop sending of the cast."""
    if what.endswith("pause"):
        number = None if what == "tenant pause" else cast.workspace.id
        pauses.pause([Pause(cast.tenant.id, number, 1, "Stopped.")], now=now)
    elif what == "workspace":
        cast.workspace.is_active = False
        cast.workspace.save()
    else:
        cast.tenant.status = "SUSPENDED"
        cast.tenant.save()


class TestFencing:
    def test_it_sends_nothing_once_the_lease_is_lost(self, acme: Cast, now: datetime) -> None:
        message = queue(acme, now)
        stage = Stage(acme, now)
        stage.claim()
        stage.take_over()
        with pytest.raises(sessions_leases.LeaseLost):
            stage.turn()
        assert (stage.device.sent, status_of(message)) == ([], "queued")
        assert message.pending.due_at is not None
        with pytest.raises(sessions_leases.LeaseLost):
            stage.turn()

    def test_it_sends_once_whoever_had_the_session_before(self, acme: Cast, now: datetime) -> None:
        message = queue(acme, now)
        stage = Stage(acme, now)
        stage.claim()
        old, stage.deliverer = stage.deliverer, stage.another(stage.take_over())
        with pytest.raises(sessions_leases.LeaseLost):
            old.send_next(now)
        assert len(stage.play(60)) == 1
        with pytest.raises(sessions_leases.LeaseLost):
            old.send_next(now + timedelta(minutes=2))
        assert (status_of(message), len(stage.device.sent)) == ("accepted", 1)

    def test_it_leaves_unknown_what_was_with_the_device_when_it_died(
        self, acme: Cast, now: datetime
    ) -> None:
        message = queue(acme, now)
        stage = Stage(acme, now)
        stage.device.answer = die
        with pytest.raises(SystemExit):
            stage.play(30)
        assert status_of(message) == "sending"
        stage.deliverer = stage.another(stage.take_over())
        assert len(stage.play(60)) == 1
        PendingSend.objects.update(lease_until=now - timedelta(seconds=1))
        assert transitions.expire(now=now) == 1
        assert len(stage.play(600)) == 1
        assert status_of(message) == "unknown"

    def test_it_sends_what_was_only_reserved_when_another_died(
        self, acme: Cast, now: datetime
    ) -> None:
        message = queue(acme, now)
        stage = Stage(acme, now)
        stage.claim()
        stage.deliverer = stage.another(stage.take_over())
        assert stage.play(50) == []
        assert len(stage.play(60)) == 1
        assert (status_of(message), message.attempts) == ("accepted", 2)

    def test_it_sends_nothing_that_took_too_long_to_mark(self, acme: Cast, now: datetime) -> None:
        message = queue(acme, now)
        stage = Stage(acme, now)
        stage.claim()
        stage.pause = 40.0
        stage.turn()
        assert (stage.device.sent, status_of(message)) == ([], "queued")
        stage.pause = 0.0
        assert len(stage.play(60)) == 1


def die(number: str, text: str) -> Sent:
    raise SystemExit


def test_it_reads_anew_what_could_not_leave_for_long(acme: Cast, now: datetime) -> None:
    """A session that was asked to slow down takes no turns for hours."""
    gone, message = queue(acme, now), queue(acme, now, text="Later")
    stage = Stage(acme, now)
    stage.claim()
    PendingSend.objects.filter(pk=gone.pk).update(sealed_request=b"")  # as an erasure does
    stage.seconds += 600

    assert stage.play(60) == [("27831234567", "Later")]
    assert (status_of(gone), status_of(message)) == ("failed", "accepted")


@pytest.mark.django_db(transaction=True)
def test_it_keeps_an_outcome_while_the_database_is_away(acme: Cast, now: datetime) -> None:
    first, second = queue(acme, now), queue(acme, now)

    def answer(number: str, text: str) -> Sent:
        if len(stage.device.sent) == 1:
            connection.ensure_connection()
            hang_up()
        return Sent(f"3EB0{len(stage.device.sent)}")

    stage = Stage(acme, now, answer)
    while not stage.device.sent:
        wait = stage.turn()
    assert wait == 1.0
    assert sorted([status_of(first), status_of(second)]) == ["queued", "sending"]
    stage.play(30)
    assert (status_of(first), status_of(second)) == ("accepted", "accepted")
    assert len(stage.device.sent) == 2


def hang_up() -> None:
    """End our own connection, as a server that dies does."""
    connection.connection.pgconn.finish()
