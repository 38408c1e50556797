"""The OpenAPI document's components: made from the very types that requests are read with."""

from __future__ import annotations

import inspect
import re
from typing import Any

import graphene
import msgspec

from messaging.graphql import send_inputs
from messaging.rest.documented import SHAPES
from templates_wa.graphql import parameters

REFERENCE = "#/components/schemas/{name}"
_CAMEL = re.compile(r"\b[a-z]+(?:[A-Z][a-z]+)+\b")
# One description for both doors: where a field's words are found.
WORDS: dict[str, type[graphene.InputObjectType]] = {
    "SendInput": send_inputs.SendWhatsAppMessageInput,
    "MediaContent": send_inputs.MediaInput,
    "InteractiveContent": send_inputs.InteractiveInput,
    "InteractiveHeader": send_inputs.InteractiveHeaderInput,
    "Choice": send_inputs.ButtonInput,
    "ChoiceList": send_inputs.ListInput,
    "Section": send_inputs.ListSectionInput,
    "Row": send_inputs.ListRowInput,
    "CallToAction": send_inputs.CallToActionInput,
    "ReactionContent": send_inputs.ReactionInput,
    "LocationContent": send_inputs.LocationInput,
    "ContactCard": send_inputs.ContactCardInput,
    "CardName": send_inputs.CardNameInput,
    "CardPhone": send_inputs.CardPhoneInput,
    "CardEmail": send_inputs.CardEmailInput,
    "CardUrl": send_inputs.CardUrlInput,
    "CardAddress": send_inputs.CardAddressInput,
    "CardCompany": send_inputs.CardCompanyInput,
    "HeaderValue": parameters.TemplateHeaderInput,
    "MediaValue": parameters.TemplateMediaInput,
    "LocationValue": parameters.TemplateLocationInput,
    "ProductValue": parameters.TemplateProductInput,
    "ButtonValue": parameters.TemplateButtonInput,
    "SectionValue": parameters.TemplateSectionInput,
}
# What is spelled otherwise in GraphQL, which has no maps.
OWN_WORDS = {
    "positional": "The body's values {{1}}, {{2}} …",
    "named": "The body's values by name.",
    "header": "The header's value.",
    "buttons": "The values of buttons.",
    "cards": "The cards of a carousel, all of them.",
    "offer_expires_at": "When a limited-time offer ends.",
    "fallback_value": "What is shown where WhatsApp does not write it the recipient's way.",
    "code": "The currency (ISO 4217); without one it is a date.",
    "amount_1000": "The amount times 1000.",
}


def add_components(result: dict[str, Any], **_: object) -> dict[str, Any]:
    """Add the shapes to a generated document."""
    result.setdefault("components", {}).setdefault("schemas", {}).update(components())
    return result


def components() -> dict[str, Any]:
    """Return the JSON schemas of all shapes, described."""
    _, found = msgspec.json.schema_components(SHAPES, ref_template=REFERENCE)
    for name, schema in found.items():
        if "description" in schema:
            schema["description"] = _prose(schema["description"])
        for field, described in schema.get("properties", {}).items():
            if "description" not in described and (words := _words(name, field)):
                schema["properties"][field] = _with(described, words)
    return found


def _words(name: str, field: str) -> str | None:
    kind = WORDS.get(name)
    known = kind._meta.fields.get(field) if kind is not None else None
    return OWN_WORDS.get(field) if known is None else _snake(known.description)


def _with(schema: dict[str, Any], words: str) -> dict[str, Any]:
    return {**schema, "description": words}


def _snake(words: str) -> str:
    return _CAMEL.sub(lambda found: re.sub("([A-Z])", r"_\1", found[0]).lower(), words)


def _prose(docstring: str) -> str:
    return " ".join(inspect.cleandoc(docstring).replace("``", "`").split())
