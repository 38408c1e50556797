"""Values come back as they came; those that give a number away are sealed until Raw is purged."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.whatsapp.processing import process_batch
from messaging import sealed_values
from messaging.models import Media, Message
from messaging.sealed_values import NEEDS_RAW_READ, PURGED, Separator
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with
from tests.privacy import places
from tests.whatsapp.deliveries import callback, contact, deliver, text
from workspaces import keys
from workspaces.access import Scope
from workspaces.models import RawKey

__all__ = ("gql",)

PHONE, BUSINESS = "27831300031", "15550100001"
READ = "query($id: ID!) { message(id: $id) { text content media { filename } } }"
TOKEN = "9f1c2d7e-4a0b-4c55-8e21-446655440000"
SPELLINGS = (
    PHONE,
    f"+{PHONE}",
    "+27 83 130 0031",
    "083-130-0031",
    "(083) 130 0031",
    "0027.83.130.0031",
    "wa.me/27831300031",
    "+27%2083%20130%200031",
    "２７８３１３０００３１",
    "٢٧٨٣١٣٠٠٠٣١",
    "\u202a+27\u00a083\u2011130\u20110031\u202c",
    "83/130/0031",
)


def receive(cast: Cast, kind: str, body: object, **more: object) -> Message:
    """Let a person send something; return the message as stored."""
    said = {**text("wamid.S", sender=PHONE), "type": kind, kind: body, **more}
    if kind != "text":
        del said["text"]
    number = cast.workspace.external_id
    deliver(cast.tenant.id, callback(number, messages=[said], contacts=[contact(PHONE)]))
    process_batch(10)
    return Message.objects.get(tenant_id=cast.tenant.id, type=kind)


def form(answer: object) -> dict[str, object]:
    written = json.dumps(answer)
    reply = {"name": "flow", "body": "Sent", "response_json": written}
    return {"type": "nfm_reply", "nfm_reply": reply}


def purge(cast: Cast) -> None:
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    keys.destroy_day_keys(tenant_id=cast.tenant.id, before=tomorrow)


def by_rest(key: str, message: Message) -> bytes:
    headers = {"Authorization": f"Bearer {key}"}
    return Client().get(f"/api/v1/messages/{message.id}", headers=headers).content


@pytest.mark.django_db
def test_it_returns_the_answers_of_a_form_as_they_came(gql: Gql, acme: Cast, globex: Cast) -> None:
    answer = {"flow_token": TOKEN, "order": 20260115001, "paid": "1234567.00", "at": 1790000000123}
    message = receive(acme, "interactive", form(answer))

    content = gql(acme, READ, id=str(message.id)).data["message"]["content"]

    assert content["response"] == answer
    assert json.loads(by_rest(acme.api_key, message))["content"] == content
    assert message.sealed_values is None
    assert gql(globex, READ, id=str(message.id)).data["message"] is None


@pytest.mark.django_db
def test_it_keeps_numbers_in_the_form_they_came_in(gql: Gql, acme: Cast) -> None:
    items = [{"product_retailer_id": "a", "quantity": 2, "item_price": "PRICE"}]
    order = {"catalog_id": "194836987003835", "product_items": items}
    written = '{"total": 10.00, "big": 123456789012345678901234567890}'
    said = {**text("wamid.S", sender=PHONE), "type": "order", "order": order}
    body = json.dumps(callback(acme.workspace.external_id, messages=[said]))
    deliver(acme.tenant.id, body.replace('"PRICE"', "10.00").encode())
    process_batch(10)
    asked = receive(acme, "interactive", {"nfm_reply": {"response_json": written}}, id="wamid.T")
    order_id = Message.objects.get(type="order").id

    query = (
        "query($a: ID!, $b: ID!) { a: message(id: $a) { content } b: message(id: $b) { content } }"
    )
    headers = {"Authorization": f"Bearer {acme.api_key}"}
    variables = {"a": str(order_id), "b": str(asked.id)}
    answer = (
        Client()
        .post(
            "/graphql",
            {"query": query, "variables": variables},
            "application/json",
            headers=headers,
        )
        .content
    )

    assert b'"item_price":10.00' in answer
    assert b'"total":10.00' in answer
    assert b"123456789012345678901234567890" in answer
    assert b'"total":10.00' in by_rest(acme.api_key, asked)


@pytest.mark.django_db
@pytest.mark.parametrize("spelling", [*SPELLINGS, "+44 20 7946 0958", "wamid.HBgLMjc4MzEzMDAwMzE="])
def test_it_seals_a_value_that_gives_a_number_away_and_opens_it_for_readers(
    gql: Gql, acme: Cast, spelling: str
) -> None:
    reply = {"id": f"confirm:{spelling}:ord-77", "title": "Confirm"}
    message = receive(acme, "interactive", {"button_reply": reply})
    reader = key_with(acme.tenant, Scope.MESSAGES_READ)

    found = gql(reader, READ, id=str(message.id)).data["message"]

    assert found["content"]["id"] == reply["id"]
    assert json.loads(by_rest(reader, message))["content"]["id"] == reply["id"]
    assert message.content["id"] == "[sealed:0]"
    assert message.content["title"] == "Confirm"


@pytest.mark.django_db
def test_it_says_that_a_value_was_purged(gql: Gql, acme: Cast) -> None:
    place = {"latitude": 1, "longitude": 2, "name": f"Home of {PHONE}"}
    message = receive(acme, "location", place, referral={PHONE: 1, f"+{PHONE}": 2, "ref": "ok"})
    assert gql(acme, READ, id=str(message.id)).data["message"]["text"] == place["name"]

    purge(acme)

    found = gql(acme, READ, id=str(message.id)).data["message"]
    assert (found["text"], found["content"]["name"]) == (PURGED, PURGED)
    assert found["content"]["latitude"] == 1
    assert sorted(found["content"]["referral"].values(), key=str) == [1, 2, "ok"]
    assert all(PHONE not in key for key in found["content"]["referral"])


@pytest.mark.django_db
def test_it_leaves_what_a_person_typed(gql: Gql, acme: Cast) -> None:
    typed = receive(acme, "text", {"body": f"Ring +{PHONE}"})

    purge(acme)

    assert (typed.text, typed.sealed_values) == (f"Ring +{PHONE}", None)
    assert gql(acme, READ, id=str(typed.id)).data["message"]["text"] == f"Ring +{PHONE}"


@pytest.mark.django_db
def test_it_takes_no_value_for_one_of_its_own_placeholders(gql: Gql, acme: Cast) -> None:
    answer = {"a": "[sealed:1]", "b": PHONE, "c": "[number:0]", "d": "[purged]"}
    message = receive(acme, "interactive", form(answer))

    content = gql(acme, READ, id=str(message.id)).data["message"]["content"]

    assert content["response"] == answer


@pytest.mark.django_db
def test_it_takes_what_a_person_typed_for_no_placeholder(gql: Gql, acme: Cast) -> None:
    typed, name = "[sealed:7]", f"Chat with {PHONE}.txt"
    message = receive(acme, "document", {"id": "7", "filename": name, "caption": typed})

    assert gql(acme, READ, id=str(message.id)).data["message"]["text"] == typed
    assert json.loads(by_rest(acme.api_key, message))["text"] == typed


@pytest.mark.django_db
@pytest.mark.parametrize("number", ["1e399", "-2.5E-390"])
def test_it_writes_no_number_out_that_takes_hundreds_of_digits(
    gql: Gql, acme: Cast, number: str
) -> None:
    """PostgreSQL does: a callback of megabytes would be an answer of gigabytes."""
    written = f"[{','.join([number] * 100)}]"
    reply = {"name": "flow", "response_json": written}
    message = receive(acme, "interactive", {"type": "nfm_reply", "nfm_reply": reply})

    answer = by_rest(acme.api_key, message).decode()

    assert len(answer) < 5 * len(written)
    (shown,) = re.findall(r'"response":\s*\[([^]]+)\]', answer)
    assert [Decimal(one) for one in shown.split(",")] == [Decimal(number)] * 100


@pytest.mark.django_db
def test_it_names_a_file_as_it_was_sent(gql: Gql, acme: Cast) -> None:
    name = f"Chat with {PHONE}.txt"
    message = receive(acme, "document", {"id": "7", "filename": name})

    assert gql(acme, READ, id=str(message.id)).data["message"]["media"]["filename"] == name
    assert PHONE not in Media.objects.get(message=message).filename


@pytest.mark.django_db
def test_it_opens_a_page_with_one_query_for_all_keys(
    gql: Gql, acme: Cast, django_assert_max_num_queries
) -> None:
    said = [
        {
            **text(f"wamid.{n}", sender=PHONE),
            "type": "button",
            "button": {"payload": f"{n}:{PHONE}"},
        }
        for n in range(20)
    ]
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=said))
    process_batch(10)
    keys.forget()

    query = "query($w: ID!) { messages(workspaceId: $w) { nodes { text content } } }"
    with django_assert_max_num_queries(10):
        nodes = gql(acme, query, w=str(acme.workspace.id)).data["messages"]["nodes"]

    assert {node["content"]["payload"] for node in nodes} == {f"{n}:{PHONE}" for n in range(20)}


@pytest.mark.django_db
def test_it_keeps_all_of_a_shared_card_and_shows_its_numbers_to_those_who_may_see_raw(
    gql: Gql, acme: Cast
) -> None:
    third = "27840000777"
    card = {
        "name": {"formatted_name": "Ana Dias", "first_name": "Ana"},
        "birthday": "1990-01-31",
        "emails": [{"email": "ana@example.org", "type": "WORK"}],
        "org": {"company": "Clinic"},
        "addresses": [{"street": "12 Long St", "city": "Cape Town", "zip": "8001"}],
        "urls": [{"url": "https://ana.example"}],
        "phones": [
            {"phone": "+27 84 000 0777", "wa_id": third, "type": "CELL"},
            {"phone": "911"},
        ],
        "vcard": f"BEGIN:VCARD\nTEL;waid={third}:+27 84 000 0777\nEND:VCARD",
    }
    message = receive(acme, "contacts", [card])

    shown = gql(acme, READ, id=str(message.id)).data["message"]["content"]["contacts"]
    reader = key_with(acme.tenant, Scope.MESSAGES_READ)
    (narrow,) = gql(reader, READ, id=str(message.id)).data["message"]["content"]["contacts"]

    assert shown == [card]
    hidden = {"phone": NEEDS_RAW_READ, "wa_id": NEEDS_RAW_READ, "type": "CELL"}
    assert narrow["phones"] == [hidden, {"phone": NEEDS_RAW_READ}]
    assert narrow["vcard"] == NEEDS_RAW_READ
    assert {**narrow, "phones": 0, "vcard": 0} == {**card, "phones": 0, "vcard": 0}
    assert json.loads(by_rest(reader, message))["content"]["contacts"] == [narrow]


@pytest.mark.django_db
def test_it_forgets_the_sealed_values_of_a_message_that_was_deleted(acme: Cast) -> None:
    message = receive(acme, "button", {"payload": PHONE, "text": "Yes"})
    assert message.sealed_values is not None
    gone = {**text("wamid.R", sender=PHONE), "type": "revoke"}
    gone = {**gone, "revoke": {"original_message_id": "wamid.S"}}

    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[gone]))
    process_batch(10)

    message.refresh_from_db()
    assert (message.text, message.content, message.sealed_values) == (None, {}, None)


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["Test result of Ann.pdf", f"Chat with {PHONE}.txt"])
def test_it_forgets_the_name_of_a_file_that_was_deleted(gql: Gql, acme: Cast, name: str) -> None:
    message = receive(acme, "document", {"id": "7", "filename": name, "caption": "Look"})
    gone = {**text("wamid.R", sender=PHONE), "type": "revoke"}
    gone = {**gone, "revoke": {"original_message_id": "wamid.S"}}

    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[gone]))
    process_batch(10)

    shown = gql(acme, READ, id=str(message.id)).data["message"]
    assert (shown["text"], shown["media"]) == (None, {"filename": ""})
    assert Media.objects.get(message=message).filename == ""


numbers = st.sampled_from([PHONE, BUSINESS, "5511987654321", "525512345678", "5491123456789"])
_separators = st.text(" -.()/\u00a0\u2011\u200b", max_size=2)


@st.composite
def spelled(draw: st.DrawFn) -> str:
    """Return a number in some spelling, between other characters."""
    digits = draw(numbers)
    shown = digits[draw(st.sampled_from([0, 2])) :] if digits != BUSINESS else digits
    prefix = draw(st.sampled_from(["", "0", "+", "00"])) if shown == digits else "0"
    written = "".join(digit + draw(_separators) for digit in shown)
    around = st.text("abc :,", max_size=4)
    return f"{draw(around)}{prefix}{written}{draw(around)}"


harmless = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
    | st.uuids().map(str)
    | st.sampled_from(["[sealed:0]", "[number:1]", "[purged]", "2026-01-15"])
)
trees = st.recursive(
    harmless | spelled() | numbers.map(int),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc", max_size=3) | spelled(), inner, max_size=4)
    ),
    max_leaves=12,
)
PARTIES = [PHONE, BUSINESS, "5511987654321", "525512345678", "5491123456789"]
FORBIDDEN = {
    one
    for tail in ("31300031", "50100001", "87654321", "12345678", "23456789")
    for one in places.disguises(tail)
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees)
def test_it_holds_no_number_at_rest_and_gives_back_any_content_as_it_came(tree: Any) -> None:
    separator = Separator(PARTIES)

    kept = sealed_values.encode(separator.separate(tree))

    assert not holds(kept)
    back = sealed_values.fill(sealed_values.decode(kept), separator.taken)
    assert json.loads(sealed_values.encode(back)) == json.loads(sealed_values.encode(tree))
    purged = sealed_values.encode(sealed_values.fill(sealed_values.decode(kept), None))
    assert not holds(purged)


def holds(stored: str) -> bool:
    """Whether a scan would find one of the numbers in stored JSON."""
    leaves = places.SEPARATORS.sub("", json.dumps(json.loads(stored), ensure_ascii=False))
    bare = "".join(c for c in leaves if c not in "\u00a0\u200b")
    return bool(places.found_in(bare, FORBIDDEN))


@pytest.mark.django_db
def test_it_keeps_what_was_sent_as_it_was_sent(gql: Gql, acme: Cast) -> None:
    receive(acme, "text", {"body": "Hello"}, timestamp=str(int(datetime.now(UTC).timestamp())))
    keys.forget()
    RawKey.objects.filter(tenant_id=acme.tenant.id).delete()  # the first of its day is made
    buttons = [{"id": f"yes:{PHONE}", "title": "Yes"}, {"id": TOKEN, "title": "No"}]
    asked = {"workspaceId": str(acme.workspace.id), "recipientPhone": f"+{PHONE}"}
    sending = "mutation($i: SendWhatsAppMessageInput!) { sendWhatsAppMessage(input: $i) "

    sent = gql(
        acme,
        sending + "{ messageId errors { message } } }",
        i={**asked, "interactive": {"body": "[sealed:0]", "buttons": buttons}},
    ).data["sendWhatsAppMessage"]

    message = Message.objects.get(pk=sent["messageId"])
    shown = gql(acme, READ, id=sent["messageId"]).data["message"]
    assert shown["content"]["buttons"] == buttons
    assert shown["text"] == "[sealed:0]", "what the business typed"
    assert message.content["buttons"][0]["id"] == "[sealed:0]"
