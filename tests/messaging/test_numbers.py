"""What the platform says about numbers: asked for in turn, kept, told, and what follows from it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import given
from hypothesis import strategies as st

from connectors.events.models import EventSubscription, OutgoingEvent
from connectors.whatsapp.processing import process_batch
from messaging import number_sync, numbers
from messaging.models import NumberState
from messaging.tasks import sync_numbers
from tests.conftest import Cast
from tests.messaging.meta import Meta, Reply
from tests.whatsapp.deliveries import deliver
from workspaces import secrets
from workspaces.channel_errors import NotConfigured, Throttled
from workspaces.models import SecretKind, TenantStatus

HOUR = timedelta(hours=1)


def say(meta: Meta, cast: Cast, **changed: object) -> None:
    node = {
        "display_phone_number": "+27 82 000 0096",
        "verified_name": "Acme",
        "status": "CONNECTED",
        "quality_rating": "GREEN",
        "whatsapp_business_manager_messaging_limit": "TIER_250",
        "throughput": {"level": "STANDARD"},
        **changed,
    }
    meta.replies[f"/v26.0/{cast.workspace.external_id}"] = Reply(node)


@pytest.fixture
def ready(acme: Cast, meta: Meta) -> Cast:
    """Acme with a token, and a number that Meta knows."""
    secrets.add(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN, value="EAAG-acme")
    say(meta, acme)
    return acme


def state_of(cast: Cast) -> NumberState:
    return NumberState.objects.get(pk=cast.workspace.pk)


@pytest.mark.django_db
def test_it_keeps_what_meta_says(ready: Cast, now: datetime) -> None:
    number_sync.sync(ready.workspace, now=now)

    state = state_of(ready)
    assert (state.status, state.messaging_limit, state.synced_at) == ("CONNECTED", "TIER_250", now)
    assert state.tenant_id == ready.tenant.id
    assert state.portfolio_id == ready.workspace.waba_id
    assert numbers.number_of(state) == "27820000096"
    assert numbers.masked(state) == "+27XXXXXXXXX"
    assert b"27820000096" not in bytes(state.sealed_number or b"")


@pytest.mark.django_db
def test_it_keeps_what_meta_does_not_say_again(ready: Cast, meta: Meta, now: datetime) -> None:
    number_sync.sync(ready.workspace, now=now)
    say(meta, ready, display_phone_number=None)
    NumberState.objects.update(test_recipients=["a"])

    state = number_sync.sync(ready.workspace, now=now + HOUR)

    assert numbers.number_of(state) == "27820000096"
    assert state.test_recipients == ["a"]


@pytest.mark.django_db
def test_it_cannot_open_a_number_that_was_moved(ready: Cast, globex: Cast, now: datetime) -> None:
    state = number_sync.sync(ready.workspace, now=now)
    state.tenant_id = globex.tenant.id

    assert numbers.number_of(state) is None
    assert numbers.masked(state) == ""


@pytest.mark.django_db
def test_it_tells_what_changed_and_only_then(ready: Cast, meta: Meta, now: datetime) -> None:
    EventSubscription.objects.create(
        tenant_id=ready.tenant.id, url="https://app.example/", sealed_secrets=b""
    )
    for moment in (now, now + HOUR):
        number_sync.sync(ready.workspace, now=moment)
    say(meta, ready, quality_rating="RED")
    number_sync.sync(ready.workspace, now=now + 2 * HOUR)

    events = OutgoingEvent.objects.filter(type="number.updated").order_by("occurred_at")
    assert [event.data["quality_rating"] for event in events] == ["GREEN", "RED"]
    assert "27820000096" not in json.dumps([event.data for event in events])


@pytest.mark.django_db
def test_it_asks_about_each_number_once_an_hour(ready: Cast, now: datetime) -> None:
    asked = [number_sync.sync_due(now=now + timedelta(minutes=m)) for m in (0, 1, 59, 60, 61)]

    assert asked == [1, 0, 0, 1, 0]


@pytest.mark.django_db
def test_it_asks_sooner_when_somebody_wants_it(
    ready: Cast, now: datetime, django_capture_on_commit_callbacks, monkeypatch
) -> None:
    woken: list[int] = []
    monkeypatch.setattr("lib.wakeups.WakeUp.notify", lambda self: woken.append(1))
    number_sync.sync_due(now=now)

    with django_capture_on_commit_callbacks(execute=True):
        number_sync.want([ready.workspace.pk])

    assert number_sync.sync_due(now=now) == 1
    assert woken == [1]


@pytest.mark.django_db
def test_it_asks_again_when_the_workspace_was_edited(ready: Cast, meta: Meta, now) -> None:
    number_sync.sync_due(now=now)
    ready.workspace.external_id = "100000000000099"
    ready.workspace.save()
    say(meta, ready, status="BANNED")

    assert number_sync.sync_due(now=now) == 1
    assert state_of(ready).status == "BANNED"


@pytest.mark.django_db
def test_it_forgets_no_wish_that_comes_while_meta_is_asked(ready: Cast, now: datetime) -> None:
    """Meta's answer may be older than the wish."""
    number_sync.sync_due(now=now)
    number_sync.want([ready.workspace.pk])

    number_sync.sync(ready.workspace, now=now)

    assert number_sync.sync_due(now=now) == 1


