"""The GraphQL schema: the apps' queries and mutations, composed."""

from __future__ import annotations

import graphene

from connectors import schema as connectors
from messaging import schema as messaging
from templates_wa import schema as templates
from workspaces import schema as workspaces


class Query(messaging.Query, templates.Query, workspaces.Query, connectors.Query):
    """What you may read; everything belongs to the tenant you act for."""


class Mutation(messaging.Mutation, templates.Mutation, workspaces.Mutation, connectors.Mutation):
    """What you may change. Refusals are data (``errors`` of the payload)."""


schema = graphene.Schema(query=Query, mutation=Mutation)
