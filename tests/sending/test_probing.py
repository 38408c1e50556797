"""What a send, a preflight or an opt-out tells of whoever has a number counts as asking for it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.test import Client

from lib.wakeups import broker
from messaging.models import Message, OptOut
from tests.conftest import Cast
from tests.graphql.conftest import Gql, key_with
from tests.messaging.test_inbox import LOOKUP, no_broker
from tests.sending.conftest import PHONE, hear, template
from tests.sending.test_answering import OPT, PREFLIGHT, SEND, named_by
from tests.sending.test_rest import ask
from workspaces.access import Scope

__all__ = ["no_broker"]

pytestmark = pytest.mark.django_db

STRANGER = "+15550177001"
MESSAGES = "/api/v1/messages"


@pytest.fixture
def app(acme: Cast, settings) -> str:
    """The key of an application that reads and sends, and may ask twice a minute, if at all."""
    settings.SIGMA_LOOKUP_RATE = 2
    return key_with(acme.tenant, Scope.MESSAGES_READ, Scope.MESSAGES_SEND)


def codes_of(gql: Gql, key: str, cast: Cast, **given: object) -> list[str] | None:
    """Send as an application; return the codes of a refusal."""
    wanted = {"workspaceId": str(cast.workspace.id), "text": "Hi", **given}
    payload = gql(key, SEND, input=wanted).data["sendWhatsAppMessage"]
    return None if payload["success"] else [error["code"] for error in payload["errors"]]


def test_refusals_because_of_the_person_are_counted_and_then_nothing_is_told(
    gql: Gql, acme: Cast, globex: Cast, app: str, heard: Message
) -> None:
    for _ in range(2):
        assert codes_of(gql, app, acme, recipientPhone=STRANGER) == ["WINDOW_CLOSED"]

    # Whoever is written to within the window is refused as a stranger is.
    for phone in (STRANGER, f"+{PHONE}"):
        assert codes_of(gql, app, acme, recipientPhone=phone) == ["RATE_LIMITED"]
    wanted = {"workspace_id": str(acme.workspace.id), "recipient_phone": STRANGER, "text": "Hi"}
    refused = Client().post(MESSAGES, wanted, "application/json", headers={"X-API-Key": app})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert refused.json()["error"]["retryable"] and 0 < int(refused["Retry-After"]) <= 31
    assert Message.objects.filter(direction="OUTBOUND").count() == 0
    # Whoever is named by what the caller may read goes on, and so do others.
    for named in named_by(heard).values():
        assert codes_of(gql, app, acme, **named) is None
    assert codes_of(gql, acme.api_key, acme, recipientPhone=f"+{PHONE}") is None
    other = key_with(globex.tenant, Scope.MESSAGES_SEND)
    assert codes_of(gql, other, globex, recipientPhone=STRANGER) == ["WINDOW_CLOSED"]


def test_a_send_that_is_accepted_or_malformed_is_not_counted(
    gql: Gql, acme: Cast, globex: Cast, app: str, heard: Message
) -> None:
    for _ in range(4):
        assert codes_of(gql, app, acme, recipientPhone=f"+{PHONE}") is None
        assert codes_of(gql, app, acme, recipientPhone="0821234567") == ["INVALID_PHONE"]
        assert codes_of(gql, app, acme, recipientPhone=STRANGER, text=None) == ["INVALID_INPUT"]


@pytest.mark.parametrize("way", ["conversationId", "contactId", "replyTo"])
def test_a_number_is_not_found_out_by_comparing_it(
    gql: Gql, acme: Cast, globex: Cast, app: str, heard: Message, now: datetime, way: str
) -> None:
    hear(acme, now - timedelta(hours=1), phone=STRANGER[1:], wamid="wamid.STRANGER")
    named = named_by(heard)[way]

    found = [codes_of(gql, app, acme, recipientPhone=STRANGER, **named) for _ in range(3)]

    differing = ["REPLY_TARGET_NOT_FOUND" if way == "replyTo" else "INVALID_INPUT"]
    assert found == [differing, differing, ["RATE_LIMITED"]]
    assert codes_of(gql, app, acme, recipientPhone=f"+{PHONE}", **named) == ["RATE_LIMITED"]


def test_who_opted_out_is_counted(gql: Gql, acme: Cast, globex: Cast, app: str, heard: Message):
    template(acme, category="MARKETING")
    OptOut.objects.create(
        tenant_id=acme.tenant.id,
        contact_id=heard.contact_id,
        source="WORD",
        said_at=heard.created_at,
    )
    wanted = {"text": None, "templateName": "welcome_message", "recipientPhone": f"+{PHONE}"}

    found = [codes_of(gql, app, acme, **wanted, templateParams=["Ann"]) for _ in range(3)]

    assert found == [["OPTED_OUT"], ["OPTED_OUT"], ["RATE_LIMITED"]]


def test_a_preflight_to_a_number_asks_who_has_it(
    gql: Gql, acme: Cast, globex: Cast, app: str, heard: Message
) -> None:
    named = {"workspaceId": str(acme.workspace.id), "text": "Hi", **named_by(heard)["contactId"]}
    by_phone = {"workspaceId": str(acme.workspace.id), "text": "Hi", "recipientPhone": STRANGER}
    wanted = {"workspace_id": str(acme.workspace.id), "recipient_phone": STRANGER, "text": "Hi"}

    for _ in range(3):
        assert gql(app, PREFLIGHT, input=named).data
        assert gql(app, PREFLIGHT, input={**by_phone, "recipientPhone": "082"}).data
    assert gql(app, PREFLIGHT, input=by_phone).data
    assert ask(app, f"{MESSAGES}/preflight", wanted)[0] == 200
    assert gql(app, PREFLIGHT, input=by_phone).codes == ["RATE_LIMITED"]
    assert ask(app, f"{MESSAGES}/preflight", wanted)[0] == 429


@pytest.mark.parametrize("mutation", ["optOutContact", "optInContact"])
def test_a_change_of_consent_by_number_asks_who_has_it(
    gql: Gql, acme: Cast, globex: Cast, app: str, heard: Message, mutation: str
) -> None:
    def change(**person: object) -> list[str]:
        payload = gql(app, OPT % mutation, person=person).data[mutation]
        return [error["code"] for error in payload["errors"]]

    known, stranger = {"phone": f"+{PHONE}"}, {"phone": STRANGER}
    assert [change(**known), change(phone="082")] == [[], ["INVALID_PHONE"]]
    assert change(**stranger) == ([] if mutation == "optOutContact" else ["CONTACT_NOT_FOUND"])
    assert change(**known) == change(**stranger) == ["RATE_LIMITED"]
    assert change(contactId=str(heard.contact_id)) == []
    path = "/api/v1/opt-outs" if mutation == "optOutContact" else "/api/v1/opt-ins"
    refused = Client().post(path, known, "application/json", headers={"X-API-Key": app})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert 0 < int(refused["Retry-After"]) <= 31


def test_all_doors_count_together(gql: Gql, acme: Cast, globex: Cast, settings) -> None:
    settings.SIGMA_LOOKUP_RATE = 2
    assert codes_of(gql, acme.api_key, acme, recipientPhone=STRANGER) == ["WINDOW_CLOSED"]
    assert ask(acme, LOOKUP, {"phone": STRANGER})[0] == 200
    assert ask(acme, LOOKUP, {"phone": STRANGER})[0] == 429
    assert codes_of(gql, acme.api_key, acme, recipientPhone=STRANGER) == ["RATE_LIMITED"]


def test_sending_and_stopping_wait_for_no_broker(
    gql: Gql, acme: Cast, globex: Cast, app: str, no_broker: None
) -> None:
    for _ in range(3):
        assert codes_of(gql, app, acme, recipientPhone=STRANGER) == ["WINDOW_CLOSED"]
        payload = gql(app, OPT % "optOutContact", person={"phone": STRANGER}).data
        assert payload["optOutContact"]["success"]
    by_phone = {"workspaceId": str(acme.workspace.id), "text": "Hi", "recipientPhone": STRANGER}
    assert gql(app, PREFLIGHT, input=by_phone).codes == ["UNAVAILABLE"]


def test_a_broker_that_does_not_answer_is_asked_by_nobody_who_is_accepted(
    gql: Gql, acme: Cast, globex: Cast, app: str, heard: Message, settings, no_broker: None
) -> None:
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lib.rates.broker", lambda: asked.append(1) or broker())
        assert codes_of(gql, app, acme, recipientPhone=STRANGER) == ["WINDOW_CLOSED"]
        assert codes_of(gql, app, acme, recipientPhone=f"+{PHONE}") is None

    assert len(asked) == 1
