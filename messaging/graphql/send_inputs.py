"""GraphQL: what a caller wants sent."""

from __future__ import annotations

import graphene

from lib.graphql import described_enum, input_of
from messaging import filetypes
from messaging.sending import requests
from messaging.sending.reading import SendInput

KINDS = {kind: filetypes.words_for(kind) for kind in filetypes.MediaKind}
MediaKind = described_enum(filetypes.MediaKind, "A kind of file.", KINDS)


MediaInput = input_of(
    requests.MediaContent,
    "MediaInput",
    "A file, by its id or by a link; exactly one of the two.",
    kind=graphene.Field(MediaKind, required=True, description="What kind of file it is."),
    id="The `media_id` that POST /api/v1/media answered; or Meta's, of the number that sends.",
    link="An address that Meta fetches the file from, and keeps for ten minutes.",
    caption="Text below an image, video or document, up to 1024.",
    filename="A document's name as shown.",
    voice="Whether audio is shown as a voice note (Ogg/Opus).",
)
ButtonInput = input_of(
    requests.Choice,
    "ButtonInput",
    "A reply button.",
    id="Comes back when it is pressed; up to 256.",
    title="Its label, up to 20 characters.",
)
ListRowInput = input_of(
    requests.Row,
    "ListRowInput",
    "A row of a list.",
    id="Comes back when it is chosen; up to 200.",
    title="Its label, up to 24 characters.",
    description="A line below the label, up to 72 characters.",
)
ListSectionInput = input_of(
    requests.Section,
    "ListSectionInput",
    "Rows of a list under a title.",
    title="Up to 24 characters; needed where there are several.",
    rows="One row or more.",
)
ListInput = input_of(
    requests.ChoiceList,
    "ListInput",
    "A list that opens behind a button; ten rows in all.",
    button="The button's label, up to 20 characters.",
    sections="One section to ten.",
)
CallToActionInput = input_of(
    requests.CallToAction,
    "CallToActionInput",
    "A button that opens a web page.",
    display_text="Its label, up to 20 characters.",
    url="The page's address.",
)
InteractiveHeaderInput = input_of(
    requests.InteractiveHeader,
    "InteractiveHeaderInput",
    "What stands above the body: a text or a file. Lists take a text.",
    text="Up to 60 characters.",
    media="An image, video or document, uncaptioned.",
)
InteractiveInput = input_of(
    requests.InteractiveContent,
    "InteractiveInput",
    "Something to press: exactly one of buttons, list, ctaUrl, locationRequest and raw.",
    body="The text; needed unless raw is given. Up to 1024, 4096 with a list.",
    header="What stands above the body.",
    footer="A line below the body, up to 60 characters.",
    buttons="One to three buttons.",
    list="A list to choose from.",
    cta_url="A button that opens a web page.",
    location_request="A button to send one's location.",
    raw="Meta's interactive object as it is, for the other kinds: flow, product, "
    "product_list, catalog_message, order_details …",
)
ReactionInput = input_of(
    requests.ReactionContent,
    "ReactionInput",
    "An emoji on a message.",
    message_id="The message's UUID.",
    emoji="The emoji; without one the reaction is taken back.",
)
LocationInput = input_of(
    requests.LocationContent,
    "LocationInput",
    "A place.",
    latitude="Degrees; north is positive.",
    longitude="Degrees; east is positive.",
    name="The place's name.",
    address="The place's address.",
)
CardNameInput = input_of(
    requests.CardName,
    "CardNameInput",
    "A person's name on a card.",
    formatted_name="The whole name as shown.",
    first_name="First name; Meta wants one part beside the whole.",
    last_name="Last name.",
    middle_name="Middle name.",
    prefix="What stands in front, such as Dr.",
    suffix="What stands behind, such as Jr.",
)
CardPhoneInput = input_of(
    requests.CardPhone,
    "CardPhoneInput",
    "A phone number on a card; it is sent and not kept.",
    phone="The number as shown.",
    type="Such as CELL, HOME, WORK.",
    wa_id="Its digits; the card then offers to write to it.",
)
CardEmailInput = input_of(
    requests.CardEmail,
    "CardEmailInput",
    "An e-mail address on a card.",
    email="The address.",
    type="Such as HOME, WORK.",
)
CardUrlInput = input_of(
    requests.CardUrl,
    "CardUrlInput",
    "A web address on a card.",
    url="The address.",
    type="Such as HOME, WORK.",
)
CardAddressInput = input_of(
    requests.CardAddress,
    "CardAddressInput",
    "A postal address on a card.",
    street="Street and number.",
    city="City.",
    state="State, as a code.",
    zip="Postal code.",
    country="Country.",
    country_code="Country, as a code of two letters.",
    type="Such as HOME, WORK.",
)
CardCompanyInput = input_of(
    requests.CardCompany,
    "CardCompanyInput",
    "Where the person of a card works.",
    company="The company.",
    department="The department.",
    title="What the person is there.",
)
ContactCardInput = input_of(
    requests.ContactCard,
    "ContactCardInput",
    "A contact card, in Meta's words.",
    name="The person's name.",
    phones="Phone numbers.",
    emails="E-mail addresses.",
    urls="Web addresses.",
    addresses="Postal addresses.",
    org="Where the person works.",
    birthday="YYYY-MM-DD.",
)
SendWhatsAppMessageInput = input_of(
    SendInput,
    "SendWhatsAppMessageInput",
    "One message to one person: a workspace, a person, and exactly one kind of content. The person "
    "is named in one way: recipientPhone, recipientUserId, conversationId, contactId, or replyTo.",
    workspace_id="The UUID of the workspace that sends.",
    recipient_phone="The recipient's number: + and country code (E.164); spaces, dashes, dots and "
    "brackets do not matter.",
    recipient_user_id="The recipient's business-scoped user id (BSUID), such as US.134912086553.",
    conversation_id="The UUID of a conversation of the workspace: who it is with is written to, "
    "whose number nobody needs to know.",
    contact_id="The UUID of a contact, likewise.",
    template_name="An approved template: its name.",
    language="The template's language, such as en or pt_BR; else the only one, or English.",
    template_params="The values of {{1}}, {{2}} … of the template's body.",
    template_parameters="The values of a template with named parameters, a header, buttons, cards.",
    text="A text, up to 4096 characters.",
    preview_url="Whether the text's first link shows a card.",
    media="A file.",
    interactive="Something to press.",
    reaction="An emoji on a message.",
    location="A place.",
    contacts="One contact card or more.",
    reply_to="The UUID of the message that this one answers, of the same conversation; enough "
    "to name the person.",
    idempotency_key="1 to 128 characters. The same key and request have their effect once.",
    scheduled_at="When to send it, up to 30 days ahead (UTC without an offset); else now.",
    expires_at="When it is no longer worth sending (UTC without an offset): else 24 hours "
    "after it is due, 10 minutes for one-time passwords.",
    force="Leave the judgement of the template to Meta; needs sending:manage.",
)
