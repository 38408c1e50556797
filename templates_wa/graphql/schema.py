"""GraphQL: read the catalogue of templates, try values out, and change templates."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack
from uuid import UUID

import graphene
from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from graphql import GraphQLResolveInfo

from lib.graphql import BadInput, NotFound, forward, parse_id
from templates_wa import catalogue
from templates_wa.catalogue import UnableToFind
from templates_wa.graphql import mutations
from templates_wa.graphql.parameters import TemplateParametersInput, parameters_of
from templates_wa.graphql.types import (
    MessageTemplate,
    MessageTemplatePage,
    Previewed,
    PreviewMessageTemplate,
    TemplatePage,
)
from templates_wa.models import Template, TemplateSync
from templates_wa.rendering import preview
from templates_wa.validation import problems
from workspaces.access import Scope
from workspaces.graphql.base import caller
from workspaces.models import Workspace

# sigma/graphql/documents.py counts a page without first as this many.
DEFAULT_PAGE = 20


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
        first: int = DEFAULT_PAGE,
        after: str | None = None,
        **only: Unpack[Only],
    ) -> TemplatePage:
        """Return one page."""
        most = settings.SIGMA_GRAPHQL_MAX_PAGE
        if not 1 <= first <= most:
            raise BadInput(f"first must be between 1 and {most}.")
        workspace = _workspace(caller(info, Scope.TEMPLATES_READ).tenant_id, workspace_id)
        account = {"tenant_id": workspace.tenant_id, "waba_id": workspace.waba_id}
        rows = Template.objects.filter(**account)
        wanted = {name: value for name, value in only.items() if value is not None}
        page = _after(rows, after).filter(Q(**wanted), deleted_at=None)
        found = list(page.order_by("name", "language")[: first + 1])
        state = TemplateSync.objects.filter(**account).first()
        return TemplatePage(found[:first], len(found) > first, state)

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
        found = problems(definition, parameters, timezone.now())
        return Previewed(template, preview(definition, parameters), found)


class TemplateMutations(graphene.ObjectType):
    """What can be changed about templates. Each asks Meta, and stands alone in its document."""

    create_message_template = mutations.CreateMessageTemplate.Field(
        required=True, description="Submit a template to Meta for review."
    )
    edit_message_template = mutations.EditMessageTemplate.Field(
        required=True, description="Replace a template's components; Meta reviews it again."
    )
    delete_message_template = mutations.DeleteMessageTemplate.Field(
        required=True, description="Delete a template at Meta."
    )
    sync_message_templates = mutations.SyncMessageTemplates.Field(
        required=True, description="Read the templates of a workspace's account from Meta now."
    )


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
