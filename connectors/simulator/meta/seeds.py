"""The templates that every world begins with: one of each kind, one paused, one rejected."""

from __future__ import annotations

import hashlib
from copy import deepcopy

from connectors.simulator.meta.world import Json, SimulatedTemplate, World, single

WELCOME = "Hello {{1}}! Welcome to SIGMA Analytics."
HANDLE = "4::aW1hZ2U="


def sample() -> World:
    """Return a world with one of everything, and no callback address: callbacks are only logged."""
    return business(
        app_secret="simulated-app-secret",  # noqa: S106
        access_token="simulated-access-token",  # noqa: S106
        verify_token="simulated-verify-token",  # noqa: S106
        waba_id="102290129340398",
        phone_number_id="106540352242922",
    )


def business(
    *,
    app_secret: str,
    access_token: str,
    waba_id: str,
    phone_number_id: str,
    verify_token: str = "",
    callback_url: str = "",
) -> World:
    """Return the world of one business, with all the templates."""
    return single(
        app_secret=app_secret,
        access_token=access_token,
        waba_id=waba_id,
        phone_number_id=phone_number_id,
        verify_token=verify_token,
        callback_url=callback_url,
        templates=templates(waba_id),
    )


def templates(waba_id: str) -> list[SimulatedTemplate]:
    """Return the templates of an account; their ids are as much its own as they would be Meta's."""
    digest = hashlib.blake2b(waba_id.encode(), digest_size=6).digest()
    first_id = 10**15 + int.from_bytes(digest, "big")
    found = [
        SimulatedTemplate(
            id=str(first_id + position),
            name=name,
            language=language,
            category=category,
            components=deepcopy(components),
            quality="GREEN",
        )
        for position, (name, language, category, components) in enumerate(TEMPLATES)
    ]
    found.append(_appointment(str(first_id + len(found))))
    for template in found:
        if template.name == "paused_offer":
            template.status, template.quality = "PAUSED", "RED"
        if template.name == "rejected_offer":
            template.status, template.rejected_reason = "REJECTED", "PROMOTIONAL"
    return found


def _appointment(template_id: str) -> SimulatedTemplate:
    text = "Hi {{first_name}}, your appointment is on {{day}} at {{time}}."
    named = [
        {"param_name": name, "example": value}
        for name, value in (("first_name", "Ana"), ("day", "Friday"), ("time", "14:00"))
    ]
    body: Json = {"type": "BODY", "text": text, "example": {"body_text_named_params": named}}
    return SimulatedTemplate(
        id=template_id,
        name="appointment_reminder",
        language="en",
        category="UTILITY",
        parameter_format="NAMED",
        components=[body],
        quality="GREEN",
    )


def _text(kind: str, text: str, **more: object) -> Json:
    return {"type": kind, "text": text, **more}


def _body(text: str, example: list[str]) -> Json:
    return _text("BODY", text, example={"body_text": [example]}) if example else _text("BODY", text)


def _header(kind: str) -> Json:
    return {"type": "HEADER", "format": kind, "example": {"header_handle": [HANDLE]}}


def _buttons(*buttons: Json) -> Json:
    return {"type": "BUTTONS", "buttons": list(buttons)}


def _card(what: str) -> Json:
    return {
        "components": [
            _header("IMAGE"),
            _body(f"New {what} from {{{{1}}}}.", ["SIGMA"]),
            _buttons(
                {"type": "QUICK_REPLY", "text": "More like this"},
                {
                    "type": "URL",
                    "text": "Buy",
                    "url": f"https://shop.example/{what}/{{{{1}}}}",
                    "example": [f"https://shop.example/{what}/1"],
                },
            ),
        ]
    }


# Name, language, category, components.
TEMPLATES: tuple[tuple[str, str, str, list[Json]], ...] = (
    ("welcome_message", "en", "MARKETING", [_body(WELCOME, ["John"])]),
    ("welcome_message", "de", "MARKETING", [_body("Hallo {{1}}! Willkommen.", ["Hans"])]),
    (
        "order_update",
        "en",
        "UTILITY",
        [
            _text("HEADER", "Order {{1}}", format="TEXT", example={"header_text": ["8841"]}),
            _body("Hi {{1}}, your order arrives on {{2}}.", ["Thandi", "Friday"]),
            _text("FOOTER", "SIGMA Analytics"),
        ],
    ),
    (
        "invoice_ready",
        "en",
        "UTILITY",
        [
            _header("DOCUMENT"),
            _body("Your invoice of {{1}} is attached.", ["May"]),
        ],
    ),
    (
        "spring_offer",
        "en",
        "MARKETING",
        [
            _header("IMAGE"),
            _body("Dear {{1}}, spring is here.", ["Ana"]),
            _buttons(
                {
                    "type": "URL",
                    "text": "Shop",
                    "url": "https://shop.example/{{1}}",
                    "example": ["https://shop.example/spring"],
                },
                {"type": "QUICK_REPLY", "text": "Stop promotions"},
                {"type": "COPY_CODE", "example": "SPRING25"},
            ),
        ],
    ),
    (
        "login_code",
        "en",
        "AUTHENTICATION",
        [
            {
                "type": "BODY",
                "text": "*{{1}}* is your verification code.",
                "add_security_recommendation": False,
                "example": {"body_text": [["123456"]]},
            },
            _buttons({"type": "OTP", "otp_type": "COPY_CODE", "text": "Copy code"}),
        ],
    ),
    (
        "collection",
        "en",
        "MARKETING",
        [
            _body("Look at this, {{1}}!", ["Olu"]),
            {"type": "CAROUSEL", "cards": [_card("mugs"), _card("bowls")]},
        ],
    ),
    (
        "flash_sale",
        "en",
        "MARKETING",
        [
            _header("IMAGE"),
            {
                "type": "LIMITED_TIME_OFFER",
                "limited_time_offer": {"text": "Ends soon", "has_expiration": True},
            },
            _body("Hi {{1}}, only today.", ["Kenji"]),
            _buttons(
                {"type": "COPY_CODE", "example": "FLASH10"},
                {
                    "type": "URL",
                    "text": "Shop",
                    "url": "https://shop.example/sale?c={{1}}",
                    "example": ["https://shop.example/sale?c=1"],
                },
            ),
        ],
    ),
    (
        "store_location",
        "en",
        "UTILITY",
        [
            {"type": "HEADER", "format": "LOCATION"},
            _body("We moved. See you soon!", []),
        ],
    ),
    ("paused_offer", "en", "MARKETING", [_body("Hello {{1}}, we are open.", ["John"])]),
    ("rejected_offer", "en", "MARKETING", [_body("Hello {{1}}, win big.", ["John"])]),
)
