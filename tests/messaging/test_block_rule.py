"""A number's rule: who writes too much within a minute is blocked, behind the storing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from connectors.whatsapp.processing import process_batch
from messaging import block_rule, conversations
from messaging.conversations import Touch
from messaging.models import ContactBlock, Message
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with
from tests.sending.conftest import PHONE
from tests.sending.test_rest import ask
from tests.whatsapp.deliveries import callback, contact, deliver, text
from workspaces.access import Scope

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

SET = """
mutation ($input: SetBlockRuleInput!) { setBlockRule(input: $input) {
  success blockList { messagesAMinute } errors { code field message }
} }
"""
READ = (
    "query ($w: ID!) { blockList(workspaceId: $w) { messagesAMinute listed syncedAt syncError } }"
)
Floods = Callable[..., list[ContactBlock]]


@pytest.fixture(autouse=True)
def _no_rules_in_memory() -> None:
    conversations.forget_rules()


@pytest.fixture
def flood(django_capture_on_commit_callbacks: Any) -> Floods:
    """Take in messages of one person in one callback; return who is blocked of the tenant."""

    def write(
        cast: Cast, count: int, *, phone: str = PHONE, ago: int = 0, wamid: str = "", **more: Any
    ) -> list[ContactBlock]:
        at = int(datetime.now(UTC).timestamp()) - ago
        said = [
            text(f"wamid.{wamid or uuid4()}.{number}", sender=phone, at=at)
            for number in range(count)
        ]
        value = more or {"messages": said, "contacts": [contact(phone)]}
        deliver(cast.tenant.id, callback(cast.workspace.external_id, **value))
        with django_capture_on_commit_callbacks(execute=True):
            process_batch(10)
        return list(ContactBlock.objects.filter(tenant_id=cast.tenant.id))

    return write


def rule(cast: Cast, most: int | None) -> None:
    path = f"/api/v1/workspaces/{cast.workspace.id}/block-list"
    status, shown = ask(cast, path, {"messages_a_minute": most}, "patch")
    assert (status, shown["messages_a_minute"]) == (200, most)
    conversations.forget_rules()


@pytest.fixture(autouse=True)
def _no_wake_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.wakeups.WakeUp.notify", lambda wake_up, slot=0: True)


def test_nobody_is_blocked_unless_the_tenant_wants_it(
    acme: Cast, globex: Cast, flood: Floods
) -> None:
    rule(acme, 5)
    for cast in (acme, globex):
        assert flood(cast, 5) == []
    assert flood(globex, 50) == []
    (block,) = flood(acme, 1)
    assert (block.state, block.by) == ("BLOCKING", "rule")
    rule(acme, None)
    assert len(flood(acme, 20, phone="15550123999")) == 1


def test_what_was_not_written_just_now_makes_nobody_suspect(
    acme: Cast, globex: Cast, flood: Floods
) -> None:
    rule(acme, 5)
    rule(globex, 5)
    now = int(datetime.now(UTC).timestamp())
    assert flood(acme, 20, ago=90) == []  # Meta was late, or it is replayed
    assert flood(acme, 3, wamid="same") == flood(acme, 3, wamid="same") == []
    echoes = [{**text(f"wamid.E{n}", at=now), "to": PHONE, "from": "1"} for n in range(20)]
    assert flood(acme, 0, field="smb_message_echoes", message_echoes=echoes) == []
    thread = {"id": PHONE, "messages": [text(f"wamid.H{n}", at=now) for n in range(20)]}
    history = [{"metadata": {"phase": 0}, "threads": [thread]}]
    assert flood(acme, 0, field="history", history=history) == []
    group = [{**text(f"wamid.G{n}", at=now), "group_id": "a-group"} for n in range(20)]
    assert flood(acme, 0, messages=group, contacts=[contact()]) == []
    stored = Message.objects.filter(tenant_id=acme.tenant.id).values_list("source", flat=True)
    assert Counter(stored) == {"LIVE": 43, "ECHO": 20, "HISTORY": 20}
    assert len(flood(acme, 4)) == 1
    assert not ContactBlock.objects.filter(tenant_id=globex.tenant.id).exists()


def test_an_attack_does_not_block_thousands(
    acme: Cast,
    globex: Cast,
    flood: Floods,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(block_rule, "MOST_AN_HOUR", 3)
    for cast in (acme, globex):
        rule(cast, 5)
    caplog.set_level(logging.WARNING)
    for person in range(5):
        flood(acme, 6, phone=f"1555012{person:04}")
    assert ContactBlock.objects.filter(tenant_id=acme.tenant.id).count() == 3
    assert "blocks nobody more within the hour" in caplog.text
    assert len(flood(globex, 6)) == 1
    ContactBlock.objects.update(asked_at=datetime.now(UTC) - timedelta(hours=2))
    assert len(flood(acme, 6, phone="15550129999")) == 4


def test_who_was_unblocked_starts_anew_and_who_was_refused_is_left_for_an_hour(
    acme: Cast, globex: Cast, flood: Floods
) -> None:
    rule(acme, 5)
    flood(acme, 6)
    now = datetime.now(UTC)
    rows = ContactBlock.objects.filter(tenant_id=acme.tenant.id)
    rows.update(state="UNBLOCKED", due_at=None, changed_at=now)
    assert flood(acme, 1)[0].state == "UNBLOCKED"
    rows.update(changed_at=now - timedelta(minutes=2))
    assert flood(acme, 1)[0].state == "BLOCKING"
    rows.update(state="REFUSED", due_at=None, changed_at=now - timedelta(minutes=2))
    assert flood(acme, 6)[0].state == "REFUSED"
    rows.update(changed_at=now - timedelta(hours=2))
    assert flood(acme, 6)[0].state == "BLOCKING"


def test_the_rule_is_set_within_bounds(acme: Cast, globex: Cast, gql: Gql) -> None:
    where = {"workspaceId": str(acme.workspace.id)}

    def said(cast: Cast | str, most: object) -> Any:
        return gql(cast, SET, input={**where, "messagesAMinute": most}).data["setBlockRule"]

    assert said(acme, 20)["blockList"] == {"messagesAMinute": 20}
    for most in (4, 1001, -1):
        assert said(acme, most)["errors"][0]["code"] == "INVALID_INPUT"
    assert said(globex, 20)["errors"][0]["code"] == "WORKSPACE_NOT_FOUND"
    assert gql(acme, READ, w=where["workspaceId"]).data["blockList"]["messagesAMinute"] == 20
    assert gql(globex, READ, w=where["workspaceId"]).codes == ["NOT_FOUND"]
    assert said(acme, None)["blockList"] == {"messagesAMinute": None}
    path = f"/api/v1/workspaces/{acme.workspace.id}/block-list"
    for body in ({}, {"messages_a_minute": "9"}, {"messages_a_minute": 5, "x": 1}, []):
        assert ask(acme, path, body, "patch")[0] in (400, 422)
    blocker = key_with(acme.tenant, Scope.CONTACTS_BLOCK)
    assert ask(blocker, path, {"messages_a_minute": 5}, "patch")[0] == 403


def test_numbers_without_a_rule_cost_a_batch_nothing(acme: Cast, globex: Cast) -> None:
    now = datetime.now(UTC)
    touch = Touch(
        acme.tenant.id,
        acme.workspace.id,
        uuid4(),
        uuid4(),
        now,
        is_inbound=True,
        counts_as_unread=True,
    )
    assert conversations.watched([touch]) == []
    with CaptureQueriesContext(connection) as asked:
        assert conversations.watched([touch] * 500) == []
    assert len(asked) == 0
    assert (
        conversations.reachability(
            tenant_id=acme.tenant.id, workspace_id=acme.workspace.id, contact_ids=[]
        )
        == {}
    )
