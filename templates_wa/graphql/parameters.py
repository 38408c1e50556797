"""GraphQL: the values of a template, as sending, previews and broadcasts take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import graphene

from lib.graphql import BadInput, input_of, list_of, utc
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


TemplateMediaInput = input_of(
    MediaValue,
    "TemplateMediaInput",
    "A file, by its id or by a link; exactly one of the two.",
    kind="IMAGE, VIDEO, DOCUMENT or GIF; the template's by default.",
    id="The `media_id` that POST /api/v1/media answered; or Meta's, of the number that sends.",
    link="An https address that Meta fetches the file from.",
    filename="The name shown; for documents only.",
)
TemplateLocationInput = input_of(
    LocationValue,
    "TemplateLocationInput",
    "A place.",
    latitude="Degrees, north is positive.",
    longitude="Degrees, east is positive.",
    name="The place's name.",
    address="The place's address.",
)
TemplateProductInput = input_of(
    ProductValue,
    "TemplateProductInput",
    "A product of a catalogue.",
    product_retailer_id="The product's id in the catalogue.",
    catalog_id="Meta's id of the catalogue.",
)
TemplateHeaderInput = input_of(
    HeaderValue,
    "TemplateHeaderInput",
    "What stands in the header: one of the four, as the template wants it.",
    text="The value of the variable of a text header.",
    media="The file of a media header.",
    location="The place of a location header.",
    product="The product of a product header.",
)
TemplateSectionInput = input_of(
    SectionValue,
    "TemplateSectionInput",
    "Products under a title, for a multi-product button.",
    title="The section's title, 1 to 24 characters.",
    product_retailer_ids="The products' ids in the catalogue.",
)
TemplateButtonInput = input_of(
    ButtonValue,
    "TemplateButtonInput",
    "The value of one button.",
    index="The button's place among all of the template, from 0.",
    value="A quick reply's payload, the end of a URL, the code to copy, a flow's token, "
    "or the product id of a catalogue's picture.",
    kind="The kind you expect, such as URL; checked if given.",
    flow_data="The data of a flow's first screen: an object.",
    sections="The products of an MPM button.",
)
TemplateCardInput = input_of(
    CardValue,
    "TemplateCardInput",
    "The values of one card of a carousel, in the order of the template's cards.",
    params=list_of(graphene.String, "The body's values {{1}}, {{2}} …", required=False),
    named_params=list_of(TemplateNamedParameterInput, "The body's named values.", required=False),
    header="The header's value.",
    buttons="The values of buttons.",
)
TemplateParametersInput = input_of(
    TemplateParameters,
    "TemplateParametersInput",
    "All values of a template. Its body takes params or namedParams, never both.",
    params=list_of(graphene.String, "The body's values {{1}}, {{2}} …", required=False),
    named_params=list_of(TemplateNamedParameterInput, "The body's named values.", required=False),
    header="The header's value.",
    buttons="The values of buttons.",
    cards="The cards of a carousel, all of them.",
    offer_expires_at="When a limited-time offer ends (UTC without an offset).",
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
