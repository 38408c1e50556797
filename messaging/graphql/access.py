"""Who may read messages, and of which workspace."""

from __future__ import annotations

from uuid import UUID

from graphql import GraphQLResolveInfo

from lib.graphql import NotFound
from workspaces.access import Actor
from workspaces.models import Workspace
from workspaces.scopes import Scope


def reader(info: GraphQLResolveInfo) -> Actor:
    """Return the caller, who may read messages.

    Raises:
        NotAllowed: they may not.
    """
    actor: Actor = info.context.actor
    actor.require(Scope.MESSAGES_READ)
    return actor


def check_workspace(actor: Actor, workspace_id: UUID) -> None:
    """Insist on a workspace of the caller's tenant.

    Raises:
        NotFound: there is none with this id.
    """
    if not Workspace.objects.filter(tenant_id=actor.tenant_id, pk=workspace_id).exists():
        raise NotFound("Your tenant has no workspace with this id.")
