"""Block and unblock people, and what a tenant decides about a number's list: the rule, and when the
platform is asked for it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import transaction
from msgspec import Meta, Struct

from lib.cursors import Cursor, Page, encode
from lib.numbering import NotInternational, international
from lib.sql import select
from lib.structs import fault_of
from messaging import addresses, blocks, conversations, locks, lookups
from messaging.blocks import HELD, SELECT, BlockRow, BlockWish, Place
from messaging.models import BlockList, BlockState, ContactBlock
from messaging.sending import naming
from messaging.sending.naming import Naming
from messaging.sending.parties import ContactCache
from messaging.sending.requests import Recipient
from workspaces.access import Actor
from workspaces.models import HOSTED, Workspace

logger = logging.getLogger("sigma.whatsapp.blocks")

# Meta, "Block users": so many people of one number.
MOST_BLOCKED = 64_000
WAYS = ("contact_id", "conversation_id", "reply_to", "phone")
LEAST_A_MINUTE, MOST_A_MINUTE = 5, 1_000

Input = TypeVar("Input", bound=Struct)


class BlockErrorCode(StrEnum):
    """Why nothing was changed."""

    INVALID_INPUT = "INVALID_INPUT"
    INVALID_PHONE = "INVALID_PHONE"
    WORKSPACE_NOT_FOUND = "WORKSPACE_NOT_FOUND"
    UNSUPPORTED_TRANSPORT = "UNSUPPORTED_TRANSPORT"
    CONTACT_NOT_FOUND = "CONTACT_NOT_FOUND"
    NOT_HEARD_LATELY = "NOT_HEARD_LATELY"
    ADDRESS_EXPIRED = "ADDRESS_EXPIRED"
    LIST_FULL = "LIST_FULL"


class UnableToBlock(Exception):
    """Nothing was changed; ``field`` is the input at fault."""

    def __init__(self, code: BlockErrorCode, field: str | None, message: str) -> None:
        super().__init__(message)
        self.code, self.field, self.message = code, field, message


class BlockInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to block or unblock for which number; the person is named in one way."""

    workspace_id: Annotated[UUID, Meta(description="The workspace (number) that blocks.")]
    contact_id: Annotated[UUID | None, Meta(description="The contact's UUID.")] = None
    conversation_id: Annotated[
        UUID | None, Meta(description="The UUID of a conversation with the person.")
    ] = None
    reply_to: Annotated[
        UUID | None, Meta(description="The UUID of a message of a conversation with the person.")
    ] = None
    phone: Annotated[
        str | None,
        Meta(
            description="The phone number (E.164), which is digested and not kept; needs "
            "contacts:lookup beside the scope, and is counted."
        ),
    ] = None


class BlockRuleInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rule of a number."""

    messages_a_minute: Annotated[
        Annotated[int, Meta(ge=LEAST_A_MINUTE, le=MOST_A_MINUTE)] | None,
        Meta(description="Whoever writes more within a minute is blocked; null: nobody is."),
    ]


def read(given: object) -> BlockInput:
    """Return whom an input of whatever door means.

    Raises:
        UnableToBlock: it is not of that form, or names the person in no way or in two.
    """
    wanted = _convert(given, BlockInput)
    if sum(getattr(wanted, way) is not None for way in WAYS) != 1:
        message = f"Name the person in one way: {', '.join(WAYS[:-1])} or {WAYS[-1]}."
        raise UnableToBlock(BlockErrorCode.INVALID_INPUT, WAYS[0], message)
    return wanted


def read_rule(given: object) -> int | None:
    """Return the most messages a minute that an input allows; ``None``: any number.

    Raises:
        UnableToBlock: it is not of that form.
    """
    return _convert(given, BlockRuleInput).messages_a_minute


def _convert(given: object, struct: type[Input]) -> Input:
    try:
        return msgspec.convert(given, struct)
    except msgspec.ValidationError as error:
        message, field = fault_of(error)
        raise UnableToBlock(BlockErrorCode.INVALID_INPUT, field, message) from None


def block(actor: Actor, wanted: BlockInput, *, now: datetime) -> BlockRow:
    """Want a person blocked for a number, in the caller's transaction; return where that is.

    Raises:
        UnableToBlock: there is no such person or number, or Meta would refuse it.
        Exception: what :func:`messaging.lookups.charge` raises, of a phone number.
    """
    whose, field = _person(actor, wanted)
    known = _find(whose)
    if known is None or known.state not in (BlockState.BLOCKING, BlockState.BLOCKED):
        _check(whose, field, now)
        blocks.want([BlockWish(*whose, _who(actor), now)], blocked=True)
    return _found(whose)


def unblock(actor: Actor, wanted: BlockInput, *, now: datetime) -> BlockRow | None:
    """Want a person unblocked, in the caller's transaction; return where that is, ``None`` for one
    who is not blocked as far as is known.

    Raises:
        UnableToBlock: there is no such person or number.
        Exception: what :func:`messaging.lookups.charge` raises, of a phone number.
    """
    whose, _ = _person(actor, wanted)
    blocks.want([BlockWish(*whose, _who(actor), now)], blocked=False)
    return _find(whose)


def _who(actor: Actor) -> str:
    return f"user {actor.user_id}" if actor.key_id is None else f"api_key {actor.key_id}"


def _person(actor: Actor, wanted: BlockInput) -> tuple[Place, str]:
    """Return tenant, number and contact, and the field that named the person; they stay one contact
    until the transaction ends.
    """
    tenant_id, workspace_id = actor.tenant_id, wanted.workspace_id
    workspace = check_workspace(tenant_id=tenant_id, workspace_id=workspace_id)
    recipient = None if wanted.phone is None else _recipient(actor, wanted.phone)
    locks.merge_nobody([tenant_id])
    if recipient is not None:
        found = _by_phone(tenant_id, recipient)
        return (tenant_id, workspace.id, found), "phone"
    name = Naming(wanted.conversation_id, wanted.contact_id, wanted.reply_to)
    # A person may be blocked for another number than that of the conversation.
    contact = naming.contacts_of([name], tenant_id=tenant_id)[name]
    if not isinstance(contact, UUID):
        raise UnableToBlock(BlockErrorCode.CONTACT_NOT_FOUND, name.field, contact.message)
    return (tenant_id, workspace.id, contact), name.field


def _recipient(actor: Actor, phone: str) -> Recipient:
    """Return whom a number means, and count it: the answer tells who has it."""
    try:
        recipient = Recipient(phone=international(phone))
    except NotInternational as error:
        raise UnableToBlock(BlockErrorCode.INVALID_PHONE, "phone", str(error)) from None
    lookups.charge(actor)
    return recipient


def _by_phone(tenant_id: UUID, recipient: Recipient) -> UUID:
    cache = ContactCache(tenant_id)
    cache.look_up([recipient])
    found = cache.contact_of(recipient)
    if found is None:
        message = "Your tenant has no contact with this number; who never wrote cannot be blocked."
        raise UnableToBlock(BlockErrorCode.CONTACT_NOT_FOUND, "phone", message)
    return found


def check_workspace(*, tenant_id: UUID, workspace_id: UUID) -> Workspace:
    """Return a tenant's number that can block people.

    Raises:
        UnableToBlock: there is none, or it is a linked device, whose phone blocks people.
    """
    workspace = Workspace.objects.filter(tenant_id=tenant_id, pk=workspace_id).first()
    if workspace is None:
        message = "Your tenant has no workspace with this id."
        raise UnableToBlock(BlockErrorCode.WORKSPACE_NOT_FOUND, "workspace_id", message)
    if workspace.transport in HOSTED or workspace.transport not in settings.SIGMA_CHANNELS:
        message = f"Over {workspace.transport} nobody can be blocked from here; use the phone."
        raise UnableToBlock(BlockErrorCode.UNSUPPORTED_TRANSPORT, "workspace_id", message)
    return workspace


def _check(whose: Place, field: str, now: datetime) -> None:
    """Refuse what Meta would refuse.

    Raises:
        UnableToBlock: see there.
    """
    tenant_id, workspace_id, contact_id = whose
    known = conversations.reachability(
        tenant_id=tenant_id, workspace_id=workspace_id, contact_ids=[contact_id]
    ).get(contact_id)
    if known is None or known.window_ends is None or known.window_ends <= now:
        message = (
            "Meta blocks only people who wrote to this number in the last 24 hours; block them "
            "when they write again."
        )
        raise UnableToBlock(BlockErrorCode.NOT_HEARD_LATELY, field, message)
    if not addresses.find(
        tenant_id=tenant_id, workspace_id=workspace_id, contact_ids=[contact_id], parents=False
    ):
        message = (
            "What was known of this person's address was purged, or is a parent user id, which "
            "Meta does not block. Block them when they write again."
        )
        raise UnableToBlock(BlockErrorCode.ADDRESS_EXPIRED, field, message)
    rows = ContactBlock.objects.filter(tenant_id=tenant_id, workspace_id=workspace_id)
    if rows.filter(state__in=HELD).count() >= MOST_BLOCKED:
        message = f"Meta blocks at most {MOST_BLOCKED:,} people for a number; unblock somebody."
        raise UnableToBlock(BlockErrorCode.LIST_FULL, None, message)


def _find(whose: Place) -> BlockRow | None:
    sql = f"{SELECT} AND workspace_id = %s AND contact_id = %s"
    return next(iter(select(BlockRow, sql, list(whose))), None)


def _found(whose: Place) -> BlockRow:
    found = _find(whose)
    assert found is not None  # noqa: S101 - written just now
    return found


def read_blocks(
    *,
    tenant_id: UUID,
    workspace_id: UUID,
    states: Sequence[str],
    limit: int,
    after: Cursor | None,
) -> Page[BlockRow]:
    """Return a page of a number's blocks, what changed last first: those in some states, or unless
    there are any all but those that are over.

    Raises:
        UnableToBlock: the tenant has no such number.
    """
    check_workspace(tenant_id=tenant_id, workspace_id=workspace_id)
    wanted = list(states) or [state for state in BlockState if state != BlockState.UNBLOCKED]
    sql, given = f"{SELECT} AND workspace_id = %s AND state = ANY(%s)", [tenant_id, workspace_id]
    place: list[object] = [] if after is None else [after.timestamp, after.id]
    if after is not None:
        sql += " AND (changed_at, id) < (%s, %s)"
    sql += " ORDER BY changed_at DESC, id DESC LIMIT %s"
    return Page.of(select(BlockRow, sql, [*given, wanted, *place, limit + 1]), limit)


def place_of(row: BlockRow) -> str:
    """Return a block's place in its list."""
    return encode(Cursor(row.changed_at, row.id))


