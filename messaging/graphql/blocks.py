"""GraphQL: whom a number blocks, its rule, and changes of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from lib import clock
from lib.graphql import (
    BadInput,
    NotFound,
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
from messaging import block_requests, blocks, optouts, queries
from messaging.block_requests import BlockErrorCode, UnableToBlock
from messaging.blocks import BlockRow
from messaging.graphql.labels import given_of
from messaging.graphql.messages import Acquaintance, BlockStates, ContactBlockType, ContactType
from messaging.queries import ContactRow
from workspaces.access import Scope
from workspaces.graphql.base import (
    MutationContext,
    ServiceMutation,
    caller,
    errors_field,
    reason_fields,
    success_field,
)

CODES = {
    "INVALID_INPUT": "Something is missing or malformed, or the person is named in two ways.",
    "INVALID_PHONE": "The phone number is not in international form (E.164).",
    "WORKSPACE_NOT_FOUND": "Your tenant has no such workspace.",
    "UNSUPPORTED_TRANSPORT": "Of a linked device nobody can be blocked from here.",
    "CONTACT_NOT_FOUND": "Your tenant has no such person.",
    "NOT_HEARD_LATELY": "The person has not written to this number within 24 hours.",
    "ADDRESS_EXPIRED": "What was known of the person's address was purged.",
    "LIST_FULL": "The number blocks as many people as Meta allows.",
}
BlockErrorCodes = described_enum(BlockErrorCode, "Why nothing was changed.", CODES)


class BlockError(graphene.ObjectType):
    """A reason why nothing was changed."""

    code, field, message = reason_fields(BlockErrorCodes)


ERRORS = errors_field(BlockError)


class BlockedPeople:
    """The people of a page of blocks, loaded when first asked for."""

    def __init__(self, tenant_id: UUID, rows: Sequence[BlockRow]) -> None:
        self._tenant_id, self._ids = tenant_id, {row.contact_id for row in rows}

    @cached_property
    def contacts(self) -> dict[UUID, ContactRow]:
        """The people, by contact id."""
        return queries.contacts(tenant_id=self._tenant_id, ids=self._ids)

    @cached_property
    def opted_out(self) -> set[UUID]:
        """Those who want no marketing."""
        return optouts.opted_out(tenant_id=self._tenant_id, contact_ids=self._ids)

    @cached_property
    def blocks(self) -> Mapping[UUID, Sequence[BlockRow]]:
        """Their blocks, for all numbers."""
        return blocks.of_contacts(tenant_id=self._tenant_id, contact_ids=self._ids)


@dataclass(frozen=True, slots=True)
class ListedBlock:
    """A block on its page."""

    block: BlockRow
    people: BlockedPeople


class ListedBlockType(ObjectType, name="ListedBlock"):
    """A block, and whom it is of."""

    block = graphene.Field(ContactBlockType, required=True, description="The block.")
    contact = graphene.Field(ContactType, description="The person.")

    @staticmethod
    def resolve_contact(root: ListedBlock, info: GraphQLResolveInfo) -> Acquaintance | None:
        """Return the person."""
        contact = root.people.contacts.get(root.block.contact_id)
        return contact and Acquaintance(contact, root.people)


class BlockConnection(graphene.ObjectType):
    """One page of blocks."""

    nodes = list_of(ListedBlockType, "The blocks.")
    page_info = graphene.Field(PageInfo, required=True, description="Whether there is more.")


class BlockListType(ObjectType, name="BlockList"):
    """A number's list at Meta as it was read last, and the rule that adds to it."""

    workspace_id = graphene.ID(required=True, description="The workspace's UUID.")
    messages_a_minute = graphene.Int(
        description="Whoever writes more within a minute is blocked; null: nobody is."
    )
    listed = graphene.Int(required=True, description="How many people Meta names.")
    strangers = graphene.Int(
        required=True, description="How many of them are no contacts of your tenant."
    )
    synced_at = graphene.DateTime(description="When Meta's list was read last.")
    sync_error = graphene.String(description="Why it was not, the last time it was asked for.")

    resolve_sync_error = none_if_empty("sync_error")


class BlockQueries(graphene.ObjectType):
    """What can be read about blocked people."""

    blocked_contacts = graphene.Field(
        BlockConnection,
        description="Whom a number blocks, is to block or could not, what changed last first.",
        workspace_id=graphene.ID(required=True, description="The workspace's UUID."),
        states=graphene.List(
            graphene.NonNull(BlockStates),
            description="Only those in these states; all but UNBLOCKED unless given.",
        ),
        **forward(),
    )
    block_list = graphene.Field(
        BlockListType,
        description="A number's list at Meta, and its rule.",
        workspace_id=graphene.ID(required=True, description="The workspace's UUID."),
    )

    @staticmethod
    def resolve_blocked_contacts(
        root: None,
        info: GraphQLResolveInfo,
        workspace_id: str,
        states: Sequence[Any] | None = None,
        first: int | None = None,
        after: str | None = None,
    ) -> dict[str, object]:
        """Return one page."""
        tenant_id = caller(info, Scope.MESSAGES_READ).tenant_id
        try:
            page = block_requests.read_blocks(
                tenant_id=tenant_id,
                workspace_id=parse_id(workspace_id, "workspaceId"),
                states=[state.value for state in states or ()],
                limit=limit_of(first),
                after=cursor_of(after),
            )
        except UnableToBlock as refusal:
            raise _as_error(refusal) from None
        people = BlockedPeople(tenant_id, page.rows)
        return {
            "nodes": [ListedBlock(row, people) for row in page.rows],
            "page_info": page_info(page, block_requests.place_of, is_first=after is None),
        }

    @staticmethod
    def resolve_block_list(root: None, info: GraphQLResolveInfo, workspace_id: str) -> object:
        """Return what is known of it."""
        tenant_id = caller(info, Scope.MESSAGES_READ).tenant_id
        workspace = parse_id(workspace_id, "workspaceId")
        try:
            return block_requests.list_of_number(tenant_id=tenant_id, workspace_id=workspace)
        except UnableToBlock as refusal:
            raise _as_error(refusal) from None


