"""The buttons of a template message, compared with those of the template."""

from __future__ import annotations

import re

from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.given import parameters_of
from connectors.simulator.meta.world import Json

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
