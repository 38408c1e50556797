"""Whoever may not see a number answers its owner: by conversation, contact or message."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction

from connectors.whatsapp.processing import process_batch
from messaging import addresses
from messaging.models import ContactIdentity, Conversation, Message, ReadMark
from templates_wa.models import Template
from tests.conftest import Cast
from tests.graphql.conftest import Gql, key_with
from tests.sending.conftest import PHONE, hear, template, wire_of
from tests.sending.test_rest import ask
from tests.whatsapp.deliveries import callback, contact, deliver, text
from workspaces import keys, provisioning
from workspaces.access import Scope
from workspaces.models import Tenant

pytestmark = pytest.mark.django_db

BSUID = "US.13491208655302741918"
SEND = """
mutation Send($input: SendWhatsAppMessageInput!) {
  sendWhatsAppMessage(input: $input) { success messageId errors { code field message } }
}
"""
PREFLIGHT = """
query ($input: SendWhatsAppMessageInput!) {
  preflightWhatsAppMessage(input: $input) { would problems { code field } }
}
"""


def app_of(cast: Cast) -> str:
    """Return the key of an application that reads and sends, and sees no number."""
    return key_with(cast.tenant, Scope.MESSAGES_READ, Scope.MESSAGES_SEND)


def send(gql: Gql, cast: Cast, **given: object) -> dict:
    """Send a text as such an application; return the payload."""
    wanted = {"workspaceId": str(cast.workspace.id), "text": "It is on its way", **given}
    return gql(app_of(cast), SEND, input=wanted).data["sendWhatsAppMessage"]


def refused(payload: dict) -> list[tuple[str, str]]:
    """Return codes and fields of a refusal that shows no number."""
    assert not payload["success"]
    assert PHONE not in json.dumps(payload)
    return [(error["code"], error["field"]) for error in payload["errors"]]


def username_customer(cast: Cast, at: datetime, *, phone: str | None = None) -> Message:
    """Let somebody write who shows a BSUID, and a number only if given."""
    said = {**text("wamid.USER", at=int(at.timestamp())), "from_user_id": BSUID}
    who = contact(phone or "", "Alice", user_id=BSUID)
    if phone is None:
        del said["from"], who["wa_id"]
    else:
        said["from"] = phone
    deliver(cast.tenant.id, callback(cast.workspace.external_id, messages=[said], contacts=[who]))
    process_batch(10)
    return Message.objects.get(tenant_id=cast.tenant.id, text="Hello")


def named_by(message: Message) -> dict[str, dict[str, str]]:
    """Return all ways to name whoever wrote a message without their number."""
    conversation = Conversation.objects.get(
        tenant_id=message.tenant_id, contact_id=message.contact_id
    )
    return {
        "conversationId": {"conversationId": str(conversation.id)},
        "contactId": {"contactId": str(message.contact_id)},
        "replyTo": {"replyTo": str(message.id)},
    }


@pytest.mark.parametrize("way", ["conversationId", "contactId", "replyTo"])
def test_it_answers_without_the_number(
    gql: Gql, acme: Cast, globex: Cast, heard: Message, way: str
) -> None:
    named = named_by(heard)[way]

    payload = send(gql, acme, **named)

    assert payload["success"], payload
    message_id = UUID(payload["messageId"])
    assert wire_of(message_id)["to"] == f"+{PHONE}"
    assert Message.objects.get(pk=message_id).contact_id == heard.contact_id
    assert PHONE not in json.dumps(payload)
    assert send(gql, globex, **named)["errors"][0]["code"] in (
        "CONVERSATION_NOT_FOUND",
        "CONTACT_NOT_FOUND",
        "REPLY_TARGET_NOT_FOUND",
    )


def test_it_answers_whoever_has_a_username_only(gql: Gql, acme: Cast, now: datetime) -> None:
    said = username_customer(acme, now)

    payload = send(gql, acme, contactId=str(said.contact_id))

    assert payload["success"], payload
    assert wire_of(UUID(payload["messageId"]))["recipient"] == BSUID


def test_a_number_goes_before_a_user_id(gql: Gql, acme: Cast, now: datetime) -> None:
    said = username_customer(acme, now, phone=PHONE)

    payload = send(gql, acme, contactId=str(said.contact_id))

    assert wire_of(UUID(payload["messageId"]))["to"] == f"+{PHONE}"


def test_a_user_id_of_another_portfolio_is_no_address(gql: Gql, acme: Cast, now: datetime) -> None:
    said = username_customer(acme, now)
    other = provisioning.create_workspace(
        tenant_id=acme.tenant.id,
        name="Elsewhere",
        external_id="300000000000003",
        waba_id="39999",
    )
    template(acme)
    Template.objects.update(waba_id="39999")

    payload = send(
        gql,
        acme,
        workspaceId=str(other.id),
        contactId=str(said.contact_id),
        text=None,
        templateName="welcome_message",
        templateParams=["Alice"],
    )

    assert refused(payload) == [("ADDRESS_EXPIRED", "contactId")]


def test_rest_answers_too(acme: Cast, heard: Message) -> None:
    for way, named in named_by(heard).items():
        field = {"conversationId": "conversation_id", "contactId": "contact_id"}.get(
            way, "reply_to"
        )
        body = {"workspace_id": str(acme.workspace.id), "text": "Hi", field: named[way]}
        status, answer = ask(app_of(acme), body=body)
        assert (status, answer["status"]) == (201, "queued")
        assert wire_of(UUID(answer["message_id"]))["to"] == f"+{PHONE}"


def test_an_address_dies_with_the_raw_of_its_day(
    gql: Gql, acme: Cast, globex: Cast, heard: Message, now: datetime
) -> None:
    other = hear(globex, now - timedelta(hours=1))
    keys.destroy_day_keys(tenant_id=acme.tenant.id, before=now.date() + timedelta(days=1))

    payload = send(gql, acme, **named_by(heard)["conversationId"])

    assert refused(payload) == [("ADDRESS_EXPIRED", "conversationId")]
    assert "write" in payload["errors"][0]["message"]
    assert send(gql, globex, **named_by(other)["conversationId"])["success"]
    asked = {
        "workspaceId": str(acme.workspace.id),
        "text": "Hi",
        **named_by(heard)["contactId"],
    }
    found = gql(app_of(acme), PREFLIGHT, input=asked).data["preflightWhatsAppMessage"]
    assert found == {
        "would": "REFUSE",
        "problems": [{"code": "ADDRESS_EXPIRED", "field": "contactId"}],
    }


def test_whoever_writes_again_can_be_answered_again(
    gql: Gql, acme: Cast, heard: Message, now: datetime
) -> None:
    keys.destroy_day_keys(tenant_id=acme.tenant.id, before=now.date() + timedelta(days=1))
    ContactIdentity.objects.update(address_day=now.date() - timedelta(days=1))

    again = hear(acme, now, wamid="wamid.AGAIN")

    assert again.contact_id == heard.contact_id
    assert send(gql, acme, **named_by(again)["contactId"])["success"]


def test_a_tenant_may_keep_addresses(gql: Gql, acme: Cast, globex: Cast, now: datetime) -> None:
    Tenant.objects.filter(pk=acme.tenant.id).update(keeps_addresses=True)
    tomorrow = now.date() + timedelta(days=1)
    said = {cast: hear(cast, now - timedelta(hours=1)) for cast in (acme, globex)}
    for cast in (acme, globex):
        keys.destroy_day_keys(tenant_id=cast.tenant.id, before=tomorrow)

    assert send(gql, acme, **named_by(said[acme])["contactId"])["success"]
    payload = send(gql, globex, **named_by(said[globex])["contactId"])
    assert refused(payload) == [("ADDRESS_EXPIRED", "contactId")]


def test_a_purge_takes_old_addresses_of_tenants_that_keep_none(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    Tenant.objects.filter(pk=globex.tenant.id).update(keeps_addresses=True)
    for cast in (acme, globex):
        hear(cast, now)
    kept = ContactIdentity.objects.filter(address__isnull=False)

    assert (addresses.purge(now=now + timedelta(days=30)), kept.count()) == (0, 2)
    assert addresses.purge(now=now + timedelta(days=31)) == 1

    assert [row.tenant_id for row in kept] == [globex.tenant.id]


def test_two_ways_that_agree_are_fine_and_two_that_differ_are_not(
    gql: Gql, acme: Cast, heard: Message, now: datetime
) -> None:
    other = named_by(hear(acme, now, phone="15550999888", wamid="wamid.OTHER"))
    own = named_by(heard)

    assert send(gql, acme, **own["conversationId"], **own["contactId"], **own["replyTo"])["success"]
    assert send(gql, acme, **own["contactId"], recipientPhone=f"+{PHONE}")["success"]
    for given in (
        {**own["conversationId"], **other["contactId"]},
        {**own["conversationId"], **other["replyTo"]},
        {**own["contactId"], "recipientPhone": "+15550999888"},
    ):
        assert [code for code, _ in refused(send(gql, acme, **given))] == ["INVALID_INPUT"], given


def test_a_number_and_a_user_id_that_agree_are_fine_and_two_that_differ_are_not(
    gql: Gql, acme: Cast, globex: Cast, now: datetime
) -> None:
    username_customer(acme, now, phone=PHONE)
    hear(acme, now, phone="15550999888", wamid="wamid.OTHER")
    agreeing = {"recipientPhone": f"+{PHONE}", "recipientUserId": BSUID}

    sent = send(gql, acme, **agreeing)

    assert sent["success"] and wire_of(UUID(sent["messageId"]))["to"] == f"+{PHONE}"
    for given in (
        {**agreeing, "recipientPhone": "+15550999888"},
        {**agreeing, "recipientPhone": "+15550777666"},
        {**agreeing, "recipientUserId": "US.999"},
    ):
        assert refused(send(gql, acme, **given)) == [("INVALID_INPUT", "recipientPhone")], given
    assert refused(send(gql, globex, **agreeing)) == [("INVALID_INPUT", "recipientPhone")]


def test_nobody_named_is_refused_with_the_ways_there_are(gql: Gql, acme: Cast) -> None:
    payload = send(gql, acme)

    assert refused(payload) == [("INVALID_INPUT", "recipientPhone")]
    assert "conversation" in payload["errors"][0]["message"]


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("conversationId", "CONVERSATION_NOT_FOUND"),
        ("contactId", "CONTACT_NOT_FOUND"),
        ("replyTo", "REPLY_TARGET_NOT_FOUND"),
    ],
)
def test_nobody_is_found_by_an_id_that_is_none(gql: Gql, acme: Cast, field: str, code: str) -> None:
    assert refused(send(gql, acme, **{field: str(uuid4())})) == [(code, field)]


def test_a_repeat_is_one_even_if_the_address_is_gone(
    gql: Gql, acme: Cast, heard: Message, now: datetime
) -> None:
    given = {**named_by(heard)["conversationId"], "idempotencyKey": "once"}
    first = send(gql, acme, **given)
    keys.destroy_day_keys(tenant_id=acme.tenant.id, before=now.date() + timedelta(days=1))

    assert send(gql, acme, **given)["messageId"] == first["messageId"]
    payload = send(gql, acme, **{**given, **named_by(heard)["contactId"]})
    assert payload["errors"][0]["code"] == "IDEMPOTENCY_CONFLICT"


def test_whom_we_wrote_to_first_can_be_written_to_by_contact(gql: Gql, acme: Cast) -> None:
    template(acme)
    given = {"text": None, "templateName": "welcome_message", "templateParams": ["Alice"]}
    first = send(gql, acme, recipientPhone=f"+{PHONE}", **given)
    contact_id = Message.objects.get(pk=first["messageId"]).contact_id

    again = send(gql, acme, contactId=str(contact_id), **given)

    assert wire_of(UUID(again["messageId"]))["to"] == f"+{PHONE}"


OPT = """
mutation ($person: PersonInput!) {
  %s(input: $person) { success contact { id optedOut } errors { code field message } }
}
"""


def change(gql: Gql, cast: Cast, mutation: str, **person: str) -> dict:
    """Change whether somebody gets marketing; return the payload."""
    return gql(app_of(cast), OPT % mutation, person=person).data[mutation]


@pytest.mark.parametrize("way", ["conversationId", "contactId", "replyTo"])
def test_opt_outs_need_no_number(
    gql: Gql, acme: Cast, globex: Cast, heard: Message, way: str
) -> None:
    named = named_by(heard)[way]

    for mutation, wanted in (("optOutContact", True), ("optInContact", False)):
        payload = change(gql, acme, mutation, **named)
        assert payload["contact"] == {"id": str(heard.contact_id), "optedOut": wanted}
        assert refused(change(gql, globex, mutation, **named)) == [("CONTACT_NOT_FOUND", way)]


def test_an_opt_out_names_one_person_in_one_way(
    gql: Gql, acme: Cast, heard: Message, now: datetime
) -> None:
    own = named_by(heard)
    other = named_by(hear(acme, now, phone="15550999888", wamid="wamid.OTHER"))

    for person in (
        {},
        {**own["contactId"], "phone": f"+{PHONE}"},
        {**own["conversationId"], **other["contactId"]},
    ):
        codes = [code for code, _ in refused(change(gql, acme, "optOutContact", **person))]
        assert codes == ["INVALID_INPUT"], person


READ = """
mutation ($input: MarkMessageReadInput!) {
  markMessageRead(input: $input) { success errors { code field message } }
}
"""


def test_all_of_a_conversation_is_marked_as_read(
    gql: Gql, acme: Cast, globex: Cast, heard: Message, now: datetime
) -> None:
    last = hear(acme, now, wamid="wamid.LAST")
    conversation = Conversation.objects.get(contact_id=heard.contact_id)
    named = {"conversationId": str(conversation.id)}

    other = gql(app_of(globex), READ, input=named).data["markMessageRead"]
    assert refused(other) == [("CONVERSATION_NOT_FOUND", "conversationId")]
    assert gql(app_of(acme), READ, input=named).data["markMessageRead"]["success"]

    assert ReadMark.objects.get().message_id == last.id
    conversation.refresh_from_db()
    assert conversation.unread_count == 0
    for given in ({}, {**named, "messageId": str(last.id)}):
        payload = gql(app_of(acme), READ, input=given).data["markMessageRead"]
        assert refused(payload) == [("INVALID_INPUT", "messageId")]


@pytest.mark.django_db(transaction=True)
def test_who_keeps_an_address_waits_for_nobody(acme: Cast, heard: Message, now: datetime) -> None:
    yesterday = now.date() - timedelta(days=1)
    ContactIdentity.objects.update(address_day=yesterday)

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        list(ContactIdentity.objects.select_for_update())
        pool.submit(hear_beside, acme, now).result(timeout=20)
    assert {row.address_day for row in ContactIdentity.objects.all()} == {yesterday}

    hear(acme, now, wamid="wamid.THIRD")
    assert now.date() in {row.address_day for row in ContactIdentity.objects.all()}


def hear_beside(cast: Cast, now: datetime) -> None:
    """Let the person write, on a connection of its own."""
    try:
        hear(cast, now, wamid="wamid.SECOND")
    finally:
        connection.close()