def _as_error(refusal: UnableToBlock) -> Exception:
    is_missing = refusal.code == BlockErrorCode.WORKSPACE_NOT_FOUND
    return NotFound(refusal.message) if is_missing else BadInput(refusal.message)


class BlockContactInput(graphene.InputObjectType):
    """Whom to block or unblock for which number; the person is named in one way."""

    workspace_id = graphene.ID(required=True, description="The workspace (number) that blocks.")
    contact_id = graphene.ID(description="The contact's UUID.")
    conversation_id = graphene.ID(description="The UUID of a conversation with the person.")
    reply_to = graphene.ID(description="The UUID of a message of a conversation with the person.")
    phone = graphene.String(
        description="The phone number (E.164), which is digested and not kept; needs "
        "contacts:lookup beside the scope, and is counted."
    )


class BlockListInput(graphene.InputObjectType):
    """A number's list."""

    workspace_id = graphene.ID(required=True, description="The workspace's UUID.")


class SetBlockRuleInput(graphene.InputObjectType):
    """The rule of a number."""

    workspace_id = graphene.ID(required=True, description="The workspace's UUID.")
    messages_a_minute = graphene.Int(
        description="5 to 1,000: whoever writes more within a minute is blocked; null: nobody is."
    )


class _BlockMutation(ServiceMutation, abstract=True):
    """Changes whether a person is blocked; the fields of both payloads."""

    scope, refusal = Scope.CONTACTS_BLOCK, UnableToBlock
    success = success_field("Whether it is wanted now; the block's state says how far it is.")
    block = graphene.Field(
        ContactBlockType, description="How far it is; null where nothing is blocked."
    )
    errors = ERRORS


class BlockContact(_BlockMutation):
    """Whether the person is to be blocked, and if not, why."""

    class Arguments:
        input = BlockContactInput(required=True, description="The person and the number.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Want them blocked."""
        wanted = block_requests.read(given_of(given))
        return {"block": block_requests.block(context.actor, wanted, now=clock.now())}


class UnblockContact(_BlockMutation):
    """Whether the person is to be unblocked, and if not, why."""

    class Arguments:
        input = BlockContactInput(required=True, description="The person and the number.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Want them unblocked."""
        wanted = block_requests.read(given_of(given))
        return {"block": block_requests.unblock(context.actor, wanted, now=clock.now())}


class SyncBlockedContacts(ServiceMutation):
    """Whether Meta's list will be read, and if not, why."""

    class Arguments:
        input = BlockListInput(required=True, description="The number.")

    scope, refusal = Scope.CONTACTS_BLOCK, UnableToBlock
    success = success_field()
    block_list = graphene.Field(BlockListType, description="What is known so far.")
    errors = ERRORS

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Let it be read."""
        workspace_id = parse_id(given["workspace_id"], "workspaceId")
        tenant_id = context.actor.tenant_id
        found = block_requests.ask_again(tenant_id=tenant_id, workspace_id=workspace_id)
        return {"block_list": found}


class SetBlockRule(ServiceMutation):
    """Whether the rule was set, and if not, why."""

    class Arguments:
        input = SetBlockRuleInput(required=True, description="The rule.")

    scope, refusal = Scope.SENDING_MANAGE, UnableToBlock
    success = success_field()
    block_list = graphene.Field(BlockListType, description="The number's list, on success.")
    errors = ERRORS

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Set the rule."""
        workspace_id = parse_id(given["workspace_id"], "workspaceId")
        most = block_requests.read_rule({"messages_a_minute": given.get("messages_a_minute")})
        return {"block_list": block_requests.set_rule(context.actor, workspace_id, most)}


class BlockMutations(graphene.ObjectType):
    """What can be changed about blocked people."""

    block_contact = BlockContact.Field(
        required=True,
        description="Block a person for one number at Meta: they cannot write to it any more.",
    )
    unblock_contact = UnblockContact.Field(
        required=True, description="Let a person write to a number again."
    )
    sync_blocked_contacts = SyncBlockedContacts.Field(
        required=True, description="Read whom Meta blocks for a number, within seconds."
    )
    set_block_rule = SetBlockRule.Field(
        required=True,
        description="Block whoever writes more messages to a number within a minute; null: nobody.",
    )
