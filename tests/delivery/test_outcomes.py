"""What the platform says decides what becomes of a message, and of others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.ids import uuid7
from messaging.attempts import Attempt, transition_of
from messaging.delivery import pacing, pauses
from messaging.models import Message, OptOut, PendingSend, ReadMark, SendingPause
from templates_wa.models import Template, TemplateSync
from tests.conftest import Cast
from tests.delivery.outgoing import Platform, accept, heard, pending, queue
from tests.delivery.test_sending import template
from workspaces.channel_errors import (
    ChannelError,
    OutcomeUnknown,
    Reach,
    Rejected,
    Throttled,
    Unavailable,
)
from workspaces.channel_facts import AcceptedSend

Deliver = Callable[[], int]
BAD_TOKEN = Rejected(190, "The token expired.", reach=Reach.TENANT, stops=True)


def sent(platform: Platform, deliver: Deliver, message: Message, answer: object) -> Message:
    """Return the message after it was answered so."""
    platform.answer = lambda request: answer
    deliver()
    message.refresh_from_db()
    return message


@pytest.mark.parametrize(
    ("answer", "state", "least", "most"),
    [
        (Throttled(30), "queued", 30, 33),
        (Throttled(reach=Reach.RECIPIENT), "queued", 1, 1.5),
        (Unavailable("Down."), "queued", 0, 3),
        (Rejected(132015, "Paused.", reach=Reach.TEMPLATE, stops=True), "queued", 600, 601),
        (Rejected(131026, "Cannot be delivered."), "failed", 0, 0),
        (OutcomeUnknown("No answer."), "unknown", 0, 0),
        (ValueError("a bug"), "unknown", 0, 0),
        (AcceptedSend("wamid.1", state="held_for_quality_assessment"), "held", 0, 0),
    ],
    ids=str,
)
def test_it_does_as_the_answer_says(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver, answer, state, least, most
) -> None:
    message = sent(platform, deliver, queue(acme, now), answer)

    row = pending(message)
    assert (message.status, row is None) == (state, state != "queued")
    if row is not None:
        assert row.lease_until is None
        wait = (row.due_at - now).total_seconds()
        assert least <= wait <= most + 2
        assert "last_error" in message.delivery
    else:
        assert message.delivery.get(f"{state}_at") or message.delivery["accepted_at"]
    assert len(platform.posted) == 1


def test_it_never_sends_again_what_may_have_left(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver
) -> None:
    message = sent(platform, deliver, queue(acme, now), OutcomeUnknown("No answer."))

    assert [deliver() for _ in range(3)] == [0, 0, 0]
    assert platform.ids == [str(message.id)]


def test_it_gives_up_after_so_many_attempts(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver, settings
) -> None:
    settings.SIGMA_SEND_MAX_ATTEMPTS = 3
    message = queue(acme, now)
    for _ in range(4):
        sent(platform, deliver, message, Unavailable("Down.", code=131016))
        PendingSend.objects.update(due_at=now)

    assert len(platform.posted) == 3
    assert message.status == "failed"
    assert message.delivery["errors"] == [{"code": 131016, "title": "Down."}]


def test_it_opens_a_circuit_and_keeps_the_message(
    acme: Cast, globex: Cast, now: datetime, platform: Platform, deliver: Deliver
) -> None:
    message = sent(platform, deliver, queue(acme, now), BAD_TOKEN)
    assert message.status == "queued"
    pause = SendingPause.objects.get()
    assert (pause.tenant_id, pause.workspace_id, pause.code) == (acme.tenant.id, None, 190)
    assert pause.reason == "The token expired."

    platform.answer = accept
    queue(acme, now)
    theirs = queue(globex, now)
    assert deliver() == 1
    assert platform.ids[-1] == str(theirs.id)

    lifted = pauses.lift(
        tenant_id=acme.tenant.id, workspace_id=acme.workspace.id, by="ann", now=now
    )
    assert (lifted, deliver()) == (1, 2)
    assert Message.objects.filter(status="accepted").count() == 3


def test_it_pauses_once_however_many_say_so(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver
) -> None:
    for _ in range(5):
        queue(acme, now)
    platform.answer = lambda request: BAD_TOKEN
    deliver()

    assert SendingPause.objects.count() == 1
    assert Message.objects.filter(status="queued").count() == 5


def test_it_pauses_an_account_for_as_long_as_the_platform_says(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver
) -> None:
    sent(platform, deliver, queue(acme, now), Throttled(120, code=80007, reach=Reach.ACCOUNT))

    pause = SendingPause.objects.get()
    assert pause.workspace_id == acme.workspace.id
    assert 115 < (pause.until - now).total_seconds() < 125
    PendingSend.objects.update(due_at=now)
    assert deliver() == 0


def test_it_slows_a_number_that_is_too_fast(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver
) -> None:
    sent(platform, deliver, queue(acme, now), Throttled(reach=Reach.NUMBER))
    number = acme.workspace.id
    rate = 1 / pacing.slots({number: (1, 80)}, taking=True)[number].gap

    assert 37.9 < rate < 42  # half of 80 less the headroom, and recovering


@pytest.mark.parametrize("code", [132000, 132001, 132012, 132018])
def test_it_doubts_a_template_that_was_refused_and_has_it_read_again(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver, code: int
) -> None:
    used = template(acme, now)
    error = Rejected(code, "It does not fit.", reach=Reach.TEMPLATE)
    sent(platform, deliver, queue(acme, now, type="template", template_id=used.id), error)
    queue(acme, now, type="template", template_id=used.id)
    deliver()

    assert Template.objects.get().stale_at is not None
    assert TemplateSync.objects.get(waba_id=acme.workspace.waba_id).due_at is not None
    assert len(platform.posted) == 1


def test_it_heeds_whoever_wants_no_marketing(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver
) -> None:
    message = sent(platform, deliver, queue(acme, now), Rejected(131050, "Opted out."))

    assert OptOut.objects.get().contact_id == message.contact_id


@pytest.mark.parametrize("trouble", [Unavailable("Down."), BAD_TOKEN], ids=["away", "token"])
def test_it_makes_read_marks_and_forgets_them(
    acme: Cast, now: datetime, platform: Platform, deliver: Deliver, trouble: ChannelError
) -> None:
    message = heard(acme, now, "wamid.READ")
    ReadMark.objects.create(
        tenant_id=acme.tenant.id,
        workspace_id=acme.workspace.id,
        message_id=message.id,
        typing=True,
        next_attempt_at=now,
    )
    platform.answer = lambda request: trouble
    deliver()
    assert ReadMark.objects.get().next_attempt_at > now

    platform.answer = accept
    ReadMark.objects.update(next_attempt_at=now)
    deliver()
    assert platform.read == [("wamid.READ", True)] * 2
    assert not ReadMark.objects.exists()


ERRORS = st.sampled_from(
    [
        Throttled(),
        Throttled(5.0),
        Throttled(reach=Reach.RECIPIENT),
        Unavailable("Down."),
        Unavailable("Down.", most_attempts=3),
        BAD_TOKEN,
        OutcomeUnknown("?"),
        AcceptedSend("wamid.1"),
        Rejected(131026, "No."),
    ]
)


@given(ERRORS, st.integers(1, 20), st.integers(1, 10), st.none() | st.integers(-10, 600))
def test_it_never_queues_what_may_have_left_and_never_for_ever(
    result, number: int, most: int, left: int | None
) -> None:
    now = datetime(2026, 1, 1)  # noqa: DTZ001 - any moment
    expires = None if left is None else now + timedelta(seconds=left)
    attempt = Attempt(uuid7(), uuid7(), uuid7(), None, None, number, expires)
    step = transition_of(result, attempt, now=now, most_attempts=most, chance=Random(number))

    assert 0 <= step.wait <= 700
    if isinstance(result, OutcomeUnknown):
        assert step.status == "unknown"
    if step.status == "queued" and not isinstance(result, Rejected):
        assert number < min(most, getattr(result, "most_attempts", None) or most)
        assert left is None or step.wait < left