@pytest.mark.django_db
def test_it_leaves_those_alone_who_use_nothing(
    ready: Cast, globex: Cast, meta: Meta, now: datetime
) -> None:
    globex.tenant.status = TenantStatus.SUSPENDED
    globex.tenant.save()
    ready.workspace.is_active = False
    ready.workspace.save()

    assert number_sync.sync_due(now=now) == 0
    assert meta.asked == []


@pytest.mark.django_db
def test_one_numbers_trouble_is_not_anothers(ready: Cast, globex: Cast, now: datetime) -> None:
    """Globex has no token."""
    assert number_sync.sync_due(now=now) == 1

    trouble = state_of(globex)
    assert "no access token" in trouble.sync_error
    assert (trouble.synced_at, trouble.sync_due_at) == (None, now + number_sync.AFTER_FAILURE)
    with pytest.raises(NotConfigured):
        number_sync.sync(globex.workspace, now=now)


@pytest.mark.django_db
def test_it_waits_as_long_as_meta_asks(ready: Cast, meta: Meta, now: datetime) -> None:
    usage = json.dumps({"9": [{"estimated_time_to_regain_access": 19}]})
    path = f"/v26.0/{ready.workspace.external_id}"
    headers = {"X-Business-Use-Case-Usage": usage}
    meta.replies[path] = Reply({"error": {"code": 80007}}, 400, headers)

    number_sync.sync_due(now=now)

    assert state_of(ready).sync_due_at == now + timedelta(minutes=19)
    with pytest.raises(Throttled):
        number_sync.sync(ready.workspace, now=now)


@pytest.mark.django_db
def test_it_gives_up_while_meta_is_away(ready: Cast, meta: Meta, now: datetime, settings) -> None:
    settings.SIGMA_GRAPH_URL = "http://127.0.0.1:9/v26.0"
    number_sync.sync_due(now=now)
    assert "cannot be reached" in state_of(ready).sync_error

    settings.SIGMA_GRAPH_URL = meta.graph_url
    sync_numbers()
    assert state_of(ready).synced_at is None

    assert number_sync.sync_due(now=now + number_sync.AFTER_FAILURE) == 1
    assert state_of(ready).sync_error == ""


@pytest.mark.django_db
@pytest.mark.parametrize(("field", "again"), [("phone_number_quality_update", 1), ("flows", 0)])
def test_it_asks_again_when_meta_tells_of_a_change(
    ready: Cast, globex: Cast, now: datetime, no_wake_ups, field: str, again: int
) -> None:
    number_sync.sync_due(now=now)

    change = {"field": field, "value": {"event": "ONBOARDING"}}
    entry = {"id": ready.workspace.waba_id, "changes": [change]}
    deliver(ready.tenant.id, {"object": "whatsapp_business_account", "entry": [entry]})
    process_batch(10)

    assert number_sync.sync_due(now=now) == again


@pytest.mark.django_db
def test_the_command_shows_what_meta_says(ready: Cast, globex: Cast, capsys) -> None:
    call_command("sync_numbers", tenant="acme")
    assert "CONNECTED" in capsys.readouterr().out

    with pytest.raises(CommandError, match="no access token"):
        call_command("sync_numbers")
    with pytest.raises(CommandError, match="no tenant"):
        call_command("sync_numbers", tenant="nobody")


@pytest.mark.parametrize(
    ("word", "limit"),
    [
        ("TIER_50", 50),
        ("TIER_250", 250),
        ("TIER_1K", 1_000),
        ("TIER_2K", 2_000),
        ("TIER_10K", 10_000),
        ("TIER_100K", 100_000),
        ("TIER_UNLIMITED", None),
        ("", None),
    ],
)
def test_it_reads_the_messaging_limit(word: str, limit: int | None) -> None:
    assert numbers.limit_of(NumberState(messaging_limit=word)) == limit


@pytest.mark.parametrize(
    ("facts", "rate"),
    [
        ({}, 80),
        ({"throughput_level": "STANDARD"}, 80),
        ({"throughput_level": "HIGH"}, 1_000),
        ({"is_on_business_app": True}, 20),
    ],
)
def test_it_reads_the_throughput(facts: dict[str, object], rate: int) -> None:
    assert numbers.messages_per_second(NumberState(**facts)) == rate
    assert numbers.messages_per_second(None) == 80


@given(status=st.text(max_size=8) | st.just("CONNECTED"), can_send=st.text(max_size=8))
def test_it_sends_with_no_word_that_it_does_not_know(status: str, can_send: str) -> None:
    known = status in ("", "CONNECTED") and can_send in ("", "AVAILABLE", "LIMITED")

    assert numbers.is_sendable(NumberState(status=status, can_send=can_send)) is known
    assert numbers.is_sendable(None)
