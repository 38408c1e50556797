"""GraphQL: what a caller wants sent."""

from __future__ import annotations

import graphene

from lib.graphql import JSON, described_enum, list_of
from messaging.sending import requests
from templates_wa.graphql.parameters import TemplateParametersInput

KINDS = {
    requests.MediaKind.IMAGE: "JPEG or PNG, up to 5 MB.",
    requests.MediaKind.VIDEO: "MP4 or 3GP, up to 16 MB.",
    requests.MediaKind.AUDIO: "AAC, AMR, MP3, M4A or Ogg/Opus, up to 16 MB.",
    requests.MediaKind.DOCUMENT: "Any file, up to 100 MB.",
    requests.MediaKind.STICKER: "WebP, 512 by 512 pixels.",
}
MediaKind = described_enum(requests.MediaKind, "A kind of file.", KINDS)


class MediaInput(graphene.InputObjectType):
    """A file, by its id at Meta or by a link; exactly one of the two."""

    kind = graphene.Field(MediaKind, required=True, description="What kind of file it is.")
    id = graphene.String(description="Meta's media id, of the number that sends.")
    link = graphene.String(
        description="An address that Meta fetches the file from, and keeps for ten minutes."
    )
    caption = graphene.String(description="Text below an image, video or document, up to 1024.")
    filename = graphene.String(description="A document's name as shown.")
    voice = graphene.Boolean(description="Whether audio is shown as a voice note (Ogg/Opus).")


class ButtonInput(graphene.InputObjectType):
    """A reply button."""

    id = graphene.String(required=True, description="Comes back when it is pressed; up to 256.")
    title = graphene.String(required=True, description="Its label, up to 20 characters.")


class ListRowInput(graphene.InputObjectType):
    """A row of a list."""

    id = graphene.String(required=True, description="Comes back when it is chosen; up to 200.")
    title = graphene.String(required=True, description="Its label, up to 24 characters.")
    description = graphene.String(description="A line below the label, up to 72 characters.")


class ListSectionInput(graphene.InputObjectType):
    """Rows of a list under a title."""

    title = graphene.String(description="Up to 24 characters; needed where there are several.")
    rows = list_of(ListRowInput, "One row or more.")


class ListInput(graphene.InputObjectType):
    """A list that opens behind a button; ten rows in all."""

    button = graphene.String(required=True, description="The button's label, up to 20 characters.")
    sections = list_of(ListSectionInput, "One section to ten.")


class CallToActionInput(graphene.InputObjectType):
    """A button that opens a web page."""

    display_text = graphene.String(required=True, description="Its label, up to 20 characters.")
    url = graphene.String(required=True, description="The page's address.")


class InteractiveHeaderInput(graphene.InputObjectType):
    """What stands above the body: a text or a file. Lists take a text."""

    text = graphene.String(description="Up to 60 characters.")
    media = graphene.Field(MediaInput, description="An image, video or document, uncaptioned.")


class InteractiveInput(graphene.InputObjectType):
    """Something to press: exactly one of buttons, list, ctaUrl, locationRequest and raw."""

    body = graphene.String(
        description="The text; needed unless raw is given. Up to 1024, 4096 with a list."
    )
    header = graphene.Field(InteractiveHeaderInput, description="What stands above the body.")
    footer = graphene.String(description="A line below the body, up to 60 characters.")
    buttons = list_of(ButtonInput, "One to three buttons.", required=False)
    list = graphene.Field(ListInput, description="A list to choose from.")
    cta_url = graphene.Field(CallToActionInput, description="A button that opens a web page.")
    location_request = graphene.Boolean(description="A button to send one's location.")
    raw = graphene.Field(
        JSON,
        description="Meta's interactive object as it is, for the other kinds: flow, product, "
        "product_list, catalog_message, order_details …",
    )


class ReactionInput(graphene.InputObjectType):
    """An emoji on a message."""

    message_id = graphene.ID(required=True, description="The message's UUID.")
    emoji = graphene.String(description="The emoji; without one the reaction is taken back.")


class LocationInput(graphene.InputObjectType):
    """A place."""

    latitude = graphene.Float(required=True, description="Degrees; north is positive.")
    longitude = graphene.Float(required=True, description="Degrees; east is positive.")
    name = graphene.String(description="The place's name.")
    address = graphene.String(description="The place's address.")


