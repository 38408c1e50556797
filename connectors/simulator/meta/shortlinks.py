"""Short links to a number, with the text that a person finds typed in already.

https://developers.facebook.com/documentation/business-messaging/whatsapp/qr-codes
"""

from __future__ import annotations

from connectors.simulator.meta.failures import GraphError, no_such_object
from connectors.simulator.meta.fields import page
from connectors.simulator.meta.http import SUCCESS, Answer, Call, answer
from connectors.simulator.meta.routes import Route, Table
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import Json, Number

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
LENGTH = 14
LONGEST_TEXT = 140
MOST = 2_000
FORMATS = ("SVG", "PNG")


def _list(sim: Simulator, call: Call) -> Answer:
    number = call.number
    return answer(page(call, [_node(number, code) for code in reversed(number.short_links)]))


def _get(sim: Simulator, call: Call) -> Answer:
    return answer({"data": [_node(call.number, _code(call, call.request.parts[-1]))]})


def _save(sim: Simulator, call: Call) -> Answer:
    """Make a short link, or give the one that ``code`` (or the path) names another text."""
    number = call.number
    text = call.argument("prefilled_message")
    code = call.argument("code") or "".join(call.request.parts[2:])
    if not 1 <= len(text) <= LONGEST_TEXT:
        raise GraphError(100, f"Param prefilled_message must have 1 to {LONGEST_TEXT} characters.")
    image = call.argument("generate_qr_image").upper()
    if image and image not in FORMATS:
        raise GraphError(100, "Param generate_qr_image must be one of {SVG, PNG}.")
    if code:
        _code(call, code)
    elif len(number.short_links) >= MOST:
        raise GraphError(100, f"A phone number has at most {MOST} short links.")
    else:
        code = "".join(sim.rng.choices(ALPHABET, k=LENGTH))
    number.short_links = number.short_links | {code: text}
    return answer(_node(number, code, image))


def _delete(sim: Simulator, call: Call) -> Answer:
    number, code = call.number, _code(call, call.request.parts[-1])
    number.short_links = {k: text for k, text in number.short_links.items() if k != code}
    return SUCCESS


def _node(number: Number, code: str, image: str = "") -> Json:
    node: Json = {
        "code": code,
        "prefilled_message": number.short_links[code],
        "deep_link_url": f"https://wa.me/message/{code}",
    }
    if image:
        node["qr_image_url"] = f"https://scontent.example/{code}.{image.lower()}"
    return node


def _code(call: Call, code: str) -> str:
    if code not in call.number.short_links:
        raise no_such_object(code)
    return code


EDGE: Table = {
    ("GET", "message_qrdls"): Route(_list),
    ("POST", "message_qrdls"): Route(_save),
    ("GET", "message_qrdls/*"): Route(_get),
    ("POST", "message_qrdls/*"): Route(_save),
    ("DELETE", "message_qrdls/*"): Route(_delete),
}
