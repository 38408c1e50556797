"""GraphQL: the caller's tenant and its workspaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import graphene
from django.db.models import QuerySet
from graphql import GraphQLResolveInfo

from lib.graphql import (
    ObjectType,
    PageInfo,
    cursor_of,
    described_enum,
    forward,
    limit_of,
    list_of,
    none_if_empty,
    page_info,
    parse_id,
)
from workspaces import members, models, provisioning
from workspaces.access import Actor, Scope
from workspaces.graphql.base import (
    MutationContext,
    ServiceMutation,
    caller,
    errors_field,
    reason_fields,
    success_field,
)
from workspaces.provisioning import UnableToCreateWorkspace

TRANSPORT_DESCRIPTIONS = {
    "CLOUD_API": "Meta's Cloud API, with a number that is registered there.",
    "LINKED_DEVICE": "A WhatsApp account that is linked as a device, outside WhatsApp's terms.",
}
Platform = described_enum(
    models.Platform,
    "A messaging platform.",
    {platform: platform.label for platform in models.Platform},
)
Transport = described_enum(models.Transport, "How a number is reached.", TRANSPORT_DESCRIPTIONS)


class TenantType(ObjectType, name="Tenant"):
    """A customer of the platform, isolated from every other."""

    id = graphene.ID(required=True, description="The tenant's UUID.")
    slug = graphene.String(required=True, description="Its short name in callback URLs.")
    name = graphene.String(required=True, description="Its name for people.")
    retention_days = graphene.Int(
        required=True, description="Days after which original callbacks (Raw) become unreadable."
    )


class WorkspaceType(ObjectType, name="Workspace"):
    """One business phone number of a tenant."""

    id = graphene.ID(required=True, description="The workspace's UUID.")
    name = graphene.String(required=True, description="Its name for people.")
    platform = graphene.Field(Platform, required=True, description="The messaging platform.")
    external_id = graphene.String(
        required=True,
        description="The platform's id of the number: Meta's phone number id, or for a linked "
        "device one that SIGMA made.",
    )
    waba_id = graphene.String(
        resolver=none_if_empty("waba_id"),
        description="Meta's id of the WhatsApp Business Account, where known.",
    )
    transport = graphene.Field(Transport, required=True, description="How the number is reached.")
    is_active = graphene.Boolean(required=True, description="Whether it may be used.")
    created_at = graphene.DateTime(required=True, description="When it was created.")


ROLES = {
    "VIEWER": "Reads.",
    "MANAGER": "Also changes, sends and reads Raw.",
}
Role = described_enum(models.Role, "What a member may do.", ROLES)


class MemberType(ObjectType, name="Member"):
    """A user who is a member of your tenant."""

    id = graphene.Int(required=True, description="The user's id, as in assigneeId and authorId.")
    display_name = graphene.String(
        required=True, description="The full name, or else the user name up to an @."
    )
    role = graphene.Field(Role, required=True, description="What they may do.")
    is_active = graphene.Boolean(required=True, description="Whether they may sign in.")


class MemberConnection(graphene.ObjectType):
    """One page of members."""

    nodes = list_of(MemberType, "The members, in the order in which they joined.")
    page_info = graphene.Field(PageInfo, required=True, description="Whether there is more.")


CODE_DESCRIPTIONS = {
    "TENANT_NOT_FOUND": "There is no such tenant, or you may not act for it.",
    "DUPLICATE": "A workspace, yours or another tenant's, has this phone number id already.",
    "INVALID_ID": "Meta's id is missing, is not 5 to 32 digits, or is given for a linked device.",
    "INVALID_NAME": "A name has 1 to 200 characters.",
    "UNSUPPORTED_PLATFORM": "This platform has no connector.",
    "UNSUPPORTED_TRANSPORT": "There is no such transport.",
}
WorkspaceErrorCode = described_enum(
    provisioning.WorkspaceErrorCode, "Why a workspace was not created.", CODE_DESCRIPTIONS
)


class WorkspaceQueries(graphene.ObjectType):
    """What can be read about the caller's tenant."""

    # Nullable: a refusal of one field leaves the others of the same document standing.
    tenant = graphene.Field(TenantType, description="The tenant you act for.")
    workspaces = list_of(WorkspaceType, "Your tenant's workspaces, by name.", required=False)
    workspace = graphene.Field(
        WorkspaceType,
        id=graphene.ID(required=True, description="The workspace's UUID."),
        description="One workspace of your tenant; null where there is none with this id.",
    )
    members = graphene.Field(
        MemberConnection,
        description="Who may be assigned conversations; needs messages:read.",
        **forward(),
    )

    @staticmethod
    def resolve_members(
        root: None, info: GraphQLResolveInfo, first: int | None = None, after: str | None = None
    ) -> dict[str, object]:
        """Return one page."""
        caller(info, Scope.MESSAGES_READ)
        page = members.read_members(limit=limit_of(first), after=cursor_of(after))
        info_of_page = page_info(page, members.cursor_of, is_first=after is None)
        return {"nodes": page.rows, "page_info": info_of_page}

    @staticmethod
    def resolve_tenant(root: None, info: GraphQLResolveInfo) -> models.Tenant:
        """Return the caller's tenant."""
        return models.Tenant.objects.get(pk=caller(info, Scope.WORKSPACES_READ).tenant_id)

    @staticmethod
    def resolve_workspaces(root: None, info: GraphQLResolveInfo) -> QuerySet[models.Workspace]:
        """Return the workspaces of the caller's tenant."""
        return _workspaces(info).order_by("name", "id")

    @staticmethod
    def resolve_workspace(root: None, info: GraphQLResolveInfo, id: str) -> models.Workspace | None:
        """Return one workspace of the caller's tenant."""
        return _workspaces(info).filter(pk=parse_id(id, "id")).first()


