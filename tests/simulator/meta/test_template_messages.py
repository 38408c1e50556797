from __future__ import annotations

import time
from typing import Any

import pytest

from connectors.simulator.meta.server import RunningSimulator
from tests.simulator.meta.conftest import Post, error, template, text_parameters

IMAGE = {
    "type": "header",
    "parameters": [{"type": "image", "image": {"link": "https://a.example/a"}}],
}


def button(index: int, sub_type: str, **parameter: Any) -> dict[str, Any]:
    return {
        "type": "button",
        "sub_type": sub_type,
        "index": str(index),
        "parameters": [parameter],
    }


def named(**values: str) -> dict[str, Any]:
    return {
        "type": "body",
        "parameters": [
            {"type": "text", "parameter_name": name, "text": value}
            for name, value in values.items()
        ],
    }


def offer(at: float) -> dict[str, Any]:
    value = {
        "type": "limited_time_offer",
        "limited_time_offer": {"expiration_time_ms": int(at * 1000)},
    }
    return {"type": "limited_time_offer", "parameters": [value]}


def cards(count: int) -> dict[str, Any]:
    parts = [IMAGE, text_parameters("x"), button(1, "url", type="text", text="7")]
    return {
        "type": "carousel",
        "cards": [{"card_index": index, "components": parts} for index in range(count)],
    }


def values(*parameters: object) -> list[dict[str, Any]]:
    """Return a body with such parameters."""
    return [{"type": "body", "parameters": list(parameters)}]


def money(**value: str) -> dict[str, Any]:
    return {"type": "currency", "currency": {"code": "ZAR", "amount_1000": 1000, **value}}


def coupon(code: str) -> dict[str, Any]:
    return button(2, "copy_code", type="coupon_code", coupon_code=code)


