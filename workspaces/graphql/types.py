"""GraphQL: tenants and workspaces as callers see them."""

from __future__ import annotations

import graphene

from lib.graphql import ObjectType, described_enum, none_if_empty
from workspaces import models

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
