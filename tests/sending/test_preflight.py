"""Asked before sending: every problem, every warning, and nothing is written."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from lib.ids import uuid7
from messaging.models import Contact, Message, NumberState, PortfolioRecipient, SendingPause
from messaging.sending.preflight import preflight
from messaging.sending.queueing import queue
from messaging.sending.requests import SendRequest
from tests.conftest import Cast
from tests.graphql.conftest import Gql
from tests.sending.conftest import request_to, template
from tests.sending.test_queueing import WELCOME
from tests.sending.test_rest import ask, text_to
from workspaces import secrets
from workspaces.acting import as_tenant
from workspaces.models import SecretKind, TokenCheck

pytestmark = pytest.mark.django_db

ASK = """
query Ask($input: SendWhatsAppMessageInput!) {
  preflightWhatsAppMessage(input: $input) {
    would messageId windowOpenUntil earliestAt
    problems { code field } warnings { code platformCode }
    template { name language category status } preview { body buttons { text } }
    number { number messagingLimit }
  }
}
"""


def think(cast: Cast, request: SendRequest, now: datetime):
    with as_tenant(cast.tenant.id):
        return preflight(tenant_id=cast.tenant.id, request=request, now=now)


def test_it_shows_what_a_stranger_would_get_and_makes_no_contact(
    gql: Gql, acme: Cast, now: datetime
) -> None:
    template(acme)
    given = {
        "workspaceId": str(acme.workspace.id),
        "recipientPhone": "+27711558396",
        "templateName": "welcome_message",
        "templateParams": ["John"],
    }

    found = gql(acme, ASK, input=given).data["preflightWhatsAppMessage"]

    assert (found["would"], found["problems"], found["warnings"]) == ("QUEUE", [], [])
    assert found["preview"]["body"] == "Hello John! Welcome to SIGMA Analytics."
    assert found["template"]["category"] == "MARKETING"
    assert (found["windowOpenUntil"], found["number"]) == (None, None)
    assert found["earliestAt"] is not None
    assert (Contact.objects.count(), Message.objects.count()) == (0, 0)


def test_it_tells_all_problems_at_once(acme: Cast, now: datetime) -> None:
    template(acme, status="PAUSED")
    asked = request_to(acme, WELCOME, phone="0711558396", expires_at=now - timedelta(hours=1))

    found = think(acme, asked, now)

    assert (found.would, found.earliest_at) == ("REFUSE", None)
    assert [problem.code.value for problem in found.problems] == [
        "INVALID_PHONE",
        "TEMPLATE_PAUSED",
        "INVALID_INPUT",
    ]


def test_it_knows_what_was_asked_before(acme: Cast, heard: Message, now: datetime) -> None:
    asked = request_to(acme, idempotency_key="k")
    queued = queue(tenant_id=acme.tenant.id, request=asked, now=now)

    again = think(acme, asked, now + timedelta(days=2))
    other = think(acme, request_to(acme, idempotency_key="k", reply_to=heard.id), now)

    assert (again.would, again.message_id, again.problems) == ("REPEAT", queued.message_id, ())
    assert [problem.code.value for problem in other.problems] == ["IDEMPOTENCY_CONFLICT"]
    assert think(acme, request_to(acme), now).window_open_until == (
        heard.timestamp_utc + timedelta(hours=24)
    )


def test_it_warns_of_what_would_hold_a_message(acme: Cast, globex: Cast, now: datetime) -> None:
    template(acme, stale_at=now)
    NumberState.objects.create(
        workspace=acme.workspace,
        tenant_id=acme.tenant.id,
        portfolio_id="777",
        messaging_limit="TIER_5",
        quality_rating="RED",
        status="FLAGGED",
    )
    PortfolioRecipient.objects.bulk_create(
        PortfolioRecipient(
            tenant_id=acme.tenant.id, portfolio_id="777", contact_id=uuid7(), opened_at=now
        )
        for _ in range(4)
    )
    until = now + timedelta(hours=2)
    common = {"code": 131048, "since": now, "until": until, "reason": "Spam"}
    SendingPause.objects.create(tenant_id=acme.tenant.id, workspace_id=None, **common)
    SendingPause.objects.create(
        tenant_id=globex.tenant.id, workspace_id=globex.workspace.id, **common
    )
    token = secrets.add(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN, value="EAAG" * 8)
    TokenCheck.objects.create(
        secret=token,
        tenant_id=acme.tenant.id,
        checked_at=now,
        is_valid=True,
        expires_at=now + timedelta(days=2),
    )

    found = think(acme, request_to(acme, WELCOME, phone="+12025550123"), now)

    assert (found.would, found.earliest_at) == ("QUEUE", until)
    assert [warning.code.value for warning in found.warnings] == [
        "SENDING_PAUSED",
        "NUMBER_CANNOT_SEND",
        "QUALITY_RED",
        "TOKEN_EXPIRES",
        "MARKETING_TO_UNITED_STATES",
        "TEMPLATE_STALE",
        "LIMIT_NEARLY_REACHED",
    ]


@pytest.mark.parametrize("was_valid", [True, False])
def test_it_warns_of_the_newest_token_only(acme: Cast, was_valid: bool, now: datetime) -> None:
    template(acme)
    for is_valid in (was_valid, not was_valid):
        token = secrets.add(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN, value="EAAG" * 8)
        TokenCheck.objects.create(
            secret=token, tenant_id=acme.tenant.id, checked_at=now, is_valid=is_valid
        )

    found = think(acme, request_to(acme, WELCOME, phone="+27820000001"), now)

    said = [warning.code.value for warning in found.warnings]
    assert said == (["TOKEN_INVALID"] if was_valid else [])


def test_it_tells_when_there_is_room_again(acme: Cast, now: datetime) -> None:
    template(acme)
    NumberState.objects.create(
        workspace=acme.workspace, tenant_id=acme.tenant.id, messaging_limit="TIER_1"
    )
    opened = now - timedelta(hours=20)
    PortfolioRecipient.objects.create(
        tenant_id=acme.tenant.id, portfolio_id="", contact_id=uuid7(), opened_at=opened
    )

    found = think(acme, request_to(acme, WELCOME, phone="+27711558396"), now)

    assert (found.would, found.earliest_at) == ("QUEUE", opened + timedelta(hours=24))
    assert [warning.code.value for warning in found.warnings] == ["LIMIT_REACHED"]


def test_it_answers_over_rest(acme: Cast, globex: Cast, heard: Message) -> None:
    path = "/api/v1/messages/preflight"

    status, found = ask(acme, path, text_to(acme))
    theirs = ask(globex, path, text_to(acme))[1]

    assert (status, found["would"], found["problems"]) == (200, "QUEUE", [])
    assert found["window_open_until"] is not None
    assert [problem["code"] for problem in theirs["problems"]] == ["WORKSPACE_NOT_FOUND"]
    assert ask(acme, path, {"colour": 1})[0] == 400
