"""One attempt at a time: what an earlier one learns late never changes what a later one does."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest

from lib.ids import uuid7
from messaging import transitions
from messaging.attempts import Attempt, GivenBack, Result
from messaging.delivery.claims import Claimed, Claims
from messaging.delivery.performing import Performer
from messaging.delivery.recording import Outcome, record
from messaging.models import Message, PendingSend
from tests.conftest import Cast
from tests.delivery.conftest import Marked
from tests.delivery.outgoing import Platform, become, pending, queue
from workspaces.channel_errors import OutcomeUnknown, Rejected, Throttled
from workspaces.channel_facts import AcceptedSend

REFUSED = Rejected(131026, "Cannot be delivered.")


def claim(now: datetime) -> Attempt:
    """Claim the one message that is due."""
    (claimed,) = Claims(chance=Random(1)).claim(10, {}, most=10, now=now)
    return claimed.attempt


def mark(attempt: Attempt) -> bool:
    """Mark it as being sent; return whether it may be."""
    return bool(transitions.mark([attempt], seconds=90))


def learn(attempt: Attempt, result: Result, now: datetime) -> Message:
    """Record what came of an attempt, twice, as after a commit whose answer was lost."""
    for _ in range(2):
        record([Outcome(attempt, result, now)], now=now, chance=Random(1))
    return Message.objects.get(pk=attempt.message_id)


def again(now: datetime) -> tuple[Attempt, Attempt]:
    """Claim, and claim once more when the reservation is over."""
    first = claim(now)
    PendingSend.objects.update(due_at=now)
    return first, claim(now)


def test_only_the_last_claim_may_send(acme: Cast, now: datetime) -> None:
    queue(acme, now)
    first, second = again(now)

    assert (first.number, second.number) == (1, 2)
    assert (mark(first), mark(second), mark(second)) == (False, True, False)


@pytest.mark.parametrize(
    "result", [REFUSED, Throttled(), OutcomeUnknown("?"), GivenBack()], ids=str
)
def test_an_earlier_attempt_changes_nothing_while_a_later_one_sends(
    acme: Cast, now: datetime, result: Result
) -> None:
    queue(acme, now)
    first, second = again(now)
    mark(second)
    message = learn(first, result, now)

    assert (message.status, message.attempts) == ("sending", 2)
    assert (message.pending.due_at, message.pending.lease_until is None) == (None, False)


@pytest.mark.parametrize("status", ["cancelled", "queued"], ids=["cancelled", "suspended"])
def test_what_was_taken_back_in_its_hands_is_neither_sent_nor_due_again(
    acme: Cast, now: datetime, status: str
) -> None:
    queue(acme, now)
    attempt = claim(now)
    become(Message.objects.all(), status)
    PendingSend.objects.update(due_at=None)

    assert not mark(attempt)
    message = learn(attempt, GivenBack(), now)
    row = pending(message)
    assert (message.status, row is None) == (status, status == "cancelled")
    assert row is None or row.due_at is None


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (REFUSED, "unknown"),
        (Throttled(), "unknown"),
        (GivenBack(), "unknown"),
        (OutcomeUnknown("?"), "unknown"),
        (AcceptedSend("wamid.1"), "accepted"),
    ],
    ids=str,
)
def test_nothing_but_the_platforms_id_settles_it_after_its_lease(
    acme: Cast, now: datetime, result: Result, status: str
) -> None:
    queue(acme, now)
    attempt = claim(now)
    mark(attempt)
    PendingSend.objects.update(lease_until=now - timedelta(hours=1))
    assert transitions.expire(now=now) == 1
    message = learn(attempt, result, now)

    assert (message.status, message.attempts, pending(message)) == (status, 1, None)
    assert "unknown_at" in message.delivery


def test_it_sends_nothing_that_expired_in_its_hands(
    acme: Cast, now: datetime, platform: Platform
) -> None:
    queue(acme, now, expires_at=now + timedelta(microseconds=1))
    (claimed,) = Claims(chance=Random(1)).claim(10, {}, most=10, now=now)
    marked = Marked()
    marked.ids = {claimed.attempt.message_id}

    assert asyncio.run(Performer(marked).send(claimed)) == GivenBack()
    assert platform.posted == []


class InARow:
    """A channel that notes in which order messages come."""

    def __init__(self) -> None:
        self.came: list[bytes] = []

    async def send(self, request: bytes) -> AcceptedSend:
        self.came.append(request)
        return AcceptedSend("wamid.1")


@pytest.mark.parametrize("is_of_broadcast", [False, True])
def test_nobody_is_passed_by_at_a_busy_number(acme: Cast, is_of_broadcast: bool) -> None:
    """Slots of 50 a second, which senders that wake late let through a little more slowly."""
    channel, marked, number = InARow(), Marked(), acme.workspace.id
    began = time.monotonic()
    attempts = [Attempt(uuid7(), acme.tenant.id, number, None, None, 1, None) for _ in range(90)]
    marked.ids = {one.message_id for one in attempts}
    requests = [b"%d" % n for n in range(90)]
    waiting = [
        Claimed(one, channel, requests[n], began, began + n * 0.015, 0.02, is_of_broadcast)  # type: ignore[arg-type]
        for n, one in enumerate(attempts)
    ]

    async def scene() -> None:
        performer = Performer(marked)
        await asyncio.gather(*map(performer.send, waiting))

    asyncio.run(scene())
    assert channel.came == requests


def test_a_single_message_that_is_late_goes_before_what_a_broadcast_sends(acme: Cast) -> None:
    channel, marked, number = InARow(), Marked(), acme.workspace.id
    began = time.monotonic()
    attempts = [Attempt(uuid7(), acme.tenant.id, number, None, None, 1, None) for _ in range(121)]
    marked.ids = {one.message_id for one in attempts}
    *broadcast, single = [
        Claimed(one, channel, b"%d" % n, began, began + n * 0.018, 0.02, n < 120)  # type: ignore[arg-type]
        for n, one in enumerate(attempts)
    ]

    async def late(performer: Performer) -> Result:
        await asyncio.sleep(1.3)
        return await performer.send(replace(single, start=began + 1.0))

    async def scene() -> None:
        performer = Performer(marked)
        await asyncio.gather(*map(performer.send, broadcast), late(performer))

    asyncio.run(scene())
    assert channel.came.index(single.request) < 100
