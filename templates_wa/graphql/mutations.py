"""GraphQL: create, edit, delete and sync templates. Each asks Meta, outside any transaction."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import graphene
from django.utils import timezone
from graphql import GraphQLResolveInfo

from lib.graphql import JSON, BadInput, parse_id
from templates_wa import management
from templates_wa.graphql.types import MessageTemplate
from templates_wa.management import TemplateErrorCode, UnableToManage
from templates_wa.sync import sync
from workspaces.channel_errors import ChannelError
from workspaces.channel_facts import TemplateDraft
from workspaces.scopes import Scope

CODE_DESCRIPTIONS = {
    TemplateErrorCode.WORKSPACE_NOT_FOUND: "Your tenant has no workspace with this id.",
    TemplateErrorCode.TEMPLATE_NOT_FOUND: "Your tenant has no template with this id.",
    TemplateErrorCode.INVALID_TEMPLATE: "Meta would refuse it; field names the place.",
    TemplateErrorCode.DUPLICATE: "There is a template of this name and language.",
    TemplateErrorCode.NOT_EDITABLE: "Only approved, rejected and paused ones can be edited.",
    TemplateErrorCode.NOT_DELETABLE: "Meta does not delete a disabled template.",
    TemplateErrorCode.NOT_CONFIGURED: "An access token, or the WABA ID, is missing.",
    TemplateErrorCode.PLATFORM_REJECTED: "Meta refused; platformCode and details say why.",
    TemplateErrorCode.PLATFORM_THROTTLED: "Meta asks to wait; nothing was done.",
    TemplateErrorCode.PLATFORM_UNAVAILABLE: "Meta could not be reached; nothing was done.",
    TemplateErrorCode.OUTCOME_UNKNOWN: "No answer came: it may be done. A sync will find out.",
}


def _describe(value: TemplateErrorCode | None) -> str:
    return "Why nothing was done." if value is None else CODE_DESCRIPTIONS[value]


TemplateErrorCodes = graphene.Enum.from_enum(
    TemplateErrorCode, name="TemplateErrorCode", description=_describe
)


class TemplateError(graphene.ObjectType):
    """A reason why something was not done."""

    code = graphene.Field(
        TemplateErrorCodes, required=True, description="The reason, for programs."
    )
    field = graphene.String(description="The input field at fault, such as components[0].")
    message = graphene.String(required=True, description="The reason, for people.")
    platform_code = graphene.Int(description="Meta's error code, where Meta refused.")
    details = graphene.String(required=True, description="What Meta added; may be empty.")
    trace_id = graphene.String(required=True, description="What Meta's support asks for.")


def _errors() -> graphene.List:
    return graphene.List(
        graphene.NonNull(TemplateError), required=True, description="Why not, otherwise."
    )


class CreateMessageTemplateInput(graphene.InputObjectType):
    """The template to submit for review."""

    workspace_id = graphene.ID(required=True, description="A workspace of the account.")
    name = graphene.String(required=True, description="1 to 512 of a-z, 0-9 and _.")
    language = graphene.String(required=True, description="Such as en or en_US.")
    category = graphene.String(required=True, description="MARKETING, UTILITY or AUTHENTICATION.")
    components = graphene.List(
        graphene.NonNull(JSON), required=True, description="Its components, as Meta's JSON."
    )
    parameter_format = graphene.String(
        default_value="POSITIONAL", description="POSITIONAL ({{1}}) or NAMED ({{first_name}})."
    )
    ttl_seconds = graphene.Int(description="For how long WhatsApp shall try to deliver it.")


class EditMessageTemplateInput(graphene.InputObjectType):
    """What a template shall become; Meta reviews it again."""

    id = graphene.ID(required=True, description="The template's UUID.")
    components = graphene.List(
        graphene.NonNull(JSON), required=True, description="All of its components, as Meta's JSON."
    )
    ttl_seconds = graphene.Int(description="For how long WhatsApp shall try to deliver it.")


class DeleteMessageTemplateInput(graphene.InputObjectType):
    """The template to delete."""

    id = graphene.ID(required=True, description="The template's UUID.")
    all_languages = graphene.Boolean(
        default_value=False, description="Delete all languages of its name, not only its own."
    )


class SyncMessageTemplatesInput(graphene.InputObjectType):
    """The account to read."""

    workspace_id = graphene.ID(required=True, description="A workspace of the account.")
    name = graphene.String(description="Read the templates of this name alone.")


class CreateMessageTemplate(graphene.Mutation):
    """Whether the template was submitted, and if not, why."""

    class Meta:
        name = "CreateMessageTemplatePayload"

    class Arguments:
        input = CreateMessageTemplateInput(required=True, description="The template.")

    success = graphene.Boolean(required=True, description="Whether it was submitted.")
    template = graphene.Field(MessageTemplate, description="The new template, on success.")
    errors = _errors()

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: Any) -> CreateMessageTemplate:
        """Submit it."""
        tenant_id, workspace_id = _writer(info), parse_id(input.workspace_id, "workspaceId")
        draft = TemplateDraft(
            input.name, input.language, input.category.upper(), _components(input.components),
            (input.get("parameter_format") or "POSITIONAL").upper(), input.get("ttl_seconds"),
        )  # fmt: skip
        try:
            with info.context.outside():
                made = management.create(
                    tenant_id=tenant_id, workspace_id=workspace_id, draft=draft, now=timezone.now()
                )
        except UnableToManage as refused:
            return CreateMessageTemplate(success=False, errors=refused.refusals)
        return CreateMessageTemplate(success=True, template=made, errors=[])


class EditMessageTemplate(graphene.Mutation):
    """Whether the template was submitted again, and if not, why."""

    class Meta:
        name = "EditMessageTemplatePayload"

    class Arguments:
        input = EditMessageTemplateInput(required=True, description="What it shall become.")

    success = graphene.Boolean(required=True, description="Whether it was submitted.")
    template = graphene.Field(MessageTemplate, description="The template, on success.")
    errors = _errors()

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: Any) -> EditMessageTemplate:
        """Submit what it shall become."""
        tenant_id, template_id = _writer(info), parse_id(input.id, "id")
        components = _components(input.components)
        try:
            with info.context.outside():
                edited = management.edit(
                    tenant_id=tenant_id, template_id=template_id, components=components,
                    ttl_seconds=input.get("ttl_seconds"), now=timezone.now(),
                )  # fmt: skip
        except UnableToManage as refused:
            return EditMessageTemplate(success=False, errors=refused.refusals)
        return EditMessageTemplate(success=True, template=edited, errors=[])


class DeleteMessageTemplate(graphene.Mutation):
    """Whether the template was deleted, and if not, why."""

    class Meta:
        name = "DeleteMessageTemplatePayload"

    class Arguments:
        input = DeleteMessageTemplateInput(required=True, description="The template.")

    success = graphene.Boolean(required=True, description="Whether it was deleted.")
    deleted = graphene.Int(required=True, description="How many languages of it are gone.")
    errors = _errors()

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: Any) -> DeleteMessageTemplate:
        """Delete it."""
        tenant_id, template_id = _writer(info), parse_id(input.id, "id")
        try:
            with info.context.outside():
                gone = management.delete(
                    tenant_id=tenant_id, template_id=template_id,
                    all_languages=bool(input.get("all_languages")), now=timezone.now(),
                )  # fmt: skip
        except UnableToManage as refused:
            return DeleteMessageTemplate(success=False, deleted=0, errors=refused.refusals)
        return DeleteMessageTemplate(success=True, deleted=gone, errors=[])


class SyncMessageTemplates(graphene.Mutation):
    """How many templates a sync added, changed, removed and found as they were."""

    class Meta:
        name = "SyncMessageTemplatesPayload"

    class Arguments:
        input = SyncMessageTemplatesInput(required=True, description="The account.")

    success = graphene.Boolean(required=True, description="Whether all of it was read.")
    added = graphene.Int(required=True, description="Templates that are new.")
    changed = graphene.Int(required=True, description="Templates that changed.")
    removed = graphene.Int(required=True, description="Templates that Meta does not have any more.")
    unchanged = graphene.Int(required=True, description="Templates that are as they were.")
    errors = _errors()

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: Any) -> SyncMessageTemplates:
        """Read the account; a page that fails changes nothing."""
        tenant_id, workspace_id = _writer(info), parse_id(input.workspace_id, "workspaceId")
        refusals: tuple[management.Refusal, ...]
        try:
            with info.context.outside():
                workspace = management.workspace_of(tenant_id=tenant_id, workspace_id=workspace_id)
                report = sync(workspace, now=timezone.now(), name=input.get("name") or None)
        except UnableToManage as refused:
            refusals = refused.refusals
        except ChannelError as error:
            refusals = (management.refusal_of(error),)
        else:
            counts = {name: getattr(report, name) for name in report.__slots__}
            return SyncMessageTemplates(success=True, errors=[], **counts)
        return SyncMessageTemplates(False, 0, 0, 0, 0, refusals)


def _writer(info: GraphQLResolveInfo) -> UUID:
    info.context.actor.require(Scope.TEMPLATES_WRITE)
    tenant_id: UUID = info.context.actor.tenant_id
    return tenant_id


def _components(given: list[object]) -> tuple[dict[str, Any], ...]:
    """Return the components as they are.

    Raises:
        BadInput: one is not an object.
    """
    if not all(isinstance(component, dict) for component in given):
        raise BadInput("components must be a list of objects.")
    return tuple(component for component in given if isinstance(component, dict))
