"""From the draft to the end: who may do what when, and what becomes of the rows."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg
import pytest

from connectors.whatsapp.processing import process_batch
from messaging import optouts
from messaging.broadcasts import lifecycle
from messaging.broadcasts.queries import counts
from messaging.broadcasts.refusals import BroadcastErrorCode, UnableToBroadcast
from messaging.delivery.pauses import Pause, lift, pause
from messaging.models import (
    Broadcast,
    BroadcastRecipient,
    ContactIdentity,
    Message,
    OptOutSource,
    PendingSend,
)
from messaging.numbers import STANDARD
from messaging.sending.queueing import reference_of
from templates_wa.models import Template
from tests.broadcasts.conftest import (
    deliver_all,
    draft,
    fill,
    ids,
    people,
    phone,
    start,
    template,
    tend,
    turn,
)
from tests.conftest import Cast
from tests.delivery.outgoing import become
from tests.sending.conftest import hear
from tests.whatsapp.deliveries import callback, deliver, text
from workspaces import keys


def refused(code: BroadcastErrorCode, act, *arguments, **more) -> str:
    """Return what is said."""
    with pytest.raises(UnableToBroadcast) as refusal:
        act(*arguments, **more)
    assert refusal.value.code == code
    return refusal.value.message


def states(broadcast: Broadcast) -> list[tuple[int, str, str]]:
    rows = BroadcastRecipient.objects.filter(broadcast_id=broadcast.id).order_by("position")
    return list(rows.values_list("position", "state", "code"))


def test_it_needs_a_workspace_of_the_cloud_api_that_is_active(acme: Cast, globex: Cast) -> None:
    template(acme)
    for column, value, code in (
        ("is_active", False, BroadcastErrorCode.WORKSPACE_INACTIVE),
        ("transport", "LINKED_DEVICE", BroadcastErrorCode.UNSUPPORTED_TRANSPORT),
        ("tenant_id", globex.tenant.id, BroadcastErrorCode.WORKSPACE_NOT_FOUND),
    ):
        setattr(acme.workspace, column, value)
        acme.workspace.save()
        refused(code, draft, acme)
    assert not Broadcast.objects.exists()


def test_it_needs_a_template_and_takes_its_language(acme: Cast) -> None:
    refused(BroadcastErrorCode.TEMPLATE_NOT_FOUND, draft, acme)
    template(acme, language="de", status="PENDING")
    refused(BroadcastErrorCode.TEMPLATE_NOT_SENDABLE, draft, acme)
    assert draft(acme, language="de").language == "de"

    Template.objects.update(status="APPROVED")
    assert draft(acme).language == "de"


def test_it_starts_only_with_a_list_and_a_template_that_may_be_sent(
    acme: Cast, now: datetime
) -> None:
    template(acme)
    broadcast = draft(acme)
    refused(BroadcastErrorCode.NO_RECIPIENTS, start, broadcast, now)
    fill(broadcast, people(1))
    Template.objects.update(status="PAUSED")
    refused(BroadcastErrorCode.TEMPLATE_NOT_SENDABLE, start, broadcast, now)


@pytest.mark.parametrize("days", [40, None])
def test_it_refuses_times_that_cannot_be(acme: Cast, now: datetime, days: int | None) -> None:
    template(acme)
    when = now + timedelta(days=days) if days else datetime(2031, 1, 1)  # noqa: DTZ001

    code = BroadcastErrorCode.INVALID_INPUT
    refused(code, start, draft(acme, people(1)), now, scheduled_at=when)
    refused(code, draft, acme, now=now, expires_at=now if days else when)


@pytest.mark.parametrize("wrong", ["", "  ", "x" * 201, "Spring\nsale", "a\0"])
def test_its_name_has_1_to_200_characters_of_one_line(
    acme: Cast, now: datetime, wrong: str
) -> None:
    template(acme)
    facts = {
        "tenant_id": acme.tenant.id,
        "workspace_id": acme.workspace.id,
        "template_name": "welcome_message",
        "now": now,
    }

    code = BroadcastErrorCode.INVALID_INPUT
    assert "200 printable" in refused(code, lifecycle.create, name=wrong, **facts)
    for name in ("x", "x" * 200):
        assert lifecycle.create(name=f" {name}\t", **facts).name == name


def test_it_expires_after_the_moment_at_which_it_would_start(acme: Cast, now: datetime) -> None:
    template(acme)
    end, second = now + timedelta(hours=2), timedelta(seconds=1)
    broadcast = draft(acme, people(1), now=now, expires_at=end)

    code = BroadcastErrorCode.INVALID_INPUT
    assert "after the start" in refused(code, start, broadcast, end)
    assert "after the start" in refused(code, start, broadcast, now, scheduled_at=end)
    assert start(broadcast, now, scheduled_at=end - second).state == "SCHEDULED"


def test_it_starts_no_later_than_its_list_may_be_kept(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    for cast, days in ((acme, 3), (globex, 90)):
        cast.tenant.retention_days = days
        cast.tenant.save()
    template(acme)
    broadcast = draft(acme, people(1))
    last, second = broadcast.created_at + timedelta(days=3), timedelta(seconds=1)

    code = BroadcastErrorCode.INVALID_INPUT
    assert "within 3 days" in refused(code, start, broadcast, now, scheduled_at=last + second)
    assert start(broadcast, now, scheduled_at=last).state == "SCHEDULED"


def test_a_list_that_was_refused_is_checked_anew_from_its_first_row(
    acme: Cast, now: datetime
) -> None:
    row = template(acme, text="Hello {{1}} and {{2}}!")
    broadcast = start(draft(acme, people(2)), now)
    assert {state for _, state, _ in states(broadcast)} == {"REFUSED"}

    row.components = [{"type": "BODY", "text": "Hello {{1}}!"}]
    row.save()

    assert start(broadcast, now).state == "RUNNING"
    assert [(state, code) for _, state, code in states(broadcast)] == [("QUEUED", "")] * 2


def test_nobody_acts_on_a_broadcast_of_another_tenant(
    running: Broadcast, globex: Cast, now: datetime
) -> None:
    named = {"tenant_id": globex.tenant.id, "broadcast_id": running.id, "now": now}

    acts = (lifecycle.start, lifecycle.pause, lifecycle.resume, lifecycle.cancel)
    for act in (*acts, lifecycle.retry_failed):
        refused(BroadcastErrorCode.NOT_FOUND, act, **named)
    running.refresh_from_db()
    assert (running.state, counts(running).queued) == ("RUNNING", 10)


def test_it_sends_to_everybody_and_is_complete_when_the_last_has_left(
    acme: Cast, now: datetime
) -> None:
    template(acme)
    broadcast = start(draft(acme, people(3)), now)
    assert (broadcast.state, broadcast.started_at) == ("RUNNING", now)
    assert counts(broadcast).queued == 3
    message = Message.objects.order_by("text").first()
    assert (message.status, message.text) == ("queued", "Hello Person 0!")
    key = f"broadcast:{broadcast.id}:2"
    assert message.client_reference == reference_of(key, keys.salt(acme.tenant.id))

    deliver_all(broadcast)

    assert tend(broadcast, now).state == "COMPLETED"
    assert broadcast.ended_at == now
    assert counts(broadcast).sent == counts(broadcast).total == 3


def test_it_refuses_the_whole_list_before_the_first_send_if_a_row_does_not_fit(
    acme: Cast, now: datetime
) -> None:
    template(acme)
    content = people(2) + f"{phone(5)},r,\n".encode()

    broadcast = start(draft(acme, content), now)

    assert broadcast.state == "REFUSED"
    assert broadcast.reason.startswith("1 row does not fit the template. Row 4: body: ")
    assert states(broadcast)[2] == (4, "REFUSED", "TEMPLATE_PARAMETERS")
    assert not Message.objects.exists()

    fill(broadcast, people(2))
    assert start(broadcast, now).state == "RUNNING"


def test_it_leaves_rows_out_that_do_not_fit_where_it_is_told_to(acme: Cast, now: datetime) -> None:
    template(acme)
    content = people(2) + f"{phone(5)},r,\n".encode()

    broadcast = start(draft(acme, content), now, skip_invalid=True)

    assert [state for _, state, _ in states(broadcast)] == ["QUEUED", "QUEUED", "REFUSED"]


def test_it_leaves_people_out_who_want_no_marketing(acme: Cast, now: datetime) -> None:
    template(acme)
    contact = hear(acme, now, phone=phone(1)[1:]).contact_id
    optouts.opt_out(tenant_id=acme.tenant.id, contact_ids=[contact], source=OptOutSource.API)

    broadcast = start(draft(acme, people(3)), now)

    assert broadcast.state == "RUNNING"
    assert states(broadcast)[1] == (3, "REFUSED", "OPTED_OUT")
    assert counts(broadcast).refused == 1


def test_it_writes_once_to_somebody_listed_by_number_and_by_user_id(
    acme: Cast, now: datetime
) -> None:
    template(acme)
    contact = hear(acme, now, phone=phone(0)[1:]).contact
    broadcast = draft(acme, f"phone,user_id,1\n{phone(0)},,a\n,GB.7,b\n".encode())
    digest = BroadcastRecipient.objects.get(position=3).digest
    ContactIdentity.objects.create(
        tenant_id=acme.tenant.id, digest=digest, kind="USER", contact=contact
    )

    assert states(start(broadcast, now))[1] == (3, "REFUSED", "DUPLICATE")


def test_it_writes_once_to_somebody_who_turns_out_to_be_in_the_list_twice(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    template(acme)
    rows = f"phone,user_id,1\n{phone(1)},,A\n{phone(2)},,B\n,US.12345,C\n{phone(3)},,D\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("messaging.broadcasts.feeding.window", lambda broadcast: 1)
        broadcast = start(draft(acme, rows.encode()), now)
        said = {**text("wamid.1", sender=phone(1)[1:]), "from_user_id": "US.12345"}
        moved = {**text("wamid.2", sender=phone(2)[1:]), "type": "system"}
        system = {"type": "user_changed_number", "wa_id": phone(3)[1:]}
        for cast in (acme, globex):
            body = callback(
                cast.workspace.external_id, messages=[said, {**moved, "system": system}]
            )
            deliver(cast.tenant.id, body)
        process_batch(10)
        for _ in range(4):
            deliver_all(broadcast)
            broadcast = tend(broadcast, now)

    assert broadcast.state == "COMPLETED"
    assert Message.objects.filter(broadcast_id=broadcast.id).count() == 2
    assert [code for _, _, code in states(broadcast)] == ["", "", "DUPLICATE", "DUPLICATE"]


def test_it_waits_for_its_time(acme: Cast, now: datetime) -> None:
    template(acme)
    later = now + timedelta(hours=1)

    broadcast = start(draft(acme, people(2)), now, scheduled_at=later)
    assert broadcast.state == "SCHEDULED"
    assert not Message.objects.filter(broadcast_id=broadcast.id).exists()

    assert tend(broadcast, later).state == "RUNNING"
    assert counts(broadcast).queued == 2


def test_it_keeps_only_a_window_ahead(running: Broadcast, now: datetime) -> None:
    assert counts(running).queued == 10
    deliver_all(running)
    assert counts(tend(running, now)).queued == 10
    assert counts(running).sent == 10


def test_it_keeps_a_second_of_its_numbers_pace_queued(acme: Cast, now: datetime) -> None:
    template(acme)
    broadcast = start(draft(acme, people(300)), now)
    waiting = PendingSend.objects.filter(broadcast_id=broadcast.id)
    assert waiting.count() == STANDARD

    waiting.filter(message__in=waiting.values("message")[:30]).update(
        due_at=now + timedelta(hours=1)  # tried again later: others take their turns meanwhile
    )
    tend(broadcast, now)
    assert waiting.count() == STANDARD + 30

    lease = {"due_at": None, "lease_until": now + timedelta(minutes=1)}
    waiting.filter(message__in=waiting.values("message")[:30]).update(**lease)
    tend(broadcast, now)
    assert waiting.filter(due_at__lte=now).count() == STANDARD


def test_a_pause_holds_what_waits_and_resuming_lets_it_go(
    running: Broadcast, now: datetime
) -> None:
    for _ in range(2):
        lifecycle.pause(**ids(running), now=now)
    assert not PendingSend.objects.exclude(due_at=None).exists()
    assert counts(tend(running, now)).queued == 10

    for _ in range(2):
        lifecycle.resume(**ids(running), now=now)
    assert PendingSend.objects.filter(due_at=now, message__status="queued").count() == 10
    assert tend(running, now).state == "RUNNING"


def test_a_pause_holds_what_comes_back_to_be_tried_again(running: Broadcast, now: datetime) -> None:
    one = Message.objects.first()
    become(Message.objects.filter(pk=one.pk), "sending")
    lifecycle.pause(**ids(running), now=now)
    become(Message.objects.filter(pk=one.pk), "queued")

    tend(running, now)

    assert not PendingSend.objects.exclude(due_at=None).exists()


def test_cancelling_withdraws_what_waits_and_ends_when_the_rest_is_through(
    running: Broadcast, now: datetime
) -> None:
    one = Message.objects.first()
    become(Message.objects.filter(pk=one.pk), "sending")

    for _ in range(2):
        lifecycle.cancel(**ids(running), now=now)
    assert tend(running, now).ended_at is None
    assert (counts(running).cancelled, counts(running).queued) == (29, 1)
    assert not PendingSend.objects.exclude(pk=one.pk).exists()

    become(Message.objects.filter(pk=one.pk), "accepted")
    assert tend(running, now).ended_at == now
    refused(BroadcastErrorCode.WRONG_STATE, lifecycle.resume, **ids(running), now=now)


def test_it_pauses_itself_when_the_template_may_not_be_sent_any_more(
    running: Broadcast, now: datetime
) -> None:
    Template.objects.update(status="PAUSED")
    deliver_all(running)

    tend(running, now)

    assert (running.state, counts(running).pending) == ("PAUSED", 20)
    assert "PAUSED: Meta paused it because of low quality" in running.reason
    code = BroadcastErrorCode.TEMPLATE_NOT_SENDABLE
    refused(code, lifecycle.resume, **ids(running), now=now)


def test_it_pauses_itself_when_the_template_changed(running: Broadcast, now: datetime) -> None:
    body = {"type": "BODY", "text": "Hello {{1}} and {{2}}!"}
    Template.objects.update(components=[body])
    deliver_all(running)

    tend(running, now)

    assert (running.state, counts(running).pending) == ("PAUSED", 20)
    assert "no longer fits the template: body: 1 parameter was given" in running.reason


def test_it_pauses_itself_when_meta_refuses_what_the_template_allows(
    running: Broadcast, now: datetime
) -> None:
    Template.objects.update(stale_at=now)

    tend(running, now)

    assert (running.state, counts(running).queued) == ("PAUSED", 10)
    assert "It is synced again" in running.reason
    assert not PendingSend.objects.exclude(due_at=None).exists()


def test_it_waits_while_its_number_is_paused_and_says_why(
    running: Broadcast, now: datetime
) -> None:
    deliver_all(running)
    pause([Pause(running.tenant_id, running.workspace_id, 131042, "Payment failed.")], now=now)

    tend(running, now)
    assert (running.state, running.reason) == ("RUNNING", "Payment failed.")
    assert counts(running).pending == 20

    lift(tenant_id=running.tenant_id, workspace_id=running.workspace_id, by="us", now=now)
    assert (counts(tend(running, now)).pending, running.reason) == (10, "")


def test_it_gives_the_rest_up_when_it_expires(running: Broadcast, now: datetime) -> None:
    Broadcast.objects.update(expires_at=now)
    deliver_all(running)

    assert tend(running, now).state == "COMPLETED"
    assert (states(running)[20][2], counts(running).cancelled) == ("EXPIRED", 20)


def test_one_broadcast_in_trouble_does_not_hold_up_the_others(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    for cast in (acme, globex):
        template(cast)
    broken, fine = draft(acme, people(2)), draft(globex, people(2))
    Broadcast.objects.filter(pk=broken.pk).update(shared={"unknown": 1})
    for broadcast in (broken, fine):
        lifecycle.start(**ids(broadcast), now=now)

    tend(fine, now)

    assert fine.state == "RUNNING"
    assert Message.objects.filter(tenant_id=globex.tenant.id).count() == 2
    assert not Message.objects.filter(tenant_id=acme.tenant.id).exists()


def test_a_suspended_tenant_sends_nothing(acme: Cast, now: datetime) -> None:
    template(acme)
    broadcast = draft(acme, people(2))
    lifecycle.start(**ids(broadcast), now=now)
    acme.tenant.status = "SUSPENDED"
    acme.tenant.save()

    assert not turn(now)
    assert tend(broadcast, now).state == "CHECKING"


def test_it_looks_up_what_it_marks_in_a_list_of_which_the_planner_knows_nothing(
    acme: Cast, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute, plans = psycopg.Cursor.execute, []

    def explaining(self, query, params=None, **more):
        if "SET state = r.state" in str(query):
            execute(self, f"EXPLAIN {query}", params, **more)
            plans.append("\n".join(str(line) for (line,) in self.fetchall()))
        return execute(self, query, params, **more)

    template(acme)
    broadcast = draft(acme, people(3_000))
    monkeypatch.setattr(psycopg.Cursor, "execute", explaining)
    start(broadcast, now)

    assert plans
    found = [line for plan in plans for line in plan.splitlines() if "Index Cond" in line]
    assert found
    assert all('"position" >=' in line for line in found), plans[0]
