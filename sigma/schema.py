"""The GraphQL schema: the apps' queries and mutations, composed."""

from __future__ import annotations

import graphene

from connectors.events.graphql import schema as events
from connectors.linked_device.graphql import schema as linked_device
from connectors.whatsapp.graphql import schema as callbacks
from messaging.graphql import schema as messaging
from templates_wa.graphql import schema as templates
from workspaces.graphql import schema as workspaces


class Query(
    messaging.Query,
    templates.Query,
    workspaces.Query,
    callbacks.Query,
    events.Query,
    linked_device.Query,
):
    """What you may read; everything belongs to the tenant you act for."""


class Mutation(
    messaging.Mutation,
    templates.Mutation,
    workspaces.Mutation,
    events.Mutation,
    linked_device.Mutation,
):
    """What you may change. Refusals are data (``errors`` of the payload)."""


schema = graphene.Schema(query=Query, mutation=Mutation)
