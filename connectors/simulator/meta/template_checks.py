"""Meta's comparison of a template message with the approved template, with Meta's own sentences.

Deliberately not the product's own validation: one must be able to prove the other wrong.
https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/overview
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from connectors.simulator.meta.bodies import MEDIA
from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.world import Json, SimulatedTemplate

UNFIT = re.compile(r"[\n\t]| {5}")
MEDIA_HEADERS = ("IMAGE", "VIDEO", "DOCUMENT", "GIF", "LOCATION", "PRODUCT")
LONGEST_BODY = 1024
LONGEST_CODE = 15
PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
LONGEST_COUPON = 20
# What a button of each type takes: the name of its parameter's type, and whether it must be given.
TAKES = {
    "URL": ("text", True),
    "OTP": ("text", True),
    "COPY_CODE": ("coupon_code", True),
    "QUICK_REPLY": ("payload", False),
    "FLOW": ("action", False),
    "CATALOG": ("action", False),
    "MPM": ("action", True),
}


def check_status(template: SimulatedTemplate | None, name: str, language: str) -> SimulatedTemplate:
    """Return the template if it can be sent at all.

    Raises:
        GraphError: 132001 unknown or not approved, 132015 paused, 132016 disabled.
    """
    if template is not None and template.status == "PAUSED":
        raise GraphError(132015, f"template name ({name}) is paused in {language}")
    if template is not None and template.status == "DISABLED":
        raise GraphError(132016, f"template name ({name}) is disabled in {language}")
    if template is None or template.status != "APPROVED":
        raise GraphError(132001, f"template name ({name}) does not exist in {language}")
    return template


def check_parameters(template: SimulatedTemplate, components: object, *, now: float) -> None:
    """Compare what was given with what the template has.

    Raises:
        GraphError: 132000, 132005, 132012, 132018, 131008, 131009.
    """
    named = template.parameter_format == "NAMED"
    _check(template.components, components, named=named, now=now)
    if template.category == "AUTHENTICATION":
        _check_code(given_in(components))


def _check(has: Sequence[Json], components: object, *, named: bool, now: float) -> None:
    given = given_in(components)
    approved = {str(part.get("type", "")).upper(): part for part in has}
    _check_header(approved.get("HEADER"), given.parts.get("header"), named=named)
    _check_text("body", _body_of(approved), given.parts.get("body"), named=named)
    check_buttons(approved.get("BUTTONS"), given.buttons)
    _check_offer(approved.get("LIMITED_TIME_OFFER"), given.parts.get("limited_time_offer"), now)
    _check_cards(approved.get("CAROUSEL"), given.parts.get("carousel"), named=named, now=now)


def _body_of(approved: dict[str, Json]) -> str:
    body = approved.get("BODY", {})
    # The text of authentication templates is Meta's own, and takes the code.
    if "text" not in body and "add_security_recommendation" in body:
        return "{{1}}"
    return str(body.get("text", ""))


def _check_header(header: Json | None, given: Json | None, *, named: bool) -> None:
    kind = str(header.get("format", "TEXT")).upper() if header else ""
    if kind in MEDIA_HEADERS:
        parameters = parameters_of(given)
        received = str(parameters[0].get("type", "")).upper() if parameters else "UNKNOWN"
        if received != kind or len(parameters) != 1:
            raise GraphError(
                132012, f"header: Format mismatch, expected {kind}, received {received}"
            )
        if kind.lower() not in parameters[0]:
            raise GraphError(131008, f"header: the parameter {kind.lower()} is required")
        return
    _check_text("header", str(header.get("text", "")) if header else "", given, named=named)


def _check_text(where: str, text: str, given: Json | None, *, named: bool) -> None:
    names = list(dict.fromkeys(PLACEHOLDER.findall(text)))
    parameters = parameters_of(given)
    if len(parameters) != len(names):
        raise GraphError(
            132000,
            f"{where}: number of localizable_params ({len(parameters)}) does not match the "
            f"expected number of params ({len(names)})",
        )
    values = [_value(where, parameter) for parameter in parameters]
    if named and {parameter.get("parameter_name") for parameter in parameters} != set(names):
        raise GraphError(132012, f"{where}: Parameter name is missing or is not in the template")
    if not named and any("parameter_name" in parameter for parameter in parameters):
        raise GraphError(132012, f"{where}: Parameter names are not supported by this template")
    length = len(PLACEHOLDER.sub("", text)) + sum(map(len, values))
    if where == "body" and length > LONGEST_BODY:
        raise GraphError(132005, f"body: text is too long, it has {length} characters")


def _value(where: str, parameter: Json) -> str:
    kind = parameter.get("type")
    if kind == "text":
        value = parameter.get("text")
    elif kind in ("currency", "date_time"):
        part = parameter.get(kind)
        value = part.get("fallback_value") if isinstance(part, dict) else None
    else:
        raise GraphError(132012, f"{where}: Format mismatch, expected TEXT, received {kind}")
    if not isinstance(value, str) or not value:
        raise GraphError(131008, f"{where}: parameter of type text is missing text value")
    if UNFIT.search(value):
        raise GraphError(
            132018,
            f"{where}: Param text cannot have new-line/tab characters or more than 4 consecutive "
            "spaces",
        )
    return value


def _check_offer(has: Json | None, given: Json | None, now: float) -> None:
    offer = has.get("limited_time_offer") if has else None
    expires = isinstance(offer, dict) and bool(offer.get("has_expiration"))
    parameters = parameters_of(given)
    if not expires:
        if parameters:
            raise GraphError(132018, "limited_time_offer: the template has no expiration")
        return
    value = parameters[0].get("limited_time_offer") if parameters else None
    at = value.get("expiration_time_ms") if isinstance(value, dict) else None
    if not isinstance(at, int):
        raise GraphError(131008, "limited_time_offer: expiration_time_ms is required")
    if at / 1000 <= now:
        raise GraphError(131009, "limited_time_offer: expiration_time_ms has passed")


def _check_cards(has: Json | None, given: Json | None, *, named: bool, now: float) -> None:
    expected = _objects(has, "cards")
    cards = sorted(_objects(given, "cards"), key=lambda card: int(str(card.get("card_index", 0))))
    if len(cards) != len(expected):
        raise GraphError(
            132012,
            f"carousel: number of cards ({len(cards)}) does not match the expected number of cards "
            f"({len(expected)})",
        )
    for approved, card in zip(expected, cards, strict=True):
        _check(_objects(approved, "components"), card.get("components"), named=named, now=now)


def _objects(part: Json | None, name: str) -> list[Json]:
    value = part.get(name) if part else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _check_code(given: Given) -> None:
    code = parameters_of(given.parts.get("body"))[0].get("text")
    button = parameters_of(given.buttons.get(0))
    if len(str(code)) > LONGEST_CODE:
        raise GraphError(131009, f"body: the code is longer than {LONGEST_CODE} characters")
    if not button or button[0].get("text") != code:
        raise GraphError(132012, "buttons: the code of the button differs from that of the body")


def check_buttons(has: Json | None, given: dict[int, Json]) -> None:
    """Compare the buttons given, by index, with the component of the template that lists them.

    Raises:
        GraphError: 131008, 131009, 132012, 132018.
    """
    listed = has.get("buttons", []) if has else []
    buttons = listed if isinstance(listed, list) else []
    for index in given:
        if index >= len(buttons):
            raise GraphError(132018, f"buttons: there is no button at index {index}")
    for index, button in enumerate(buttons):
        _check_button(index, button, given.get(index))


def _check_button(index: int, button: Json, given: Json | None) -> None:
    kind = str(button.get("type", "")).upper()
    takes, is_required = TAKES.get(kind, ("", False))
    if kind == "URL" and not PLACEHOLDER.search(str(button.get("url", ""))):
        takes, is_required = "", False
    parameters = parameters_of(given)
    if not parameters:
        if is_required:
            raise GraphError(
                131008,
                f"buttons: Button at index {index} of type {_spoken(kind)} requires a parameter",
            )
        return
    if not takes:
        raise GraphError(132018, f"buttons: Button at index {index} takes no parameters")
    sub_type = str(given.get("sub_type", "")).upper() if given else ""
    if sub_type != ("URL" if kind == "OTP" else kind):
        raise GraphError(132012, f"buttons: Button at index {index} is not of type {sub_type}")
    _check_button_value(index, takes, parameters)


def _check_button_value(index: int, takes: str, parameters: list[Json]) -> None:
    if len(parameters) != 1 or parameters[0].get("type") != takes:
        raise GraphError(132012, f"buttons: Button at index {index} expects one {takes}")
    value = parameters[0].get(takes)
    if not value:
        raise GraphError(131008, f"buttons: Button at index {index} has an empty {takes}")
    if takes == "coupon_code" and len(str(value)) > LONGEST_COUPON:
        raise GraphError(131009, f"buttons: the coupon code is longer than {LONGEST_COUPON}")


def _spoken(kind: str) -> str:
    return "Url" if kind in ("URL", "OTP") else kind.title()


class Given(NamedTuple):
    """The components of a request, by type, and its buttons by index."""

    parts: dict[str, Json]
    buttons: dict[int, Json]


def given_in(components: object) -> Given:
    """Return the components of a request.

    Raises:
        GraphError: 100, 131008, 131009; something that is no component.
    """
    given = Given({}, {})
    if components is not None and not isinstance(components, list):
        raise GraphError(131009, "Param template['components'] must be an array.")
    for part in components or ():
        kind = str(part.get("type", "")).lower() if isinstance(part, dict) else ""
        if kind == "button":
            index = str(part.get("index", ""))
            if not index.isdecimal():
                raise GraphError(131008, "The parameter index of a button is required.")
            given.buttons[int(index)] = part
        elif kind in ("header", "body", "footer", "carousel", "limited_time_offer"):
            given.parts[kind] = part
        else:
            raise GraphError(100, "Param template['components'][]['type'] is not valid.")
    return given


def files_in(components: object) -> Iterator[tuple[str, Json]]:
    """Yield the files of headers, the template's first and then its cards', each with its kind.

    Raises:
        GraphError: 100, 131008, 131009; something that is no component.
    """
    given = given_in(components)
    for parameter in parameters_of(given.parts.get("header")):
        kind = str(parameter.get("type", ""))
        file = parameter.get(kind)
        if kind in MEDIA and isinstance(file, dict):
            yield kind, file
    for card in _objects(given.parts.get("carousel"), "cards"):
        yield from files_in(card.get("components"))


def parameters_of(part: Json | None) -> list[Json]:
    """Return a component's parameters.

    Raises:
        GraphError: 131009, they are no list of objects.
    """
    parameters = [] if part is None else part.get("parameters", [])
    if not isinstance(parameters, list) or not all(isinstance(p, dict) for p in parameters):
        raise GraphError(131009, "Param parameters must be an array of objects.")
    return parameters
