"""GraphQL: create, edit, delete and sync templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import graphene

from lib import clock
from lib.graphql import JSON, BadInput, described_enum, list_of, parse_id
from templates_wa import management
from templates_wa.graphql.schema import MessageTemplate
from templates_wa.management import TemplateErrorCode, TemplateRefusal, UnableToManage
from templates_wa.storing import SyncReport
from templates_wa.sync import sync
from workspaces.access import Scope
from workspaces.channel_errors import ChannelError
from workspaces.channel_facts import TemplateDraft
from workspaces.graphql.base import (
    MutationContext,
    ServiceMutation,
    errors_field,
    reason_fields,
    success_field,
)

CODE_DESCRIPTIONS = {
    TemplateErrorCode.WORKSPACE_NOT_FOUND: "Your tenant has no workspace with this id.",
    TemplateErrorCode.TEMPLATE_NOT_FOUND: "Your tenant has no template with this id.",
    TemplateErrorCode.INVALID_TEMPLATE: "Meta would refuse it; field names the place.",
    TemplateErrorCode.MEDIA_NOT_FOUND: "Your tenant has no file with this id: upload it (again).",
    TemplateErrorCode.MEDIA_KIND: "The file's type or size is none for such a header.",
    TemplateErrorCode.DUPLICATE: "There is a template of this name and language.",
    TemplateErrorCode.NOT_EDITABLE: "Only approved, rejected and paused ones can be edited.",
    TemplateErrorCode.NOT_DELETABLE: "Meta does not delete a disabled template.",
    TemplateErrorCode.NOT_CONFIGURED: "An access token, or the WABA ID, is missing.",
    TemplateErrorCode.PLATFORM_REJECTED: "Meta refused; platformCode and details say why.",
    TemplateErrorCode.PLATFORM_THROTTLED: "Meta asks to wait; nothing was done.",
    TemplateErrorCode.PLATFORM_UNAVAILABLE: "Meta could not be reached; nothing was done.",
    TemplateErrorCode.OUTCOME_UNKNOWN: "No answer came: it may be done. A sync will find out.",
}


TemplateErrorCodes = described_enum(TemplateErrorCode, "Why nothing was done.", CODE_DESCRIPTIONS)


class TemplateError(graphene.ObjectType):
    """A reason why something was not done."""

    code, field, message = reason_fields(
        TemplateErrorCodes, field="The input field at fault, such as components[0]."
    )
    platform_code = graphene.Int(description="Meta's error code, where Meta refused.")
    details = graphene.String(required=True, description="What Meta added; may be empty.")
    trace_id = graphene.String(required=True, description="What Meta's support asks for.")


class CreateMessageTemplateInput(graphene.InputObjectType):
    """The template to submit for review."""

    workspace_id = graphene.ID(required=True, description="A workspace of the account.")
    name = graphene.String(required=True, description="1 to 512 of a-z, 0-9 and _.")
    language = graphene.String(required=True, description="Such as en or en_US.")
    category = graphene.String(required=True, description="MARKETING, UTILITY or AUTHENTICATION.")
    components = list_of(
        JSON,
        "Its components, as Meta's JSON; a header of a file has `media: {id}`, the `media_id` that "
        "POST /api/v1/media answered, in place of `example`.",
    )
    parameter_format = graphene.String(
        default_value="POSITIONAL", description="POSITIONAL ({{1}}) or NAMED ({{first_name}})."
    )
    ttl_seconds = graphene.Int(description="For how long WhatsApp shall try to deliver it.")


class EditMessageTemplateInput(graphene.InputObjectType):
    """What a template shall become; Meta reviews it again."""

    id = graphene.ID(required=True, description="The template's UUID.")
    components = list_of(
        JSON,
        "All of its components, as Meta's JSON; a header of a file has `media: {id}` in place of "
        "`example`, each time: Meta's answers name no file that it takes again.",
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


class _TemplateMutation(ServiceMutation, abstract=True):
    """Asks Meta for something, outside any transaction."""

    scope, refusal = Scope.TEMPLATES_WRITE, UnableToManage

    @classmethod
    def errors_of(cls, refusal: UnableToManage) -> list[TemplateRefusal]:
        """Return the reasons as they are: their fields are those of the schema."""
        return list(refusal.refusals)


class CreateMessageTemplate(_TemplateMutation):
    """Whether the template was submitted, and if not, why."""

    class Arguments:
        input = CreateMessageTemplateInput(required=True, description="The template.")

    success = success_field("Whether it was submitted.")
    template = graphene.Field(MessageTemplate, description="The new template, on success.")
    errors = errors_field(TemplateError)

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Submit it."""
        workspace_id = parse_id(given["workspace_id"], "workspaceId")
        draft = TemplateDraft(
            given["name"],
            given["language"],
            given["category"].upper(),
            _components(given["components"]),
            (given.get("parameter_format") or "POSITIONAL").upper(),
            given.get("ttl_seconds"),
        )
        tenant_id, now = context.actor.tenant_id, clock.now()
        with context.outside():
            template = management.create(
                tenant_id=tenant_id, workspace_id=workspace_id, draft=draft, now=now
            )
        return {"template": template}


