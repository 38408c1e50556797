"""Requests that hold a canary wherever a send can hold one, but in a text that people read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.privacy.canaries import SENT_TO, accepted, person, refused

Given = dict[str, Any]

# WhatsApp knows another way to write it, which ends alike.
BRAZILIAN = f"+55 (11) 9{SENT_TO[:4]}-{SENT_TO[4:]}"
# Where a number is none of what is expected; the last is no field at all.
PLACES = (
    "workspace_id",
    "recipient_user_id",
    "template_name",
    "language",
    "reply_to",
    "scheduled_at",
    "expires_at",
    "template_params",
    "force",
    "text",
    "reaction",
    refused(person(7))[0],
)
# Somebody else, whose number stands where only the business would put one.
OTHER = person(8)


def welcome(phone: str, **more: object) -> Given:
    """Return a template to a number, as it is spelled."""
    return {
        "recipient_phone": phone,
        "template_name": "welcome_message",
        "language": "en",
        "template_params": ["Ana"],
        **more,
    }


def templates() -> Iterator[Given]:
    """Yield templates: recipients in every spelling, keys and values that are numbers."""
    for spelling in accepted(person(0)):
        yield welcome(spelling, idempotency_key=spelling)
    yield welcome(BRAZILIAN, idempotency_key=f"ticket of {OTHER}")
    phone = person(1)
    to: Given = {"recipient_phone": f"+{phone}", "template_params": ["Ana"], "language": "en"}
    yield {
        **to,
        "template_name": "spring_offer",
        "template_parameters": {
            "header": {"media": {"link": f"https://example.org/{phone}.png"}},
            "buttons": [
                {"index": 0, "value": f"tel:+{phone}"},
                {"index": 1, "value": phone},
                {"index": 2, "value": phone},
            ],
        },
    }
    yield {
        **to,
        "template_name": "order_update",
        "template_params": ["Ana", "Friday"],
        "template_parameters": {"header": {"text": f"0{phone[2:]}"}},
    }
    yield {**to, "template_name": "login_code", "template_params": [phone]}
    yield {
        **to,
        "template_name": f"call_{phone}",
        "template_params": None,
        "force": True,
        "template_parameters": {"named": {f"p{phone}": "x", f"q_{OTHER}": phone}},
    }
    opening = {"flow_data": {phone: int(phone), "of": [f"0{OTHER[2:]}"]}, "index": 0}
    yield {**to, "template_name": "booking", "template_parameters": {"buttons": [opening]}}


def contents() -> Iterator[Given]:
    """Yield one content of every other kind, each to somebody who wrote."""
    for number, make in enumerate((_file, _choice, _list, _link, _raw, _place, _cards)):
        phone = person(number % 4 + 2)
        yield {"recipient_phone": f"+{phone}", **make(phone, accepted(phone)[number % 5])}


def _file(phone: str, spelling: str) -> Given:
    link, name = f"https://example.org/{phone}.pdf", f"Chat with {spelling}.pdf"
    return {"media": {"kind": "document", "link": link, "filename": name}}


def _choice(phone: str, spelling: str) -> Given:
    buttons = [{"id": spelling, "title": "Yes"}, {"id": f"+{OTHER}", "title": phone}]
    return {"interactive": {"body": "Sure?", "footer": f"Call {spelling}", "buttons": buttons}}


def _list(phone: str, spelling: str) -> Given:
    rows = [{"id": phone, "title": spelling, "description": f"Call {spelling}"}]
    return {
        "interactive": {
            "body": "Who?",
            "list": {"button": "Open", "sections": [{"rows": rows, "title": phone}]},
        }
    }


def _link(phone: str, spelling: str) -> Given:
    cta = {"display_text": spelling, "url": f"https://wa.me/{phone}?text={spelling}"}
    return {"interactive": {"body": "Call us", "cta_url": cta}}


def _raw(phone: str, spelling: str) -> Given:
    action = {"name": "cta_url", "parameters": {"display_text": phone, "url": f"tel:{spelling}"}}
    return {
        "interactive": {
            "raw": {
                "type": "cta_url",
                "body": {"text": "Call us"},
                "footer": {"text": spelling},
                "action": action,
            }
        }
    }


def _place(phone: str, spelling: str) -> Given:
    where = {"name": f"Home of {phone}", "address": f"Ring {spelling}"}
    return {"location": {"latitude": -33.9, "longitude": 18.4, **where}}


def _cards(phone: str, spelling: str) -> Given:
    return {
        "contacts": [
            {
                "name": {"formatted_name": one, "first_name": f"Al {OTHER}"},
                "phones": [{"phone": one, "wa_id": OTHER}],
                "org": {"company": f"Call {spelling}", "department": OTHER, "title": one},
                "urls": [{"url": f"https://wa.me/{OTHER}"}],
                "emails": [{"email": f"{phone}@x.example"}],
            }
            for one in accepted(OTHER)
        ]
    }


def refusals() -> Iterator[Given]:
    """Yield what must be refused: numbers that are none, and numbers in every wrong place."""
    spellings = refused(person(7))
    yield from map(welcome, spellings)
    for number, place in enumerate(PLACES):
        spelling = spellings[number % len(spellings)]
        right = welcome(f"+{person(7)}", idempotency_key=spelling)
        yield {**right, place: spelling}
    for number, spelling in enumerate(spellings):
        to = {"recipient_phone": f"+{person(7)}"}
        yield {**to, **_wrong(spelling)[number]}


def _wrong(spelling: str) -> list[Given]:
    name = {"template_name": "welcome_message"}
    link = {"cta_url": {"display_text": "x", "url": spelling}, "body": "x"}
    return [
        {**name, "template_params": [spelling, spelling]},
        {**name, "template_parameters": {"named": {spelling: "x"}}},
        {**name, "template_parameters": {"header": {"text": spelling}}},
        {"media": {"kind": "image", "id": spelling}},
        {"interactive": {"raw": {"type": spelling, "action": {}}}},
        {"interactive": link},
    ]


def people(count: int) -> bytes:
    """Return a list for a broadcast; references are numbers of others, one row fits no template."""
    rows = [f"{spelling},{OTHER},Ana" for spelling in accepted(person(count))]
    rows += [f"+{person(one)},+{OTHER},Ana" for one in range(count)]
    rows += [f"+{person(9)},{person(9)},Ana", f"0{OTHER[2:]},x,Ana", f"+{OTHER},late,"]
    return "\n".join(("phone,reference,1", *rows, "")).encode()


def for_graphql(value: Any, key: str = "") -> Any:
    """Return an input in GraphQL's words."""
    if key in ("raw", "flow_data"):
        return value
    if key == "named":
        return [{"name": name, "value": item} for name, item in value.items()]
    if isinstance(value, dict):
        return {WORDS.get(k) or _camel(k): for_graphql(item, k) for k, item in value.items()}
    if isinstance(value, list):
        return [for_graphql(item) for item in value]
    return value.upper() if key == "kind" else value


WORDS = {"named": "namedParams", "positional": "params"}


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
