"""GraphQL: templates, pages of them, and previews, as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import graphene
from graphql import GraphQLResolveInfo

from lib.graphql import JSON, ObjectType, described_enum, list_of
from templates_wa.button_values import needs_value
from templates_wa.catalogue import SENDABLE, definition_of
from templates_wa.definitions import Button, Card
from templates_wa.models import Template, TemplateSync
from templates_wa.problems import Problem, ProblemCode
from templates_wa.rendering import Preview

PROBLEM_DESCRIPTIONS = {
    ProblemCode.WRONG_COUNT: "Too many or too few; the message says how many.",
    ProblemCode.MISSING: "Something is expected and was not given.",
    ProblemCode.UNEXPECTED: "Something was given that the template does not take.",
    ProblemCode.WRONG_FORMAT: "Another kind of value is expected.",
    ProblemCode.EMPTY: "A text is empty.",
    ProblemCode.TOO_LONG: "A text is longer than WhatsApp allows.",
    ProblemCode.FORBIDDEN_CHARACTERS: "Line breaks, tabs, five spaces, or others not allowed here.",
    ProblemCode.OUT_OF_RANGE: "A number is outside its range.",
    ProblemCode.MISMATCH: "Two values have to agree and do not.",
    ProblemCode.EXPIRED: "A time is past.",
}
TemplateProblemCode = described_enum(
    ProblemCode, "What is wrong with a value.", PROBLEM_DESCRIPTIONS, name="TemplateProblemCode"
)


class TemplateButtonType(ObjectType, name="TemplateButton"):
    """A button of a template."""

    index = graphene.Int(required=True, description="Its place among all buttons, from 0.")
    kind = graphene.String(required=True, description="Meta's type; OTP: a one-time password's.")
    text = graphene.String(required=True, description="What is written on it.")
    needs_value = graphene.Boolean(
        required=True, description="Whether a send without a value for it is refused."
    )

    @staticmethod
    def resolve_needs_value(root: Button, info: GraphQLResolveInfo) -> bool:
        """Return whether it has to be given."""
        return needs_value(root)


class TemplateCard(graphene.ObjectType):
    """What a template, or a card of its carousel, has places for."""

    header_format = graphene.String(description="TEXT, IMAGE, VIDEO …; null: there is no header.")
    header_variables = list_of(graphene.String, "The header's variables.")
    variables = list_of(
        graphene.String, "The body's variables, in the order in which values are given."
    )
    buttons = list_of(TemplateButtonType, "Its buttons.")

    @staticmethod
    def resolve_header_format(root: Card, info: GraphQLResolveInfo) -> str | None:
        """Return Meta's word."""
        return root.header.format if root.header else None

    @staticmethod
    def resolve_header_variables(root: Card, info: GraphQLResolveInfo) -> Sequence[str]:
        """Return what a text header has."""
        return root.header.text.variables if root.header and root.header.text else ()

    @staticmethod
    def resolve_variables(root: Card, info: GraphQLResolveInfo) -> Sequence[str]:
        """Return what the body has."""
        return root.body.variables if root.body else ()


