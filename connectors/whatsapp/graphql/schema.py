"""GraphQL: the ledger of what was accepted and where it ended."""

from __future__ import annotations

import graphene
from graphql import GraphQLResolveInfo

from connectors.whatsapp import ledger
from connectors.whatsapp.ledger import Balance
from lib.graphql import list_of
from workspaces.access import Scope
from workspaces.graphql.base import caller


class UnhandledKind(graphene.ObjectType):
    """A kind of update that is kept in Raw but not modelled."""

    field = graphene.String(
        required=True, description="The callback's field, such as account_update."
    )
    kind = graphene.String(required=True, description="What within that field.")
    count = graphene.BigInt(required=True, description="How often it came.")


class Ledger(graphene.ObjectType):
    """Where every accepted update ended: processed, quarantined, dead or pending."""

    accepted = graphene.BigInt(required=True, description="Updates accepted, all told.")
    processed = graphene.BigInt(required=True, description="Updates stored, repeats included.")
    quarantined = graphene.BigInt(
        required=True, description="Updates for numbers that are no workspace of this tenant."
    )
    dead = graphene.BigInt(required=True, description="Updates that could not be read or stored.")
    pending = graphene.BigInt(required=True, description="Updates that wait for their processing.")
    duplicates = graphene.BigInt(
        required=True, description="Of the processed: repeats, which changed nothing."
    )
    unhandled = graphene.BigInt(
        required=True, description="Of the processed: kept in Raw and counted, but not modelled."
    )
    balanced = graphene.Boolean(
        required=True, description="Whether the four places add up to what was accepted."
    )
    exact = graphene.Boolean(
        required=True,
        description="False while so many callbacks wait that their updates are estimated.",
    )
    unhandled_kinds = list_of(UnhandledKind, "What was unhandled, by kind.")


class LedgerQueries(graphene.ObjectType):
    """What can be read about callbacks."""

    ledger = graphene.Field(Ledger, description="Your tenant's ledger; needs ledger:read.")

    @staticmethod
    def resolve_ledger(root: None, info: GraphQLResolveInfo) -> Balance:
        """Read the ledger of the caller's tenant."""
        return ledger.read(caller(info, Scope.LEDGER_READ).tenant_id)