class CreateWorkspaceInput(graphene.InputObjectType):
    """The workspace to create."""

    tenant_id = graphene.ID(required=True, description="Your tenant's UUID.")
    name = graphene.String(required=True, description="A name for people, 1 to 200 characters.")
    platform = graphene.Field(Platform, required=True, description="The messaging platform.")
    transport = graphene.Field(
        Transport, description="How the number is reached; CLOUD_API where it is not given."
    )
    external_id = graphene.String(
        description="Meta's phone number id (digits; not the phone number). For a linked device "
        "it must be left out: SIGMA makes one."
    )
    waba_id = graphene.String(
        description="Meta's id of the WhatsApp Business Account; account-level events need it."
    )


class WorkspaceError(graphene.ObjectType):
    """A reason why the workspace was not created."""

    code, field, message = reason_fields(WorkspaceErrorCode)


class CreateWorkspace(ServiceMutation):
    """Whether the workspace was created, and if not, why."""

    class Arguments:
        input = CreateWorkspaceInput(required=True, description="The workspace to create.")

    success = success_field("Whether it was created.")
    workspace = graphene.Field(WorkspaceType, description="The new workspace, on success.")
    errors = errors_field(WorkspaceError)

    scope, refusal = Scope.WORKSPACES_WRITE, UnableToCreateWorkspace

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Create it."""
        workspace = provisioning.create_workspace(
            tenant_id=_own_tenant(context.actor, given["tenant_id"]),
            name=given["name"],
            platform=given["platform"].value,
            external_id=given.get("external_id") or "",
            waba_id=given.get("waba_id") or "",
            transport=getattr(given.get("transport"), "value", models.Transport.CLOUD_API),
        )
        return {"workspace": workspace}


class WorkspaceMutations(graphene.ObjectType):
    """What can be changed about the caller's tenant."""

    create_workspace = CreateWorkspace.Field(
        required=True, description="Create the workspace of one phone number."
    )


def _workspaces(info: GraphQLResolveInfo) -> QuerySet[models.Workspace]:
    tenant_id = caller(info, Scope.WORKSPACES_READ).tenant_id
    return models.Workspace.objects.filter(tenant_id=tenant_id)


def _own_tenant(actor: Actor, given: str) -> UUID:
    if given.lower() != str(actor.tenant_id):
        raise UnableToCreateWorkspace(
            provisioning.WorkspaceErrorCode.TENANT_NOT_FOUND,
            "tenantId",
            "There is no such tenant, or you may not act for it.",
        )
    return actor.tenant_id