class EditMessageTemplate(_TemplateMutation):
    """Whether the template was submitted again, and if not, why."""

    class Arguments:
        input = EditMessageTemplateInput(required=True, description="What it shall become.")

    success = success_field("Whether it was submitted.")
    template = graphene.Field(MessageTemplate, description="The template, on success.")
    errors = errors_field(TemplateError)

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Submit what it shall become."""
        template_id, components = parse_id(given["id"], "id"), _components(given["components"])
        with context.outside():
            template = management.edit(
                tenant_id=context.actor.tenant_id,
                template_id=template_id,
                components=components,
                ttl_seconds=given.get("ttl_seconds"),
                now=clock.now(),
            )
        return {"template": template}


class DeleteMessageTemplate(_TemplateMutation):
    """Whether the template was deleted, and if not, why."""

    class Arguments:
        input = DeleteMessageTemplateInput(required=True, description="The template.")

    success = success_field("Whether it was deleted.")
    deleted = graphene.Int(required=True, description="How many languages of it are gone.")
    errors = errors_field(TemplateError)

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Delete it."""
        template_id = parse_id(given["id"], "id")
        with context.outside():
            deleted = management.delete(
                tenant_id=context.actor.tenant_id,
                template_id=template_id,
                all_languages=bool(given.get("all_languages")),
                now=clock.now(),
            )
        return {"deleted": deleted}

    @classmethod
    def refused(cls, refusal: UnableToManage) -> dict[str, object]:
        """Nothing is gone."""
        return {"deleted": 0}


class SyncMessageTemplates(_TemplateMutation):
    """How many templates a sync added, changed, removed and found as they were."""

    class Arguments:
        input = SyncMessageTemplatesInput(required=True, description="The account.")

    success = success_field("Whether all of it was read.")
    added = graphene.Int(required=True, description="Templates that are new.")
    changed = graphene.Int(required=True, description="Templates that changed.")
    removed = graphene.Int(required=True, description="Templates that Meta does not have any more.")
    unchanged = graphene.Int(required=True, description="Templates that are as they were.")
    errors = errors_field(TemplateError)

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Read the account; a page that fails changes nothing."""
        tenant_id = context.actor.tenant_id
        workspace_id = parse_id(given["workspace_id"], "workspaceId")
        try:
            with context.outside():
                workspace = management.workspace_of(tenant_id=tenant_id, workspace_id=workspace_id)
                report = sync(workspace, now=clock.now(), name=given.get("name") or None)
        except ChannelError as error:
            raise UnableToManage(management.refusal_of(error)) from None
        return _counts(report)

    @classmethod
    def refused(cls, refusal: UnableToManage) -> dict[str, object]:
        """Nothing was changed."""
        return _counts(SyncReport())


class TemplateMutations(graphene.ObjectType):
    """What can be changed about templates. Each asks Meta, and stands alone in its document."""

    create_message_template = CreateMessageTemplate.Field(
        required=True, description="Submit a template to Meta for review."
    )
    edit_message_template = EditMessageTemplate.Field(
        required=True, description="Replace a template's components; Meta reviews it again."
    )
    delete_message_template = DeleteMessageTemplate.Field(
        required=True, description="Delete a template at Meta."
    )
    sync_message_templates = SyncMessageTemplates.Field(
        required=True, description="Read the templates of a workspace's account from Meta now."
    )


def _counts(report: SyncReport) -> dict[str, object]:
    return {name: getattr(report, name) for name in report.__slots__}


def _components(given: list[object]) -> tuple[dict[str, Any], ...]:
    """Return the components as they are.

    Raises:
        BadInput: one is not an object.
    """
    if not all(isinstance(component, dict) for component in given):
        raise BadInput("components must be a list of objects.")
    return tuple(component for component in given if isinstance(component, dict))
