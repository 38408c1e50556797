"""GraphQL: read broadcasts, a page or one at a time."""

from __future__ import annotations

import graphene
from graphql import GraphQLResolveInfo

from lib import cursors
from lib.graphql import page_info, parse_id
from messaging.broadcasts import queries
from messaging.graphql.arguments import cursor_of, limit_of
from messaging.graphql.broadcast_types import Broadcast, BroadcastConnection, Shown
from messaging.models import Broadcast as BroadcastRow
from workspaces.access import Actor
from workspaces.scopes import Scope


class Query(graphene.ObjectType):
    """What can be read about broadcasts."""

    broadcast = graphene.Field(
        Broadcast,
        id=graphene.ID(required=True, description="The broadcast's UUID."),
        description="One broadcast of your tenant; null where there is none with this id.",
    )
    broadcasts = graphene.Field(
        BroadcastConnection,
        description="Broadcasts of your tenant, the newest first.",
        workspace_id=graphene.ID(description="Only those of this workspace."),
        first=graphene.Int(description="How many; 20 unless given."),
        after=graphene.String(description="Only what comes after this cursor."),
    )

    @staticmethod
    def resolve_broadcast(root: None, info: GraphQLResolveInfo, id: str) -> Shown | None:
        """Return one broadcast."""
        actor = _actor(info, Scope.BROADCASTS_READ)
        row = queries.find(tenant_id=actor.tenant_id, broadcast_id=parse_id(id, "id"))
        return None if row is None else Shown(row)

    @staticmethod
    def resolve_broadcasts(
        root: None, info: GraphQLResolveInfo, workspace_id: str | None = None,
        first: int | None = None, after: str | None = None,
    ) -> dict[str, object]:  # fmt: skip
        """Return one page."""
        actor, limit = _actor(info, Scope.BROADCASTS_READ), limit_of(first)
        found = queries.newest(
            tenant_id=actor.tenant_id,
            workspace_id=None if workspace_id is None else parse_id(workspace_id, "workspaceId"),
            after=cursor_of(after), limit=limit + 1,
        )  # fmt: skip
        page = cursors.Page.of(found, limit)
        return {
            "nodes": [Shown(row) for row in page.rows],
            "page_info": page_info(page, _cursor_of, is_first=after is None),
        }


def _cursor_of(row: BroadcastRow) -> str:
    return cursors.encode(cursors.Cursor(row.created_at, row.id))


def _actor(info: GraphQLResolveInfo, scope: Scope) -> Actor:
    actor: Actor = info.context.actor
    actor.require(scope)
    return actor
