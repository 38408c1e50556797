"""GraphQL: one person, by id or by phone number."""

from __future__ import annotations

import graphene
from graphql import GraphQLResolveInfo

from lib.graphql import BadInput, parse_id
from lib.numbering import NotInternational
from messaging import lookups
from messaging.graphql.messages import Acquaintance, ContactType
from messaging.graphql.optouts import OneOfThem
from messaging.queries import ContactRow
from workspaces.access import Actor, Scope


class ContactQueries(graphene.ObjectType):
    """What can be read about people."""

    contact = graphene.Field(
        ContactType,
        description="A person of your tenant, named in one way; null where there is none.",
        id=graphene.ID(description="The contact's UUID; needs messages:read."),
        phone=graphene.String(
            description="The phone number (E.164), which is digested and not kept; needs "
            "contacts:lookup, and is counted: RATE_LIMITED says after how many seconds to ask "
            "again."
        ),
    )

    @staticmethod
    def resolve_contact(
        root: None, info: GraphQLResolveInfo, id: str | None = None, phone: str | None = None
    ) -> Acquaintance | None:
        """Return who it is."""
        actor: Actor = info.context.actor
        contact = _find(actor, id, phone)
        return contact and Acquaintance(contact, OneOfThem(actor.tenant_id, contact.id))


def _find(actor: Actor, contact_id: str | None, phone: str | None) -> ContactRow | None:
    if (contact_id is None) == (phone is None):
        raise BadInput("Name the person in one way: id or phone.")
    if contact_id is not None:
        tenant_id = actor.require(Scope.MESSAGES_READ).tenant_id
        return lookups.by_id(tenant_id=tenant_id, contact_id=parse_id(contact_id, "id"))
    try:
        return lookups.by_phone(actor, phone or "")
    except NotInternational as error:
        raise BadInput(f"phone: {error}") from None
