"""GraphQL: read the catalogue of templates, and try values out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict, Unpack
from uuid import UUID

import graphene
from django.db.models import Q, QuerySet
from graphql import GraphQLResolveInfo

from lib import clock
from lib.graphql import (
    JSON,
    BadInput,
    NotFound,
    ObjectType,
    described_enum,
    forward,
    limit_of,
    list_of,
    parse_id,
)
from templates_wa import catalogue
from templates_wa.button_values import needs_value
from templates_wa.catalogue import SENDABLE, UnableToFind, definition_of
from templates_wa.definitions import Button, Card
from templates_wa.graphql.parameters import TemplateParametersInput, parameters_of
from templates_wa.models import Template, TemplateSync
from templates_wa.problems import Problem, ProblemCode
from templates_wa.rendering import Preview, preview
from templates_wa.validation import problems
from workspaces.access import Scope
from workspaces.graphql.base import caller
from workspaces.models import Workspace

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


class Only(TypedDict, total=False):
    """Filters, as given."""

    status: str | None
    category: str | None
    name: str | None
    language: str | None


class PreviewMessageTemplateInput(graphene.InputObjectType):
    """A template and the values to try out."""

    workspace_id = graphene.ID(required=True, description="A workspace of the account.")
    name = graphene.String(required=True, description="The template's name.")
    language = graphene.String(description="Its language; needed where it has several.")
    parameters = graphene.Field(TemplateParametersInput, description="The values.")


class TemplateQueries(graphene.ObjectType):
    """What can be read about templates."""

    message_templates = graphene.Field(
        MessageTemplatePage,
        description="The templates of a workspace's account, by name and language.",
        workspace_id=graphene.ID(required=True, description="The workspace's UUID."),
        status=graphene.String(description="Only those of this status."),
        category=graphene.String(description="Only those of this category."),
        name=graphene.String(description="Only those of this name."),
        language=graphene.String(description="Only those of this language."),
        **forward(),
    )
    message_template = graphene.Field(
        MessageTemplate,
        id=graphene.ID(required=True, description="The template's UUID."),
        description="One template of your tenant; null where there is none with this id.",
    )
    preview_message_template = graphene.Field(
        PreviewMessageTemplate,
        input=PreviewMessageTemplateInput(required=True, description="The template and values."),
        description="What a recipient would see, and what would keep it from being sent.",
    )

    @staticmethod
    def resolve_message_templates(
        root: None,
        info: GraphQLResolveInfo,
        workspace_id: str,
        first: int | None = None,
        after: str | None = None,
        **only: Unpack[Only],
    ) -> TemplatePage:
        """Return one page."""
        if (limit := limit_of(first)) == 0:
            raise BadInput("first must be at least 1.")
        workspace = _workspace(caller(info, Scope.TEMPLATES_READ).tenant_id, workspace_id)
        account = {"tenant_id": workspace.tenant_id, "waba_id": workspace.waba_id}
        rows = Template.objects.filter(**account)
        wanted = {name: value for name, value in only.items() if value is not None}
        page = _after(rows, after).filter(Q(**wanted), deleted_at=None)
        found = list(page.order_by("name", "language")[: limit + 1])
        state = TemplateSync.objects.filter(**account).first()
        return TemplatePage(found[:limit], len(found) > limit, state)

    @staticmethod
    def resolve_message_template(root: None, info: GraphQLResolveInfo, id: str) -> Template | None:
        """Return one template."""
        rows = Template.objects.filter(
            tenant_id=caller(info, Scope.TEMPLATES_READ).tenant_id, deleted_at=None
        )
        return rows.filter(pk=parse_id(id, "id")).first()

    @staticmethod
    def resolve_preview_message_template(
        root: None, info: GraphQLResolveInfo, input: Any
    ) -> Previewed:
        """Fill the template, whatever is wrong with the values."""
        workspace = _workspace(caller(info, Scope.TEMPLATES_READ).tenant_id, input.workspace_id)
        parameters = parameters_of(input.get("parameters"))
        try:
            template = catalogue.find(
                tenant_id=workspace.tenant_id,
                waba_id=workspace.waba_id,
                name=input.name,
                language=input.get("language"),
            )
        except UnableToFind as refused:
            return Previewed(reason=refused.message)
        definition = catalogue.definition_of(template)
        found = problems(definition, parameters, clock.now())
        return Previewed(template, preview(definition, parameters), found)


def _workspace(tenant_id: UUID, workspace_id: str) -> Workspace:
    wanted = parse_id(workspace_id, "workspaceId")
    found = Workspace.objects.filter(tenant_id=tenant_id, pk=wanted).first()
    if found is None:
        raise NotFound("Your tenant has no workspace with this id.")
    return found


def _after(rows: QuerySet[Template], cursor: str | None) -> QuerySet[Template]:
    """Return what comes after the template of a cursor, which may be deleted by now."""
    if cursor is None:
        return rows
    last = rows.filter(pk=parse_id(cursor, "after")).first()
    if last is None:
        raise BadInput("after must be an endCursor of these templates.")
    return rows.filter(Q(name__gt=last.name) | Q(name=last.name, language__gt=last.language))