FLOW = button(0, "flow", type="text", text="a")
URL = button(0, "url", type="text", text="spring")
STOP = button(1, "quick_reply", type="payload", payload="STOP")
COUPON = button(2, "copy_code", type="coupon_code", coupon_code="SPRING25")
SALE = [
    IMAGE,
    text_parameters("x"),
    button(0, "copy_code", type="coupon_code", coupon_code="A1"),
    button(1, "url", type="text", text="7"),
]
GOOD: dict[str, list[dict[str, Any]]] = {
    "welcome_message": [text_parameters("John")],
    "order_update": [text_parameters("8841", where="header"), text_parameters("A", "B")],
    "spring_offer": [IMAGE, text_parameters("Ana"), URL, STOP, COUPON],
    "invoice_ready": [
        {
            "type": "header",
            "parameters": [{"type": "document", "document": {"link": "https://a.example/a.pdf"}}],
        },
        *values(money(fallback_value="R10")),
    ],
    "login_code": [text_parameters("123456"), button(0, "url", type="text", text="123456")],
    "appointment_reminder": [named(time="14:00", first_name="Ana", day="Friday")],
    "collection": [text_parameters("Olu"), cards(2)],
    "flash_sale": [*SALE, offer(time.time() + 3600)],
    "store_location": [
        {
            "type": "header",
            "parameters": [{"type": "location", "location": {"latitude": "1", "longitude": "2"}}],
        }
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_it_accepts_what_fits(post: Post, name: str) -> None:
    answer = post(template=template(name, GOOD[name]))
    assert answer.is_success, answer.text


SPRING = [IMAGE, text_parameters("Ana")]
COUNT = "number of localizable_params ({}) does not match the expected number of params ({})"
REQUIRED = "buttons: Button at index {} of type {} requires a parameter"
WRONG: list[tuple[str, list[dict[str, Any]], int, str]] = [
    ("welcome_message", [], 132000, "body: " + COUNT.format(0, 1)),
    ("welcome_message", [text_parameters("a", "b")], 132000, "body: " + COUNT.format(2, 1)),
    ("order_update", [text_parameters("A", "B")], 132000, "header: " + COUNT.format(0, 1)),
    ("welcome_message", [text_parameters("a\nb")], 132018, "body: Param text cannot have"),
    ("welcome_message", [text_parameters("")], 131008, "body: parameter of type text is missing"),
    ("welcome_message", [text_parameters("x" * 1024)], 132005, "body: text is too long"),
    ("welcome_message", [named(name="a")], 132012, "body: Parameter names are not supported"),
    ("welcome_message", [text_parameters("a"), URL], 132018, "buttons: there is no button at"),
    (
        "spring_offer",
        [text_parameters("Ana")],
        132012,
        "header: Format mismatch, expected IMAGE, received UNKNOWN",
    ),
    ("spring_offer", [IMAGE, text_parameters("a"), COUPON], 131008, REQUIRED.format(0, "Url")),
    ("spring_offer", [IMAGE, text_parameters("a"), URL], 131008, REQUIRED.format(2, "Copy_Code")),
    (
        "spring_offer",
        [IMAGE, text_parameters("a"), FLOW],
        132012,
        "buttons: Button at index 0 is not of type FLOW",
    ),
    ("appointment_reminder", [text_parameters("a", "b", "c")], 132012, "body: Parameter name is"),
    (
        "login_code",
        [text_parameters("1"), button(0, "url", type="text", text="2")],
        132012,
        "buttons: the code of the button",
    ),
    ("login_code", [text_parameters("1" * 16), URL], 131009, "body: the code is longer"),
    ("collection", [text_parameters("Olu"), cards(1)], 132012, "carousel: number of cards (1)"),
    ("flash_sale", SALE, 131008, "limited_time_offer: expiration_time_ms is required"),
    ("flash_sale", [*SALE, offer(1)], 131009, "limited_time_offer: expiration_time_ms has passed"),
    # What is at the limit is taken, see below; what is beyond it is not.
    ("spring_offer", [*SPRING, URL, coupon("A" * 21)], 131009, "buttons: the coupon code is"),
    ("spring_offer", [*SPRING, URL, coupon("")], 131008, "buttons: Button at index 2 has an empty"),
    (
        "spring_offer",
        [*SPRING, button(0, "url", type="payload", payload="x"), COUPON],
        132012,
        "buttons: Button at index 0 expects one text",
    ),
    ("welcome_message", values(money()), 131008, "body: parameter of type text is missing"),
    (
        "welcome_message",
        values({"type": "image", "image": {}}),
        132012,
        "body: Format mismatch, expected TEXT, received image",
    ),
    ("welcome_message", [text_parameters("a     b")], 132018, "body: Param text cannot have"),
    ("welcome_message", values("John"), 131009, "Param parameters must be an array of objects."),
    ("welcome_message", [{"type": "smell"}], 100, "Param template['components'][]['type']"),
    (
        "welcome_message",
        [text_parameters("a"), {"type": "button", "sub_type": "url", "index": "first"}],
        131008,
        "The parameter index of a button is required.",
    ),
    ("welcome_message", [text_parameters("a"), offer(1)], 132018, "limited_time_offer: the"),
    (
        "store_location",
        [{"type": "header", "parameters": [{"type": "location"}]}],
        131008,
        "header: the parameter location is required",
    ),
    (
        "spring_offer",
        [{**IMAGE, "parameters": IMAGE["parameters"] * 2}, text_parameters("a"), URL, COUPON],
        132012,
        "header: Format mismatch, expected IMAGE, received IMAGE",
    ),
    ("login_code", [text_parameters("1")], 131008, REQUIRED.format(0, "Url")),
    ("nothing", [], 132001, "template name (nothing) does not exist in en"),
    ("rejected_offer", [], 132001, "template name (rejected_offer) does not exist in en"),
    ("paused_offer", [], 132015, "template name (paused_offer) is paused in en"),
]


@pytest.mark.parametrize(("name", "components", "code", "details"), WRONG)
def test_it_refuses_what_does_not_fit_in_metas_words(
    post: Post, name: str, components: list[dict[str, Any]], code: int, details: str
) -> None:
    status, found, text = error(post(template=template(name, components)))
    assert (status, found) == (404 if code == 132001 else 400, code)
    assert text.startswith(details)


@pytest.mark.parametrize(
    ("name", "components"),
    [
        # The text around the variable counts too: "Hello ! Welcome to SIGMA Analytics."
        ("welcome_message", [text_parameters("x" * (1024 - 35))]),
        ("welcome_message", [text_parameters("a    b")]),
        ("spring_offer", [*SPRING, URL, coupon("A" * 20)]),
        ("login_code", [text_parameters("1" * 15), button(0, "url", type="text", text="1" * 15)]),
    ],
)
def test_it_takes_what_is_just_within_a_limit(
    post: Post, name: str, components: list[dict[str, Any]]
) -> None:
    answer = post(template=template(name, components))
    assert answer.is_success, answer.text


def test_the_text_of_a_template_counts_towards_its_length(post: Post) -> None:
    longer = [text_parameters("x" * (1024 - 34))]
    assert error(post(template=template("welcome_message", longer)))[1] == 132005


def test_components_are_a_list(post: Post) -> None:
    given: Any = {"type": "body"}
    refused = error(post(template=template("welcome_message", given)))
    assert refused[1:] == (131009, "Param template['components'] must be an array.")


def test_a_button_without_a_variable_takes_nothing(meta: RunningSimulator, post: Post) -> None:
    (found,) = (
        t for t in meta.state.registry.world.accounts[0].templates if t.name == "flash_sale"
    )
    buttons: Any = found.components[3]["buttons"]
    buttons[1]["url"] = "https://shop.example/sale"
    given = [*SALE, offer(time.time() + 3600)]
    refused = error(post(template=template("flash_sale", given)))
    assert refused[1:] == (132018, "buttons: Button at index 1 takes no parameters")
    assert post(template=template("flash_sale", [*given[:3], given[4]])).is_success


def test_a_language_must_match_exactly(post: Post) -> None:
    refused = post(template=template("welcome_message", [text_parameters("J")], "en_US"))
    assert error(refused)[2] == "template name (welcome_message) does not exist in en_US"


def test_a_disabled_template_has_its_own_code(meta: RunningSimulator, post: Post) -> None:
    meta.control.change("templates", "welcome_message", status="DISABLED")
    assert error(post())[1] == 132016


def test_marketing_does_not_reach_the_united_states_if_asked_so(
    meta: RunningSimulator, post: Post
) -> None:
    meta.control.options(blocks_us_marketing=True, status_delays_ms=(0, 0, 0))
    assert post("+12025550123").is_success
    assert meta.control.state()["scheduled"] <= 1