class MessageTemplate(graphene.ObjectType):
    """A message template in one language. Status, category and quality are Meta's words."""

    id = graphene.ID(required=True, description="The template's UUID.")
    waba_id = graphene.String(required=True, description="Meta's id of its account (WABA).")
    platform_template_id = graphene.String(required=True, description="Meta's id of it.")
    name = graphene.String(required=True, description="Its name.")
    language = graphene.String(required=True, description="Its language, such as en_US.")
    status = graphene.String(required=True, description="APPROVED, PENDING, REJECTED, PAUSED …")
    is_sendable = graphene.Boolean(required=True, description="Whether it can be sent now.")
    category = graphene.String(required=True, description="MARKETING, UTILITY or AUTHENTICATION.")
    sub_category = graphene.String(required=True, description="Meta's finer word; may be empty.")
    previous_category = graphene.String(
        required=True, description="Its category before Meta changed it; empty: never."
    )
    quality = graphene.String(required=True, description="GREEN, YELLOW, RED or UNKNOWN, or empty.")
    rejected_reason = graphene.String(required=True, description="Why Meta rejected it.")
    parameter_format = graphene.String(required=True, description="POSITIONAL or NAMED.")
    components = graphene.Field(JSON, required=True, description="Its components, as Meta's JSON.")
    parameters = graphene.Field(
        TemplateCard, required=True, description="What values a send of it takes."
    )
    cards = list_of(
        TemplateCard, "What values each card of its carousel takes; none: it has no carousel."
    )
    takes_offer_expiration = graphene.Boolean(
        required=True, description="Whether a send says when a limited-time offer ends."
    )
    ttl_seconds = graphene.Int(description="For how long WhatsApp tries to deliver it.")
    synced_at = graphene.DateTime(required=True, description="When it was last read from Meta.")
    stale_at = graphene.DateTime(
        description="When Meta refused a send of it that was thought to be in order."
    )

    @staticmethod
    def resolve_is_sendable(root: Template, info: GraphQLResolveInfo) -> bool:
        """Return whether Meta approved it."""
        return root.status == SENDABLE

    @staticmethod
    def resolve_parameters(root: Template, info: GraphQLResolveInfo) -> Card:
        """Return the template's own places."""
        return definition_of(root).card

    @staticmethod
    def resolve_cards(root: Template, info: GraphQLResolveInfo) -> Sequence[Card]:
        """Return the carousel's places."""
        return definition_of(root).cards

    @staticmethod
    def resolve_takes_offer_expiration(root: Template, info: GraphQLResolveInfo) -> bool:
        """Return whether there is a clock in it."""
        offer = definition_of(root).offer
        return offer is not None and offer.has_expiration


class TemplateSyncState(graphene.ObjectType):
    """When an account's templates were read from Meta."""

    synced_at = graphene.DateTime(description="The last time that succeeded.")
    failed_at = graphene.DateTime(description="The last time that failed.")
    error = graphene.String(
        required=True, description="Why the last attempt failed; empty: it succeeded."
    )
    due_at = graphene.DateTime(description="When the next one is due.")


class TemplatePage(NamedTuple):
    """Some templates of an account."""

    nodes: Sequence[Template]
    has_next_page: bool
    sync: TemplateSync | None


class MessageTemplatePage(graphene.ObjectType):
    """Some templates of a workspace's account, by name and language."""

    nodes = list_of(MessageTemplate, "The templates.")
    has_next_page = graphene.Boolean(required=True, description="Whether there are more.")
    end_cursor = graphene.String(description="What to give as after for the next page.")
    sync = graphene.Field(
        TemplateSyncState, description="When they were read; null: they never were."
    )

    @staticmethod
    def resolve_end_cursor(root: TemplatePage, info: GraphQLResolveInfo) -> str | None:
        """Return the last template's id."""
        return str(root.nodes[-1].pk) if root.nodes else None


class TemplateProblem(graphene.ObjectType):
    """One reason why a send with these values would be refused."""

    code = graphene.Field(TemplateProblemCode, required=True, description="What, for programs.")
    component = graphene.String(
        required=True, description="The part of the template: body, header, button[0], card[1] …"
    )
    field = graphene.String(required=True, description="The place in the values.")
    message = graphene.String(required=True, description="What, for people.")


class PreviewButtonType(ObjectType, name="PreviewButton"):
    """A button as the recipient sees it."""

    kind = graphene.String(required=True, description="Meta's type of it.")
    text = graphene.String(required=True, description="What is written on it.")
    target = graphene.String(
        required=True, description="Its URL, phone number or code; empty: none."
    )


class TemplatePreview(graphene.ObjectType):
    """What the recipient sees; a place without a value stays as it is, such as {{1}}."""

    header = graphene.String(required=True, description="The text, or [image], [video] …")
    body = graphene.String(required=True, description="The body.")
    footer = graphene.String(required=True, description="The footer.")
    buttons = list_of(PreviewButtonType, "The buttons.")
    cards = list_of(lambda: TemplatePreview, "The cards.")


class Previewed(NamedTuple):
    """A preview with its template, or why there is none."""

    template: Template | None = None
    preview: Preview | None = None
    problems: Sequence[Problem] = ()
    reason: str | None = None


class PreviewMessageTemplate(graphene.ObjectType):
    """A template filled with values, and everything that keeps it from being sent."""

    template = graphene.Field(MessageTemplate, description="The template; null: see reason.")
    preview = graphene.Field(TemplatePreview, description="What the recipient sees.")
    problems = list_of(TemplateProblem, "What is wrong with values.")
    reason = graphene.String(
        description="Why it cannot be sent whatever the values: unknown, not approved …"
    )