def list_of_number(*, tenant_id: UUID, workspace_id: UUID) -> BlockList:
    """Return what is known of a number's list, and its rule.

    Raises:
        UnableToBlock: the tenant has no such number.
    """
    check_workspace(tenant_id=tenant_id, workspace_id=workspace_id)
    unknown = BlockList(tenant_id=tenant_id, workspace_id=workspace_id)
    known = BlockList.objects.filter(tenant_id=tenant_id, workspace_id=workspace_id).first()
    return known or unknown


def set_rule(actor: Actor, workspace_id: UUID, messages_a_minute: int | None) -> BlockList:
    """Block whoever writes more messages to a number within a minute, or (``None``) nobody.

    Raises:
        UnableToBlock: no such number, or not so many.
    """
    if messages_a_minute is not None:
        read_rule({"messages_a_minute": messages_a_minute})
    row = list_of_number(tenant_id=actor.tenant_id, workspace_id=workspace_id)
    row.messages_a_minute = messages_a_minute
    _write(row, "messages_a_minute")
    transaction.on_commit(conversations.forget_rules)
    logger.info(
        "whatsapp block rule set",
        extra={
            "tenant_id": actor.tenant_id,
            "workspace_id": workspace_id,
            "messages_a_minute": messages_a_minute,
            "by": _who(actor),
        },
    )
    return row


def ask_again(*, tenant_id: UUID, workspace_id: UUID) -> BlockList:
    """Let the platform's list be read as soon as the caller's transaction is committed.

    Raises:
        UnableToBlock: the tenant has no such number.
    """
    row = list_of_number(tenant_id=tenant_id, workspace_id=workspace_id)
    row.sync_due_at = None
    _write(row, "sync_due_at")
    transaction.on_commit(blocks.wake_worker, robust=True)
    return row


def _write(row: BlockList, column: str) -> None:
    BlockList.objects.bulk_create(
        [row],
        update_conflicts=True,
        unique_fields=["tenant_id", "workspace_id"],
        update_fields=[column],
    )
