"""Meta's JSON for each kind of content, what is kept of it, and the limits with their words."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from messaging.sending.content import Body, body_of, envelope
from messaging.sending.limits import faults
from messaging.sending.reading import request_of
from messaging.sending.refusals import UnableToSend
from messaging.sending.requests import Content, Recipient

ROWS = [{"id": str(number), "title": f"Row {number}"} for number in range(11)]


def content_of(**given: object) -> Content:
    """Read one content as a door does."""
    whole = {"workspace_id": str(uuid4()), "recipient_phone": "+15550123456", **given}
    return request_of(whole).content


def body(**given: object) -> Body:
    return body_of(content_of(**given), "wamid.TARGET")


def wrong(**given: object) -> list[tuple[str, str]]:
    return [tuple(fault) for fault in faults(content_of(**given))]


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        ({"text": "a", "preview_url": True}, {"preview_url": True, "body": "a"}),
        (
            {"media": {"kind": "document", "link": "https://x.org/a", "filename": "a.pdf"}},
            {"link": "https://x.org/a", "filename": "a.pdf"},
        ),
        ({"media": {"kind": "audio", "id": "1", "voice": True}}, {"id": "1", "voice": True}),
        ({"media": {"kind": "sticker", "id": "1"}}, {"id": "1"}),
        (
            {"reaction": {"message_id": str(uuid4()), "emoji": "👍"}},
            {"message_id": "wamid.TARGET", "emoji": "👍"},
        ),
        ({"reaction": {"message_id": str(uuid4())}}, {"message_id": "wamid.TARGET", "emoji": ""}),
        (
            {"location": {"latitude": 1, "longitude": 2.5, "name": "Here"}},
            {"latitude": 1.0, "longitude": 2.5, "name": "Here"},
        ),
        (
            {"contacts": [{"name": {"formatted_name": "A"}, "phones": [{"phone": "+1555"}]}]},
            [{"name": {"formatted_name": "A"}, "phones": [{"phone": "+1555"}]}],
        ),
        (
            {"interactive": {"body": "a", "buttons": [{"id": "1", "title": "Yes"}]}},
            {
                "type": "button",
                "body": {"text": "a"},
                "action": {"buttons": [{"type": "reply", "reply": {"id": "1", "title": "Yes"}}]},
            },
        ),
        (
            {
                "interactive": {
                    "body": "a",
                    "footer": "f",
                    "header": {"text": "h"},
                    "list": {"button": "Open", "sections": [{"rows": ROWS[:1]}]},
                }
            },
            {
                "type": "list",
                "body": {"text": "a"},
                "footer": {"text": "f"},
                "header": {"type": "text", "text": "h"},
                "action": {"button": "Open", "sections": [{"rows": ROWS[:1]}]},
            },
        ),
        (
            {
                "interactive": {
                    "body": "a",
                    "header": {"media": {"kind": "image", "id": "1"}},
                    "cta_url": {"display_text": "Go", "url": "https://x.org"},
                }
            },
            {
                "type": "cta_url",
                "body": {"text": "a"},
                "header": {"type": "image", "image": {"id": "1"}},
                "action": {
                    "name": "cta_url",
                    "parameters": {"display_text": "Go", "url": "https://x.org"},
                },
            },
        ),
        (
            {"interactive": {"body": "a", "location_request": True}},
            {
                "type": "location_request_message",
                "body": {"text": "a"},
                "action": {"name": "send_location"},
            },
        ),
        (
            {"interactive": {"raw": {"type": "request_contact_info", "action": {"name": "x"}}}},
            {"type": "request_contact_info", "action": {"name": "x"}},
        ),
        (
            {"interactive": {"raw": {"type": "flow", "action": {"x": None}}}},
            {"type": "flow", "action": {"x": None}},
        ),
    ],
)
def test_it_writes_what_meta_wants(given: dict, wire: object) -> None:
    assert wrong(**given) == []
    written = body(**given)

    assert json.loads(json.dumps(written.wire)) == wire
    assert not any("kind_of" in name for name in written.kept)


def test_it_keeps_a_card_with_the_numbers_to_be_sealed() -> None:
    card = {"name": {"formatted_name": "Ana"}, "phones": [{"phone": "+27711558396"}]}

    (shared,) = body(contacts=[card]).kept["contacts"]

    assert shared.card["name"] == {"formatted_name": "Ana"}
    assert shared.numbers == ("27711558396",)


def test_it_addresses_a_number_or_a_user_id() -> None:
    said = body(text="a")

    to = json.loads(envelope(said, Recipient("15550123456"), reference="r", quoted="wamid.Q"))
    user = json.loads(envelope(said, Recipient(None, "US.1"), reference="r"))

    assert (to["to"], to["context"]) == ("+15550123456", {"message_id": "wamid.Q"})
    assert (user["recipient"], user["biz_opaque_callback_data"]) == ("US.1", "r")
    assert not {"to", "context"} & set(user)


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"text": ""}, "text", "1 to 4096 characters; 0"),
        ({"text": " \n"}, "text", "blank"),
        ({"text": "x" * 4097}, "text", "1 to 4096 characters; 4097"),
        ({"text": "a\0"}, "text", "NUL"),
        ({"text": "a\ud800"}, "text", "surrogate"),
        ({"media": {"kind": "image"}}, "media", "one of the two"),
        ({"media": {"kind": "image", "id": "1", "link": "https://x"}}, "media", "one of the two"),
        ({"media": {"kind": "image", "link": "ftp://x"}}, "media.link", "https://"),
        ({"media": {"kind": "image", "link": "https://["}}, "media.link", "https://"),
        ({"media": {"kind": "audio", "id": "1", "caption": "c"}}, "media.caption", "no caption"),
        ({"media": {"kind": "image", "id": "1", "voice": True}}, "media.voice", "audio"),
        ({"media": {"kind": "image", "id": "x"}}, "media.id", "digits"),
        ({"location": {"latitude": 91, "longitude": 0}}, "location.latitude", "-90 to 90"),
        ({"contacts": []}, "contacts", "1 to 256"),
        ({"template_name": "Big"}, "template_name", "lower-case"),
        ({"template_name": "a", "language": "english"}, "language", "pt_BR"),
        ({"interactive": {"body": "a"}}, "interactive", "none came"),
        ({"interactive": {"raw": {"type": "No", "action": {}}}}, "interactive.raw", "raw.type"),
        ({"interactive": {"raw": {"type": [], "action": {}}}}, "interactive.raw", "raw.type"),
        ({"interactive": {"raw": {"type": "flow"}}}, "interactive.raw", "raw.action"),
        (
            {"interactive": {"raw": {"type": "flow", "action": {"x": "y" * 64_000}}}},
            "interactive.raw",
            "64000 bytes",
        ),
        (
            {
                "interactive": {
                    "body": "a",
                    "buttons": [{"id": str(n), "title": f"{n}"} for n in range(4)],
                }
            },
            "interactive.buttons",
            "3 buttons; 4",
        ),
        (
            {"interactive": {"body": "a", "buttons": [{"id": "1", "title": "x" * 21}]}},
            "interactive.buttons[0].title",
            "1 to 20 characters; 21",
        ),
        (
            {
                "interactive": {
                    "body": "a",
                    "buttons": [{"id": "1", "title": "a"}, {"id": "1", "title": "b"}],
                }
            },
            "interactive.buttons",
            "different id",
        ),
        (
            {"interactive": {"body": "a", "list": {"button": "b", "sections": [{"rows": ROWS}]}}},
            "interactive.list.sections",
            "10 rows in all; 11",
        ),
        (
            {"interactive": {"body": "x" * 1025, "location_request": True}},
            "interactive.body",
            "1 to 1024",
        ),
    ],
)
def test_it_knows_every_limit(given: dict, field: str, words: str) -> None:
    (fault,) = wrong(**given)

    assert fault[0] == field
    assert words in fault[1]


def test_it_leaves_what_stands_in_raw_to_meta() -> None:
    raw = {"type": "flow", "action": {}, "body": {"text": {"no": "text"}}}

    said = body(interactive={"raw": raw})

    assert (said.wire, said.text) == (raw, None)


def test_it_survives_what_is_nested_without_end() -> None:
    raw: dict = {"type": "flow", "action": {}}
    inner = raw["action"]
    for _ in range(5_000):
        inner["x"] = inner = {}

    try:
        found = wrong(interactive={"raw": raw})
    except UnableToSend as refusal:
        found = [(refusal.field or "", refusal.message)]

    assert "nested too deeply" in str(found)


@pytest.mark.parametrize("emoji", ["👍", "❤️", "1️⃣", "ℹ️", "🇿🇦", "👩🏽‍💻", "©️"])
def test_it_reacts_with_an_emoji(emoji: str) -> None:
    assert wrong(reaction={"message_id": str(uuid4()), "emoji": emoji}) == []


@pytest.mark.parametrize("word", ["ok", "é", "1", "你好", "!", "👍 ok", ":-)", "👍x"])
def test_it_refuses_a_reaction_that_is_no_emoji(word: str) -> None:
    (problem,) = wrong(reaction={"message_id": str(uuid4()), "emoji": word})
    assert problem[0] == "reaction.emoji"