class CardNameInput(graphene.InputObjectType):
    """A person's name on a card."""

    formatted_name = graphene.String(required=True, description="The whole name as shown.")
    first_name = graphene.String(description="First name; Meta wants one part beside the whole.")
    last_name = graphene.String(description="Last name.")
    middle_name = graphene.String(description="Middle name.")
    prefix = graphene.String(description="What stands in front, such as Dr.")
    suffix = graphene.String(description="What stands behind, such as Jr.")


class CardPhoneInput(graphene.InputObjectType):
    """A phone number on a card; it is sent and not kept."""

    phone = graphene.String(required=True, description="The number as shown.")
    type = graphene.String(description="Such as CELL, HOME, WORK.")
    wa_id = graphene.String(description="Its digits; the card then offers to write to it.")


class CardEmailInput(graphene.InputObjectType):
    """An e-mail address on a card."""

    email = graphene.String(required=True, description="The address.")
    type = graphene.String(description="Such as HOME, WORK.")


class CardUrlInput(graphene.InputObjectType):
    """A web address on a card."""

    url = graphene.String(required=True, description="The address.")
    type = graphene.String(description="Such as HOME, WORK.")


class CardAddressInput(graphene.InputObjectType):
    """A postal address on a card."""

    street = graphene.String(description="Street and number.")
    city = graphene.String(description="City.")
    state = graphene.String(description="State, as a code.")
    zip = graphene.String(description="Postal code.")
    country = graphene.String(description="Country.")
    country_code = graphene.String(description="Country, as a code of two letters.")
    type = graphene.String(description="Such as HOME, WORK.")


class CardCompanyInput(graphene.InputObjectType):
    """Where the person of a card works."""

    company = graphene.String(description="The company.")
    department = graphene.String(description="The department.")
    title = graphene.String(description="What the person is there.")


class ContactCardInput(graphene.InputObjectType):
    """A contact card, in Meta's words."""

    name = graphene.Field(CardNameInput, required=True, description="The person's name.")
    phones = list_of(CardPhoneInput, "Phone numbers.", required=False)
    emails = list_of(CardEmailInput, "E-mail addresses.", required=False)
    urls = list_of(CardUrlInput, "Web addresses.", required=False)
    addresses = list_of(CardAddressInput, "Postal addresses.", required=False)
    org = graphene.Field(CardCompanyInput, description="Where the person works.")
    birthday = graphene.String(description="YYYY-MM-DD.")


class SendWhatsAppMessageInput(graphene.InputObjectType):
    """One message to one person: a workspace, a recipient, and exactly one kind of content."""

    workspace_id = graphene.ID(required=True, description="The UUID of the workspace that sends.")
    recipient_phone = graphene.String(
        description="The recipient's number: + and country code (E.164); spaces, dashes, dots and "
        "brackets do not matter. This or recipientUserId."
    )
    recipient_user_id = graphene.String(
        description="The recipient's business-scoped user id (BSUID), such as US.134912086553."
    )
    template_name = graphene.String(description="An approved template: its name.")
    language = graphene.String(
        description="The template's language, such as en or pt_BR; else the only one, or English."
    )
    template_params = list_of(
        graphene.String, "The values of {{1}}, {{2}} … of the template's body.", required=False
    )
    template_parameters = graphene.Field(
        TemplateParametersInput,
        description="The values of a template with named parameters, a header, buttons, cards.",
    )
    text = graphene.String(description="A text, up to 4096 characters.")
    preview_url = graphene.Boolean(description="Whether the text's first link shows a card.")
    media = graphene.Field(MediaInput, description="A file.")
    interactive = graphene.Field(InteractiveInput, description="Something to press.")
    reaction = graphene.Field(ReactionInput, description="An emoji on a message.")
    location = graphene.Field(LocationInput, description="A place.")
    contacts = list_of(ContactCardInput, "One contact card or more.", required=False)
    reply_to = graphene.ID(
        description="The UUID of the message that this one answers, of the same conversation."
    )
    idempotency_key = graphene.String(
        description="1 to 128 characters. The same key and request have their effect once."
    )
    scheduled_at = graphene.DateTime(
        description="When to send it, up to 30 days ahead (UTC without an offset); else now."
    )
    expires_at = graphene.DateTime(
        description="When it is no longer worth sending (UTC without an offset): else 24 hours "
        "after it is due, 10 minutes for one-time passwords."
    )
    force = graphene.Boolean(
        description="Leave the judgement of the template to Meta; needs sending:manage."
    )
