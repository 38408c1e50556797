"""GraphQL: the values of a template, as sending, previews and broadcasts take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import graphene

from lib.graphql import JSON, BadInput, list_of, utc
from templates_wa.parameters import (
    ButtonValue,
    CardValue,
    HeaderValue,
    Localized,
    LocationValue,
    MediaValue,
    ProductValue,
    SectionValue,
    TemplateParameters,
    Value,
)

# graphene's inputs are dictionaries of what was given, by the names of the fields.
Given = Mapping[str, Any]


class TemplateAmountInput(graphene.InputObjectType):
    """An amount of money that WhatsApp may write the recipient's way."""

    currency_code = graphene.String(required=True, description="ISO 4217, such as USD.")
    amount_1000 = graphene.BigInt(
        required=True, name="amount1000", description="The amount times 1000."
    )


class TemplateNamedParameterInput(graphene.InputObjectType):
    """One value of a template whose parameters have names."""

    name = graphene.String(required=True, description="The parameter's name in the template.")
    value = graphene.String(required=True, description="Its text.")
    amount = graphene.Field(TemplateAmountInput, description="The amount that the text writes.")


class TemplateMediaInput(graphene.InputObjectType):
    """A file, by its id at Meta or by a link; exactly one of the two."""

    kind = graphene.String(description="IMAGE, VIDEO, DOCUMENT or GIF; the template's by default.")
    id = graphene.String(description="Meta's media id, of the number that sends.")
    link = graphene.String(description="An https address that Meta fetches the file from.")
    filename = graphene.String(description="The name shown; for documents only.")


class TemplateLocationInput(graphene.InputObjectType):
    """A place."""

    latitude = graphene.Float(required=True, description="Degrees, north is positive.")
    longitude = graphene.Float(required=True, description="Degrees, east is positive.")
    name = graphene.String(description="The place's name.")
    address = graphene.String(description="The place's address.")


class TemplateProductInput(graphene.InputObjectType):
    """A product of a catalogue."""

    product_retailer_id = graphene.String(
        required=True, description="The product's id in the catalogue."
    )
    catalog_id = graphene.String(required=True, description="Meta's id of the catalogue.")


class TemplateHeaderInput(graphene.InputObjectType):
    """What stands in the header: one of the four, as the template wants it."""

    text = graphene.String(description="The value of the variable of a text header.")
    media = graphene.Field(TemplateMediaInput, description="The file of a media header.")
    location = graphene.Field(TemplateLocationInput, description="The place of a location header.")
    product = graphene.Field(TemplateProductInput, description="The product of a product header.")


class TemplateSectionInput(graphene.InputObjectType):
    """Products under a title, for a multi-product button."""

    title = graphene.String(required=True, description="The section's title, 1 to 24 characters.")
    product_retailer_ids = list_of(graphene.String, "The products' ids in the catalogue.")


class TemplateButtonInput(graphene.InputObjectType):
    """The value of one button."""

    index = graphene.Int(
        required=True, description="The button's place among all of the template, from 0."
    )
    value = graphene.String(
        description="A quick reply's payload, the end of a URL, the code to copy, a flow's token, "
        "or the product id of a catalogue's picture."
    )
    kind = graphene.String(description="The kind you expect, such as URL; checked if given.")
    flow_data = graphene.Field(JSON, description="The data of a flow's first screen: an object.")
    sections = list_of(TemplateSectionInput, "The products of an MPM button.", required=False)


class TemplateCardInput(graphene.InputObjectType):
    """The values of one card of a carousel, in the order of the template's cards."""

    params = list_of(graphene.String, "The body's values {{1}}, {{2}} …", required=False)
    named_params = list_of(TemplateNamedParameterInput, "The body's named values.", required=False)
    header = graphene.Field(TemplateHeaderInput, description="The header's value.")
    buttons = list_of(TemplateButtonInput, "The values of buttons.", required=False)


class TemplateParametersInput(graphene.InputObjectType):
    """All values of a template. Its body takes params or namedParams, never both."""

    params = list_of(graphene.String, "The body's values {{1}}, {{2}} …", required=False)
    named_params = list_of(TemplateNamedParameterInput, "The body's named values.", required=False)
    header = graphene.Field(TemplateHeaderInput, description="The header's value.")
    buttons = list_of(TemplateButtonInput, "The values of buttons.", required=False)
    cards = list_of(TemplateCardInput, "The cards of a carousel, all of them.", required=False)
    offer_expires_at = graphene.DateTime(
        description="When a limited-time offer ends (UTC without an offset)."
    )


def parameters_of(given: Given | None) -> TemplateParameters:
    """Return the parameters in a ``TemplateParametersInput``, or in another input that has some of
    its fields; ``None`` is no parameters.

    Raises:
        BadInput: a name was given twice, or flowData is not an object.
    """
    given = given or {}
    own = _card(given)
    return TemplateParameters(
        own.positional,
        own.named,
        own.header,
        own.buttons,
        tuple(_card(card) for card in given.get("cards") or ()),
        utc(given.get("offer_expires_at")),
    )


def _card(given: Given) -> CardValue:
    params, named = given.get("params"), given.get("named_params")
    return CardValue(
        None if params is None else tuple(params),
        None if named is None else _named(named),
        _header(given.get("header")),
        tuple(_button(button) for button in given.get("buttons") or ()),
    )


def _named(given: Sequence[Given]) -> dict[str, Value]:
    values = {item["name"]: _value(item) for item in given}
    if len(values) < len(given):
        raise BadInput("namedParams has a name twice.")
    return values


def _value(given: Given) -> Value:
    amount, text = given.get("amount"), str(given["value"])
    if amount is None:
        return text
    return Localized(text, amount["currency_code"], amount["amount_1000"])


def _header(given: Given | None) -> HeaderValue | None:
    if given is None:
        return None
    media, location, product = (given.get(k) for k in ("media", "location", "product"))
    return HeaderValue(
        text=given.get("text"),
        media=None if media is None else MediaValue(**media),
        location=None if location is None else LocationValue(**location),
        product=None if product is None else ProductValue(**product),
    )


def _button(given: Given) -> ButtonValue:
    data = given.get("flow_data")
    if data is not None and not isinstance(data, dict):
        raise BadInput("flowData must be an object.")
    sections = tuple(
        SectionValue(section["title"], tuple(section["product_retailer_ids"]))
        for section in given.get("sections") or ()
    )
    return ButtonValue(given["index"], given.get("value"), given.get("kind"), data, sections)
