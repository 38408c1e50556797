"""What each field of a message takes, to the character, and between which moments it may go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest

from messaging.sending.limits import Fault, Times, faults_of, times_of
from messaging.sending.reading import request_of
from messaging.sending.requests import SendRequest

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FURTHEST = timedelta(days=30)
MESSAGE = str(uuid4())


def request(**given: Any) -> SendRequest:
    """Read a request as a door does."""
    return request_of({"workspace_id": MESSAGE, "recipient_phone": "+15550123456", **given})


def wrong(**given: Any) -> list[tuple[str, str]]:
    return [tuple(fault) for fault in faults_of(request(**given))]


def fields(**given: Any) -> list[str]:
    return [field for field, _ in wrong(**given)]


def media(kind: str = "document", **more: Any) -> dict[str, Any]:
    return {"media": {"kind": kind, "id": "1", **more}}


def place(**more: Any) -> dict[str, Any]:
    return {"location": {"latitude": 0, "longitude": 0, **more}}


def buttons(*titles: str, **more: Any) -> dict[str, Any]:
    chosen = [{"id": f"b{index}", "title": title} for index, title in enumerate(titles)]
    return {"interactive": {"body": "Choose", "buttons": chosen, **more}}


def page(**more: str) -> dict[str, Any]:
    button = {"display_text": "Open", "url": "https://x.org", **more}
    return {"interactive": {"body": "See", "cta_url": button}}


def rows(count: int, first: int = 0, **more: str) -> list[dict[str, str]]:
    return [{"id": f"r{first + n}", "title": f"Row {n}", **more} for n in range(count)]


def listed(*sections: dict[str, Any], button: str = "Open", **more: Any) -> dict[str, Any]:
    chosen = {"button": button, "sections": list(sections)}
    return {"interactive": {"body": "Choose", "list": chosen, **more}}


def headed(header: dict[str, Any]) -> dict[str, Any]:
    return buttons("Yes", header=header)


@pytest.mark.parametrize(
    ("field", "most", "given"),
    [
        ("text", 4096, lambda text: {"text": text}),
        ("media.caption", 1024, lambda text: media(caption=text)),
        ("media.filename", 240, lambda text: media(filename=text)),
        ("location.name", 1024, lambda text: place(name=text)),
        ("location.address", 1024, lambda text: place(address=text)),
        (
            "contacts[0].name.formatted_name",
            256,
            lambda text: {"contacts": [{"name": {"formatted_name": text}}]},
        ),
        ("interactive.body", 1024, lambda text: buttons("Yes", body=text)),
        ("interactive.body", 4096, lambda text: listed({"rows": rows(1)}, body=text)),
        ("interactive.footer", 60, lambda text: buttons("Yes", footer=text)),
        ("interactive.header.text", 60, lambda text: headed({"text": text})),
        ("interactive.buttons[0].title", 20, buttons),
        (
            "interactive.buttons[0].id",
            256,
            lambda text: {
                "interactive": {"body": "Choose", "buttons": [{"id": text, "title": "Yes"}]}
            },
        ),
        ("interactive.cta_url.display_text", 20, lambda text: page(display_text=text)),
        ("interactive.list.button", 20, lambda text: listed({"rows": rows(1)}, button=text)),
        (
            "interactive.list.sections[0].title",
            24,
            lambda text: listed({"title": text, "rows": rows(1)}),
        ),
        (
            "interactive.list.sections[0].rows[0].id",
            200,
            lambda text: listed({"rows": rows(1, id=text)}),
        ),
        (
            "interactive.list.sections[0].rows[0].title",
            24,
            lambda text: listed({"rows": rows(1, title=text)}),
        ),
        (
            "interactive.list.sections[0].rows[0].description",
            72,
            lambda text: listed({"rows": rows(1, description=text)}),
        ),
    ],
)
def test_a_text_may_be_as_long_as_meta_takes_and_not_blank(
    field: str, most: int, given: Callable[[str], dict[str, Any]]
) -> None:
    assert wrong(**given("é" * most)) == []
    assert wrong(**given("é" * (most + 1))) == [
        (field, f"This takes 1 to {most} characters; {most + 1} were given.")
    ]
    assert wrong(**given(" ")) == [(field, "This must not be blank.")]
    assert (field, f"This takes 1 to {most} characters; 0 were given.") in wrong(**given(""))


@pytest.mark.parametrize(
    ("fits", "refused", "field"),
    [
        (buttons("a", "b", "c"), buttons("a", "b", "c", "d"), "interactive.buttons"),
        (listed({"rows": rows(10)}), listed({"rows": rows(11)}), "interactive.list.sections"),
        (
            listed(*({"title": "S", "rows": rows(1, first=n)} for n in range(10))),
            listed({"title": "S", "rows": rows(1)}, {"title": "T", "rows": []}),
            "interactive.list.sections",
        ),
        (listed({"rows": rows(1)}), listed(), "interactive.list.sections"),
        (
            {"contacts": [{"name": {"formatted_name": "A"}}] * 256},
            {"contacts": [{"name": {"formatted_name": "A"}}] * 257},
            "contacts",
        ),
        ({"contacts": [{"name": {"formatted_name": "A"}}]}, {"contacts": []}, "contacts"),
        (place(latitude=-90), place(latitude=-90.001), "location.latitude"),
        (place(longitude=180), place(longitude=180.001), "location.longitude"),
        (media(id="1" * 32), media(id="1" * 33), "media.id"),
        (media(id="1"), media(id="١"), "media.id"),
        ({"template_name": "a" * 512}, {"template_name": "a" * 513}, "template_name"),
        (
            {"text": "a", "idempotency_key": "k" * 128},
            {"text": "a", "idempotency_key": "k" * 129},
            "idempotency_key",
        ),
        (
            {"text": "a", "idempotency_key": "k"},
            {"text": "a", "idempotency_key": ""},
            "idempotency_key",
        ),
        (
            {"text": "a", "idempotency_key": "a b"},
            {"text": "a", "idempotency_key": "a\tb"},
            "idempotency_key",
        ),
        (
            {"text": "a", "reply_to": MESSAGE},
            {"reaction": {"message_id": MESSAGE, "emoji": "👍"}, "reply_to": MESSAGE},
            "reply_to",
        ),
        (
            {"reaction": {"message_id": MESSAGE, "emoji": "👍" * 16}},
            {"reaction": {"message_id": MESSAGE, "emoji": "👍" * 17}},
            "reaction.emoji",
        ),
        (
            {"reaction": {"message_id": MESSAGE, "emoji": ""}},
            {"reaction": {"message_id": MESSAGE, "emoji": "👍\u2003"}},
            "reaction.emoji",
        ),
        (media(filename="a.pdf"), media("image", filename="a.jpg"), "media.filename"),
        (media("video", caption="c"), media("sticker", caption="c"), "media.caption"),
        (media("audio", voice=True), media("document", voice=True), "media.voice"),
    ],
)
def test_one_more_is_too_many(fits: dict, refused: dict, field: str) -> None:
    assert wrong(**fits) == []
    assert fields(**refused) == [field]


@pytest.mark.parametrize("kind", ["image", "video", "document"])
def test_a_picture_a_film_or_a_document_stands_above_a_message(kind: str) -> None:
    assert wrong(**headed(media(kind))) == []


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        (headed({}), "interactive.header", "one of the two"),
        (headed({"text": "a", **media("image")}), "interactive.header", "one of the two"),
        (headed(media("audio")), "interactive.header.media.kind", "image, video or document"),
        (headed(media("image", caption="c")), "interactive.header.media.caption", "no caption"),
        (headed(media("image", id="x")), "interactive.header.media.id", "digits"),
        (
            listed({"rows": rows(1)}, header=media("image")),
            "interactive.header",
            "A list takes a text",
        ),
        (
            {"interactive": {"body": "Where?", "location_request": True, "header": {"text": "a"}}},
            "interactive.header",
            "takes no header",
        ),
        (
            {"interactive": {"body": "Where?", "location_request": True, "footer": "a"}},
            "interactive.footer",
            "takes no footer",
        ),
        (buttons("Yes", location_request=True), "interactive", "buttons, location_request came"),
        (buttons("Yes", "Yes"), "interactive.buttons", "different title"),
        (
            listed({"title": "S", "rows": rows(1)}, {"title": "T", "rows": rows(1)}),
            "interactive.list.sections",
            "different id",
        ),
        (
            listed({"title": "S", "rows": rows(1)}, {"rows": rows(1, first=1)}),
            "interactive.list.sections[1].title",
            "each needs a title",
        ),
        (page(url="https://"), "interactive.cta_url.url", "https:// or http://"),
        (page(url="https://x.org/" + "a" * 1987), "interactive.cta_url.url", "1 to 2000"),
        (
            {"interactive": {"raw": {"type": "flow", "action": {"\0": 1}}}},
            "interactive",
            "NUL",
        ),
    ],
)
def test_it_names_the_field_and_the_remedy(given: dict, field: str, words: str) -> None:
    ((named, message),) = wrong(**given)

    assert named == field
    assert words in message


@pytest.mark.parametrize("part", [{"body": "a"}, {"footer": "a"}, {"header": {"text": "a"}}])
def test_what_is_given_raw_is_given_whole(part: dict) -> None:
    raw = {"raw": {"type": "flow", "action": {}}}

    assert wrong(interactive=raw) == []
    assert wrong(interactive={**raw, **part}) == [
        ("interactive", "With raw, body, header and footer stand inside raw.")
    ]


def test_raw_takes_64000_bytes_of_json() -> None:
    frame = len('{"type":"flow","action":{"x":""}}')
    for length, found in ((64_000 - frame, []), (64_001 - frame, ["interactive.raw"])):
        raw = {"type": "flow", "action": {"x": "y" * length}}
        assert fields(interactive={"raw": raw}) == found


@pytest.mark.parametrize("name", ["latitude", "longitude"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_place_is_somewhere(name: str, value: float) -> None:
    found = request(**place())
    content = type(found.content)(**{"latitude": 0.0, "longitude": 0.0, name: value})
    odd = SendRequest(workspace_id=found.workspace_id, recipient=found.recipient, content=content)

    assert [fault.field for fault in faults_of(odd)] == [f"location.{name}"]


def times(*, is_secret: bool = False, **given: Any) -> Times | Fault:
    return times_of(request(text="a", **given), is_secret=is_secret, now=NOW)


def field_of(found: Times | Fault) -> str:
    assert isinstance(found, Fault)
    return found.field


def test_without_times_it_goes_now_and_lives_a_day_or_a_secret_ten_minutes() -> None:
    assert times() == (NOW, NOW + timedelta(hours=24))
    assert times(is_secret=True) == (NOW, NOW + timedelta(minutes=10))
    later = NOW + timedelta(days=2)
    assert times(scheduled_at=later.isoformat()) == (later, later + timedelta(hours=24))


def test_a_broadcast_decides_when_its_messages_expire() -> None:
    due = {"is_secret": True, "now": NOW}
    whole = request(text="a")
    of_broadcast = SendRequest(
        workspace_id=whole.workspace_id,
        recipient=whole.recipient,
        content=whole.content,
        broadcast_id=uuid4(),
    )

    assert times_of(of_broadcast, **due) == (NOW, None)


def test_it_may_be_due_five_minutes_ago_and_in_thirty_days() -> None:
    ago, ahead = NOW - timedelta(minutes=5), NOW + FURTHEST

    assert times(scheduled_at=ago.isoformat()) == (NOW, NOW + timedelta(hours=24))
    assert times(scheduled_at=ahead.isoformat()) == (ahead, ahead + timedelta(hours=24))
    for wanted in (ago - SECOND, ahead + SECOND):
        assert field_of(times(scheduled_at=wanted.isoformat())) == "scheduled_at"


def test_it_expires_after_it_is_due_and_thirty_days_later_at_most() -> None:
    due = NOW + timedelta(days=29)
    for life, fits in (
        (timedelta(0), False),
        (SECOND, True),
        (FURTHEST, True),
        (FURTHEST + SECOND, False),
    ):
        given = {"scheduled_at": due.isoformat(), "expires_at": (due + life).isoformat()}
        found = times(**given)
        assert found == (due, due + life) if fits else field_of(found) == "expires_at"


def test_times_are_kept_in_utc_whatever_their_offset() -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    due, end = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    found = times(
        scheduled_at=due.astimezone(there).isoformat(), expires_at=end.astimezone(there).isoformat()
    )

    assert isinstance(found, Times)
    assert found == (due, end)
    assert {found.due.tzinfo, found.expires and found.expires.tzinfo} == {UTC}
