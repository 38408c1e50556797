"""From a template and its parameters to Meta's JSON, and to what the recipient will see. Both
expect parameters that passed :func:`templates_wa.validation.problems`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from templates_wa.definitions import Button, ButtonKind, Card, Definition, Header, Text
from templates_wa.parameters import (
    ButtonValue,
    CardValue,
    HeaderValue,
    Localized,
    TemplateParameters,
    Value,
)
from templates_wa.validation import body_values, code_of

Json = dict[str, Any]
# Meta's own default, which it refuses to assume: a flow button without a parameter is an error.
NO_FLOW_TOKEN = "unused"  # noqa: S105


@dataclass(frozen=True, slots=True)
class PreviewButton:
    """A button as shown; ``target`` is its URL, phone number or code, where it has one."""

    kind: str
    text: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What the recipient sees. A header that is no text is its kind in brackets."""

    header: str = ""
    body: str = ""
    footer: str = ""
    buttons: tuple[PreviewButton, ...] = ()
    cards: tuple[Preview, ...] = ()


def wire(name: str, language: str, definition: Definition, parameters: TemplateParameters) -> Json:
    """Return the ``template`` object of a send request."""
    own = _components(definition.card, parameters.card, definition.is_named)
    components = [*_offer(parameters), *own]
    if definition.cards:
        components.append({"type": "carousel", "cards": _cards(definition, parameters)})
    template: Json = {"name": name, "language": {"code": language}}
    return {**template, "components": components} if components else template


def preview(definition: Definition, parameters: TemplateParameters) -> Preview:
    """Return what the recipient will see; a place without a value stays ``{{1}}``."""
    cards = [*parameters.cards, *(CardValue() for _ in definition.cards)]
    seen = _seen(definition.card, parameters.card)
    return Preview(
        seen.header,
        seen.body,
        definition.footer,
        seen.buttons,
        tuple(_seen(card, value) for card, value in zip(definition.cards, cards, strict=False)),
    )


def _components(card: Card, values: CardValue, is_named: bool) -> list[Json]:
    components: list[Json] = []
    if card.header is not None and values.header is not None:
        components.append(
            {"type": "header", "parameters": [_header(card.header, values.header, is_named)]}
        )
    if values.named:
        parameters = [
            {**_typed(values.named[variable]), "parameter_name": variable}
            for variable in (card.body.variables if card.body else ())
            if variable in values.named
        ]
    else:
        parameters = [_typed(value) for value in values.positional or ()]
    if parameters:
        components.append({"type": "body", "parameters": parameters})
    return [*components, *_buttons(card, values)]


def _typed(value: Value) -> Json:
    if isinstance(value, str):
        return {"type": "text", "text": value}
    kind = "date_time" if value.code is None else "currency"
    return {"type": kind, kind: _localized(value)}


def _localized(value: Localized) -> Json:
    if value.code is None:
        return {"fallback_value": value.fallback_value}
    return {
        "fallback_value": value.fallback_value,
        "code": value.code,
        "amount_1000": value.amount_1000,
    }


def _header(header: Header, value: HeaderValue, is_named: bool) -> Json:
    if value.media is not None:
        kind = header.format.lower()
        return {
            "type": kind,
            kind: _compact(id=value.media.id, link=value.media.link, filename=value.media.filename),
        }
    if value.location is not None:
        place = value.location
        return {
            "type": "location",
            "location": _compact(
                latitude=place.latitude,
                longitude=place.longitude,
                name=place.name,
                address=place.address,
            ),
        }
    if value.product is not None:
        product = value.product
        return {
            "type": "product",
            "product": _compact(
                product_retailer_id=product.product_retailer_id, catalog_id=product.catalog_id
            ),
        }
    return _named_text(value.text or "", header.text, is_named)


