"""Parameters are checked against the template before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from templates_wa.definitions import Definition
from templates_wa.parameters import (
    BadParameters,
    Localized,
    TemplateParameters,
    read,
    write,
)
from templates_wa.rendering import preview, wire
from templates_wa.validation import problems
from tests.templates_wa.fitting import definitions, fitting

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CODE = {"type": "OTP", "otp_type": "COPY_CODE", "text": "Copy"}
LISTED = {"type": "URL", "text": "Copy", "url": "https://www.whatsapp.com/otp/code/?code=otp{{1}}"}


def body(text: str, *more: dict[str, Any], format_: str = "POSITIONAL") -> Definition:
    return Definition.of([{"type": "BODY", "text": text}, *more], format_)


def buttons(*kinds: dict[str, Any]) -> dict[str, Any]:
    return {"type": "BUTTONS", "buttons": list(kinds)}


def header(format_: str, text: str = "") -> dict[str, Any]:
    return {"type": "HEADER", "format": format_, "text": text}


def said(definition: Definition, **given: Any) -> list[str]:
    return [p.message for p in problems(definition, read(given), NOW)]


def changed(parameters: TemplateParameters, **parts: Any) -> TemplateParameters:
    return msgspec.structs.replace(parameters, **parts)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_it_accepts_what_fits_and_sends_what_meta_counts(data: st.DataObject) -> None:
    definition = data.draw(definitions())
    parameters = data.draw(fitting(definition, NOW))

    assert problems(definition, parameters, NOW) == []
    sent = wire("name", "en", definition, parameters).get("components", [])
    by_type = {part["type"]: part for part in sent if part["type"] != "button"}
    assert len(by_type.get("body", {}).get("parameters", ())) == len(definition.body.variables)
    assert len(by_type.get("carousel", {}).get("cards", ())) == len(definition.cards)
    assert all(len(part["parameters"]) == 1 for part in sent if part["type"] == "button")
    assert "{{" not in preview(definition, parameters).body


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_it_refuses_one_value_more_or_less(data: st.DataObject) -> None:
    definition = data.draw(definitions())
    fits = data.draw(fitting(definition, NOW))
    spoilt = [changed(fits, positional=(*(fits.positional or ()), "more"))]
    spoilt.append(changed(fits, cards=(*fits.cards, msgspec.convert({}, type(fits.card)))))
    spoilt.append(changed(fits, named={**(fits.named or {}), "UNKNOWN": "more"}))
    if definition.body.variables:
        spoilt.append(changed(fits, positional=(fits.positional or ())[1:], named=None))
    spoilt += [changed(fits, cards=fits.cards[1:])] if fits.cards else []
    spoilt += [changed(fits, header=None)] if fits.header else []

    assert all(problems(definition, parameters, NOW) for parameters in spoilt)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_it_writes_parameters_as_json_and_reads_them_again(data: st.DataObject) -> None:
    parameters = data.draw(fitting(data.draw(definitions()), NOW))

    assert read(msgspec.json.decode(msgspec.json.encode(write(parameters)))) == parameters


@pytest.mark.parametrize(
    ("given", "said_is"),
    [
        ({}, "body: no parameter was given, 3 are expected"),
        ({"positional": ["a"]}, "body: 1 parameter was given, 3 are expected"),
        ({"positional": ["a"] * 4}, "body: 4 parameters were given, 3 are expected"),
        (
            {"named": {"x": "a"}},
            "body: named parameters were given, positional ones are expected: 3",
        ),
        ({"positional": ["a", " ", "c"]}, "body: parameter 2 is empty"),
        (
            {"positional": ["a", "b", "x" * 1024]},
            "body: the text has 1033 characters with its parameters, 1024 are allowed",
        ),
    ],
)
def test_it_says_what_is_wrong_with_a_body(given: dict[str, Any], said_is: str) -> None:
    assert said(body("{{1}}, {{2}}, {{3}}, {{1}}"), **given) == [said_is]


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "a     b", "a\r", "\x00", "\ud800"])
def test_it_refuses_characters_that_meta_refuses(text: str) -> None:
    parameters = TemplateParameters(positional=(text,))

    (problem,) = problems(body("Hi {{1}}"), parameters, NOW)

    assert (problem.component, problem.field) == ("body", "positional[0]")
    assert problem.code == "FORBIDDEN_CHARACTERS"


@pytest.mark.parametrize(
    ("named", "said_is"),
    [
        ({"first": "A"}, ["body: 1 parameter was given, 2 are expected; missing: last"]),
        (
            {"first": "A", "last": "B", "x": "C"},
            ["body: 3 parameters were given, 2 are expected; not in the template: x"],
        ),
        ({"first": "A", "last": ""}, ["body: parameter last is empty"]),
        ({"first": "A", "last": "B"}, []),
    ],
)
def test_it_names_missing_and_unknown_parameters(named: dict[str, str], said_is: list[str]) -> None:
    assert said(body("{{first}} {{last}}", format_="NAMED"), named=named) == said_is


def test_it_says_when_positional_ones_were_given_for_named_ones() -> None:
    assert said(body("{{a}} {{b}}", format_="NAMED"), positional=["1", "2"]) == [
        "body: positional parameters were given, named ones are expected: a, b"
    ]


@pytest.mark.parametrize(
    ("wanted", "value", "said_is"),
    [
        ("IMAGE", None, "header: no value was given, an image is expected"),
        ("IMAGE", {"text": "x"}, "header: a text was given, an image is expected"),
        (
            "IMAGE",
            {"media": {"kind": "video", "id": "1"}},
            "header: a video was given, an image is expected",
        ),
        (
            "IMAGE",
            {"media": {}},
            "header: neither an id nor a link was given, one of the two is expected",
        ),
        (
            "IMAGE",
            {"media": {"id": "1", "link": "https://x.example"}},
            "header: an id and a link were given, one of the two is expected",
        ),
        ("VIDEO", {"media": {"link": "ftp://x"}}, "header: the link is not an http(s) address"),
        (
            "VIDEO",
            {"media": {"id": "1", "filename": "a"}},
            "header: a filename was given, a video has none",
        ),
        ("LOCATION", {"media": {"id": "1"}}, "header: a file was given, a location is expected"),
        (
            "LOCATION",
            {"location": {"latitude": 91, "longitude": 0}},
            "header: the latitude is not between -90 and 90 degrees",
        ),
        (
            "PRODUCT",
            {"product": {"product_retailer_id": "", "catalog_id": "1"}},
            "header: the product_retailer_id is empty",
        ),
        (
            "HOLOGRAM",
            {"text": "x"},
            "header: a value was given, a header of the format HOLOGRAM takes none here",
        ),
    ],
)
def test_it_says_what_is_wrong_with_a_header(wanted: str, value: Any, said_is: str) -> None:
    assert said(body("Hi", header(wanted)), header=value) == [said_is]


def test_it_says_what_is_wrong_with_a_text_header() -> None:
    assert said(body("Hi", header("TEXT", "Hello")), header={"text": "x"}) == [
        "header: a value was given, the header's text has no variable"
    ]
    assert said(body("Hi", header("TEXT", "Hello {{1}}")), header={"text": "x" * 55}) == [
        "header: the text has 61 characters with its parameter, 60 are allowed"
    ]


URL = {"type": "URL", "text": "Go", "url": "https://example.com/{{1}}"}
COPY = {"type": "COPY_CODE", "text": "Copy"}
REPLY = {"type": "QUICK_REPLY", "text": "Yes"}
CALL = {"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+15550000001"}
MPM = {"type": "MPM", "text": "See"}


@pytest.mark.parametrize(
    ("kind", "values", "said_is"),
    [
        (URL, [], "button[0]: no value was given, 1 is expected"),
        (URL, [{"index": 0, "value": "a b"}], "button[0]: the end of the URL has a space"),
        (
            URL,
            [{"index": 0, "value": "x" * 1990}],
            "button[0]: the URL has 2010 characters, 2000 are allowed",
        ),
        (
            URL,
            [{"index": 0, "value": "a"}, {"index": 1, "value": "b"}],
            "button[1]: a value was given, the template has 1 button (counted from 0)",
        ),
        (
            COPY,
            [{"index": 0, "value": "25-OFF"}],
            "button[0]: the code has other than letters and digits",
        ),
        (
            REPLY,
            [{"index": 0, "value": "x" * 257}],
            "button[0]: the payload has 257 characters, 256 are allowed",
        ),
        (
            REPLY,
            [{"index": 0, "value": "x", "kind": "URL"}],
            "button[0]: another kind of button was given, it is QUICK_REPLY",
        ),
        (
            REPLY,
            [{"index": 0, "value": "x", "flow_data": {}}],
            "button[0]: flow_data was given, it is not a FLOW button",
        ),
        (
            CALL,
            [{"index": 0, "value": "x"}],
            "button[0]: a value was given, a PHONE_NUMBER button has none",
        ),
        (
            MPM,
            [{"index": 0, "value": "p"}],
            "button[0]: no section was given, 1 to 10 are expected",
        ),
    ],
)
def test_it_says_what_is_wrong_with_a_button(kind: Any, values: Any, said_is: str) -> None:
    assert said(body("Hi", buttons(kind)), buttons=values) == [said_is]


def test_it_refuses_two_values_for_one_button() -> None:
    twice = [{"index": 0, "value": "a"}, {"index": 0, "value": "b"}]

    assert (
        said(body("Hi", buttons(REPLY)), buttons=twice)
        == ["button[0]: 2 values were given, 1 is expected"] * 2
    )


@pytest.mark.parametrize("button", [CODE, LISTED])
def test_it_fills_the_button_of_a_one_time_password_from_the_body(button: Any) -> None:
    definition = Definition.of([{"type": "BODY"}, buttons(button)])
    parameters = read({"positional": ["123456"]})

    assert problems(definition, parameters, NOW) == []
    assert wire("otp", "en", definition, parameters)["components"][1] == {
        "type": "button",
        "sub_type": "url",
        "index": "0",
        "parameters": [{"type": "text", "text": "123456"}],
    }


def test_it_refuses_a_one_time_password_that_is_not_the_one_of_the_body() -> None:
    definition = body("{{1}} is your code", buttons(LISTED))

    other = said(definition, positional=["1234"], buttons=[{"index": 0, "value": "4321"}])
    assert other == ["button[0]: the code is not the one of the body"]
    assert said(definition, positional=["1" * 16]) == [
        "body: the code has 16 characters, 15 are allowed"
    ]


def test_it_checks_every_card() -> None:
    cards = [{"components": [{"type": "BODY", "text": f"Card {n} {{{{1}}}}"}]} for n in range(2)]
    definition = body("Hi", {"type": "CAROUSEL", "cards": cards})

    assert said(definition, cards=[{"positional": ["a"]}]) == [
        "carousel: 1 card was given, 2 are expected"
    ]
    assert said(definition, cards=[{"positional": ["a"]}, {}]) == [
        "card[1].body: no parameter was given, 1 is expected"
    ]
    assert said(body("Hi"), cards=[{}]) == ["carousel: 1 card was given, none is expected"]


@pytest.mark.parametrize(
    ("expires", "given", "said_is"),
    [
        (True, None, ["no expiration was given, 1 is expected"]),
        (True, NOW - timedelta(seconds=1), ["the expiration is not in the future"]),
        (True, NOW.replace(tzinfo=None), ["the expiration has no offset from UTC"]),
        (True, NOW + timedelta(hours=1), []),
        (False, NOW + timedelta(hours=1), ["an expiration was given, the template takes none"]),
    ],
)
def test_it_wants_the_end_of_an_offer(expires: bool, given: Any, said_is: list[str]) -> None:
    offer = {"type": "LIMITED_TIME_OFFER", "limited_time_offer": {"has_expiration": expires}}
    parameters = TemplateParameters(offer_expires_at=given)

    messages = [p.message for p in problems(body("Hi", offer), parameters, NOW)]

    assert messages == [f"limited_time_offer: {text}" for text in said_is]


def test_it_sends_amounts_and_dates_with_their_fallback() -> None:
    amount = Localized("$100.99", "USD", 100990)
    definition, parameters = (
        body("{{1}} on {{2}}"),
        TemplateParameters((amount, Localized("Monday"))),
    )

    assert problems(definition, parameters, NOW) == []
    assert wire("n", "en", definition, parameters)["components"][0]["parameters"] == [
        {
            "type": "currency",
            "currency": {"fallback_value": "$100.99", "code": "USD", "amount_1000": 100990},
        },
        {"type": "date_time", "date_time": {"fallback_value": "Monday"}},
    ]
    assert preview(definition, parameters).body == "$100.99 on Monday"


@pytest.mark.parametrize(
    "half", [Localized("$1", "USD"), Localized("$1", None, 1000), Localized("$1", "usd", 1000)]
)
def test_it_refuses_half_an_amount(half: Localized) -> None:
    (problem,) = problems(body("Pay {{1}}"), TemplateParameters(positional=(half,)), NOW)

    assert (problem.code, problem.field) == ("WRONG_FORMAT", "positional[0]")
    assert "parameter 1 is an amount only with code" in problem.message


@pytest.mark.parametrize(
    ("value", "place"),
    [({"bodyy": []}, "bodyy"), ({"positional": [1]}, "$.positional"), ({"buttons": [{}]}, "index")],
)
def test_it_refuses_json_of_another_form(value: Any, place: str) -> None:
    with pytest.raises(BadParameters, match=place.replace("$", r"\$")):
        read(value)
