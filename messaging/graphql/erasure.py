"""GraphQL: erase one person, and read what came of it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from lib import clock
from lib.graphql import ObjectType, described_enum, list_of, parse_id
from messaging import person_erasure
from messaging.models import PersonErasure
from messaging.person_erasure import UnableToErase
from workspaces.access import Scope
from workspaces.graphql.base import (
    MutationContext,
    ServiceMutation,
    caller,
    errors_field,
    reason_fields,
    success_field,
)

CODES = {"CONTACT_NOT_FOUND": "Your tenant has no such contact."}
ErasureErrorCodes = described_enum(
    person_erasure.ErasureErrorCode, "Why nobody will be erased.", CODES
)


class RemovedRows(graphene.ObjectType):
    """How much of one kind went."""

    table = graphene.String(required=True, description="The table of the database.")
    count = graphene.Int(required=True, description="How many rows.")


class ErasureType(ObjectType, name="PersonErasure"):
    """The erasure of one person, pending or done."""

    id = graphene.ID(required=True, description="The erasure's UUID.")
    contact_id = graphene.ID(required=True, description="The contact's UUID, which leads nowhere.")
    is_dry_run = graphene.Boolean(required=True, description="Whether it only counts.")
    requested_at = graphene.DateTime(required=True, description="When it was asked for.")
    ended_at = graphene.DateTime(description="When it was done; null while it is pending.")
    removed = list_of(RemovedRows, "What went, or in a dry run would go.")
    receipt = graphene.String(description="What is signed: JSON; null while it is pending.")
    signature = graphene.String(
        description="The receipt's signature (Ed25519, base64); null while it is pending."
    )

    @staticmethod
    def resolve_removed(root: PersonErasure, info: GraphQLResolveInfo) -> list[dict[str, object]]:
        """Return the tables of which something went."""
        rows = sorted(root.removed.items())
        return [{"table": table, "count": count} for table, count in rows if count]

    @staticmethod
    def resolve_receipt(root: PersonErasure, info: GraphQLResolveInfo) -> str | None:
        """Return what is signed."""
        return root.receipt or None

    @staticmethod
    def resolve_signature(root: PersonErasure, info: GraphQLResolveInfo) -> str | None:
        """Return the signature."""
        return b64encode(bytes(root.signature)).decode() if root.signature else None


class ErasureQueries(graphene.ObjectType):
    """What can be read about erasures of people."""

    person_erasure = graphene.Field(
        ErasureType,
        id=graphene.ID(required=True, description="The erasure's UUID."),
        description="An erasure of one person; null where there is none with this id.",
    )

    @staticmethod
    def resolve_person_erasure(
        root: None, info: GraphQLResolveInfo, id: str
    ) -> PersonErasure | None:
        """Return one."""
        tenant_id = caller(info, Scope.CONTACTS_ERASE).tenant_id
        return person_erasure.find(tenant_id=tenant_id, erasure_id=parse_id(id, "id"))


class EraseContactInput(graphene.InputObjectType):
    """Whom to erase."""

    contact_id = graphene.ID(required=True, description="The contact's UUID.")
    dry_run = graphene.Boolean(description="Only count what would go; false.")
    keep_opt_out = graphene.Boolean(
        description="Whether a stop of marketing stays on record, by digests alone; true."
    )


class ErasureError(graphene.ObjectType):
    """A reason why nobody will be erased."""

    code, field, message = reason_fields(ErasureErrorCodes)


class EraseContact(ServiceMutation):
    """Whether the person will be erased, and if not, why."""

    class Arguments:
        input = EraseContactInput(required=True, description="Whom to erase.")

    success = success_field("Whether it was accepted; see the erasure's `endedAt`.")
    erasure = graphene.Field(ErasureType, description="The pending erasure, on success.")
    errors = errors_field(ErasureError)

    scope, refusal = Scope.CONTACTS_ERASE, UnableToErase

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Ask for it."""
        wanted = {"is_dry_run": given.get("dry_run"), "keeps_opt_out": given.get("keep_opt_out")}
        erasure = person_erasure.request(
            tenant_id=context.actor.tenant_id,
            contact_id=parse_id(given["contact_id"], "contactId"),
            by=context.actor.label,
            now=clock.now(),
            **{name: value for name, value in wanted.items() if value is not None},
        )
        return {"erasure": erasure}


class ErasureMutations(graphene.ObjectType):
    """What can be done about what is known of people."""

    erase_contact = EraseContact.Field(
        required=True, description="Remove everything that is known of a person, for good."
    )