def _named_text(text: str, place: Text | None, is_named: bool) -> Json:
    """Return a text parameter; it has a name where its place has one that is no number."""
    parameter = {"type": "text", "text": text}
    if is_named and place and place.variables and not place.variables[0].isdigit():
        parameter["parameter_name"] = place.variables[0]
    return parameter


def _buttons(card: Card, values: CardValue) -> Iterator[Json]:
    by_index = {value.index: value for value in values.buttons}
    code = code_of(card, values)
    for button in card.buttons:
        found = _button(button, by_index.get(button.index), code)
        if found is not None:
            sub_type, parameter = found
            yield {
                "type": "button",
                "sub_type": sub_type,
                "index": str(button.index),
                "parameters": [parameter],
            }


def _button(button: Button, value: ButtonValue | None, code: str | None) -> tuple[str, Json] | None:
    """Return Meta's name of a button's kind and its parameter; ``None``: it has none."""
    text = value.value if value else None
    match button.kind:
        case ButtonKind.OTP if text or code:
            return "url", {"type": "text", "text": text or code}
        case ButtonKind.FLOW:
            action = _compact(
                flow_token=text or NO_FLOW_TOKEN, flow_action_data=value and value.flow_data
            )
            return "flow", {"type": "action", "action": action}
        case ButtonKind.QUICK_REPLY if text:
            return "quick_reply", {"type": "payload", "payload": text}
        case ButtonKind.URL if text:
            return "url", _named_text(text, button.url, is_named=True)
        case ButtonKind.COPY_CODE if text:
            return "copy_code", {"type": "coupon_code", "coupon_code": text}
        case ButtonKind.CATALOG if text:
            return "CATALOG", {"type": "action", "action": _thumbnail(text)}
        case ButtonKind.MPM if value and text:
            return "mpm", {"type": "action", "action": {**_thumbnail(text), **_sections(value)}}
    return None


def _thumbnail(product: str) -> Json:
    return {"thumbnail_product_retailer_id": product}


def _sections(value: ButtonValue) -> Json:
    return {
        "sections": [
            {
                "title": section.title,
                "product_items": [
                    {"product_retailer_id": product} for product in section.product_retailer_ids
                ],
            }
            for section in value.sections
        ]
    }


def _cards(definition: Definition, parameters: TemplateParameters) -> list[Json]:
    pairs = zip(definition.cards, parameters.cards, strict=False)
    return [
        {"card_index": index, "components": _components(card, value, definition.is_named)}
        for index, (card, value) in enumerate(pairs)
    ]


def _offer(parameters: TemplateParameters) -> list[Json]:
    if parameters.offer_expires_at is None:
        return []
    at = int(parameters.offer_expires_at.timestamp() * 1000)
    offer = {"type": "limited_time_offer", "limited_time_offer": {"expiration_time_ms": at}}
    return [{"type": "limited_time_offer", "parameters": [offer]}]


def _compact(**parts: Any) -> Json:
    return {key: value for key, value in parts.items() if value is not None}


def _seen(card: Card, values: CardValue) -> Preview:
    return Preview(
        _seen_header(card.header, values.header),
        card.body.filled(body_values(card.body, values)) if card.body else "",
        "",
        tuple(_seen_button(button, values) for button in card.buttons),
    )


def _seen_header(header: Header | None, value: HeaderValue | None) -> str:
    if header is None:
        return ""
    if header.text is None:
        return f"[{header.format.lower()}]"
    text = value.text if value else None
    return header.text.filled(dict.fromkeys(header.text.variables, text) if text else {})


def _seen_button(button: Button, values: CardValue) -> PreviewButton:
    value = next((v.value for v in values.buttons if v.index == button.index), None)
    if button.url is not None and value is not None:
        target = button.url.filled(dict.fromkeys(button.url.variables, value))
    elif button.kind == ButtonKind.COPY_CODE:
        target = value or ""
    else:
        target = "" if button.kind == ButtonKind.OTP else button.detail
    return PreviewButton(button.kind, button.text, target)
