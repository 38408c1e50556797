"""``/api/v1/contacts/block`` and what belongs to it: whom a number blocks, and its rule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from lib import clock
from lib.cursors import Page
from lib.graphql import BadInput, cursor_of, limit_of, page_info, parse_id
from messaging import block_requests
from messaging.block_requests import BlockErrorCode, BlockInput, BlockRuleInput, UnableToBlock
from messaging.blocks import BlockRow
from messaging.models import BlockList, BlockState
from messaging.rest import failures
from messaging.rest.canned import WORKSPACE_ID
from messaging.rest.conversations import number_of, place_of
from messaging.rest.desk import AFTER, FIRST
from messaging.rest.openapi import Operations
from messaging.rest.shapes import BlockShape, PageShape
from messaging.rest.views import TenantView
from workspaces.access import Scope

# What a refusal means over HTTP; the others are 422.
STATUSES = {BlockErrorCode.WORKSPACE_NOT_FOUND: 404, BlockErrorCode.CONTACT_NOT_FOUND: 404}
BLOCKS = Operations(
    tag="contacts",
    refusals={
        400: "The request is malformed: not JSON, no such page.",
        401: "No key, or not a valid one.",
        403: "A scope is missing.",
        404: "Your tenant has no such workspace or person.",
        422: "Refused; `code` says why.",
        429: "The caller named too many phone numbers; `Retry-After` says when to go on.",
        503: "The database or the broker is away; try again.",
    },
    always=(400, 401, 403, 404, 422, 503),
)
STATE = OpenApiParameter(
    "state",
    str,
    description="Only those in these states, with commas between them; all but UNBLOCKED unless "
    "given.",
)
IN_PATH = OpenApiParameter(
    "workspace_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The workspace's UUID."
)


class BlocksShape(Struct, frozen=True, kw_only=True):
    """One page of blocks."""

    nodes: Annotated[list[BlockShape], Meta(description="What changed last first.")]
    page_info: Annotated[PageShape, Meta(description="Whether there is more.")]


class UnblockedShape(Struct, frozen=True, kw_only=True):
    """What became of a block."""

    block: Annotated[BlockShape | None, Meta(description="How far it is; null: there is none.")]


class BlockListShape(Struct, frozen=True, kw_only=True):
    """A number's list at Meta as it was read last, and the rule that adds to it."""

    workspace_id: Annotated[UUID, Meta(description="The workspace's UUID.")]
    messages_a_minute: Annotated[
        int | None,
        Meta(description="Whoever writes more within a minute is blocked; null: nobody is."),
    ]
    listed: Annotated[int, Meta(description="How many people Meta names.")]
    strangers: Annotated[int, Meta(description="How many are no contacts of your tenant.")]
    synced_at: Annotated[datetime | None, Meta(description="When it was read last.")]
    sync_error: Annotated[str, Meta(description="Why it was not, the last time; empty: it was.")]


class BlockView(TenantView):
    """A view whose refusals are those of blocks."""

    def get_exception_handler(self) -> Callable[[Exception, object], Response]:
        """Answer every refusal in one shape."""
        return handle


class Blocking(BlockView):
    """Block people."""

    @BLOCKS.operation(
        "block_contact",
        "Block a person for one number at Meta",
        scope=Scope.CONTACTS_BLOCK,
        says="It is wanted once answered; `state` says how far it is. Again, it changes nothing.",
        takes=BlockInput,
        answers={200: (BlockShape, "The block.")},
        refused=(429,),
    )
    def post(self, request: Request) -> BlockShape:
        """Block a person."""
        wanted, now = block_requests.read(request.data), clock.now()
        row: BlockRow = self.act(lambda _: block_requests.block(self.actor, wanted, now=now))
        return BlockShape(**row._asdict())


class Unblocking(BlockView):
    """Unblock people."""

    @BLOCKS.operation(
        "unblock_contact",
        "Let a person write to a number again",
        scope=Scope.CONTACTS_BLOCK,
        says="It is wanted once answered; `state` says how far it is. Again, it changes nothing.",
        takes=BlockInput,
        answers={200: (UnblockedShape, "How far it is.")},
        refused=(429,),
    )
    def post(self, request: Request) -> UnblockedShape:
        """Unblock a person."""
        wanted, now = block_requests.read(request.data), clock.now()
        row: BlockRow | None = self.act(
            lambda _: block_requests.unblock(self.actor, wanted, now=now)
        )
        return UnblockedShape(block=row and BlockShape(**row._asdict()))


class Blocked(BlockView):
    """The people whom a number blocks."""

    @BLOCKS.operation(
        "list_blocked_contacts",
        "List whom a number blocks, is to block or could not",
        scope=Scope.MESSAGES_READ,
        parameters=[WORKSPACE_ID, STATE, FIRST, AFTER],
        answers={200: (BlocksShape, "A page of them.")},
    )
    def get(self, request: Request) -> BlocksShape:
        """List them."""
        given = request.query_params
        after = given.get("after")
        limit, place = limit_of(number_of(given.get("first"))), cursor_of(after)
        states = [one for one in given.get("state", "").split(",") if one]
        if not set(states) <= set(BlockState):
            raise BadInput(f"state must be one of {', '.join(BlockState)}.")
        workspace_id = parse_id(given.get("workspace_id", ""), "workspace_id")
        page: Page[BlockRow] = self.act(
            lambda tenant_id: block_requests.read_blocks(
                tenant_id=tenant_id,
                workspace_id=workspace_id,
                states=states,
                limit=limit,
                after=place,
            )
        )
        info = page_info(page, block_requests.place_of, is_first=after is None)
        nodes = [BlockShape(**row._asdict()) for row in page.rows]
        return BlocksShape(nodes=nodes, page_info=place_of(info))


class OneBlockList(BlockView):
    """The list of a number, and its rule."""

    @BLOCKS.operation(
        "read_block_list",
        "Read what is known of a number's list at Meta, and its rule",
        scope=Scope.MESSAGES_READ,
        parameters=[IN_PATH],
        answers={200: (BlockListShape, "The list.")},
    )
    def get(self, request: Request, workspace_id: UUID) -> BlockListShape:
        """Read it."""
        row: BlockList = self.act(
            lambda tenant_id: block_requests.list_of_number(
                tenant_id=tenant_id, workspace_id=workspace_id
            )
        )
        return _list(row)

    @BLOCKS.operation(
        "set_block_rule",
        "Block whoever writes more messages to a number within a minute",
        scope=Scope.SENDING_MANAGE,
        takes=BlockRuleInput,
        parameters=[IN_PATH],
        answers={200: (BlockListShape, "The list.")},
    )
    def patch(self, request: Request, workspace_id: UUID) -> BlockListShape:
        """Set the rule."""
        most = block_requests.read_rule(request.data)
        row: BlockList = self.act(lambda _: block_requests.set_rule(self.actor, workspace_id, most))
        return _list(row)


class SyncBlocked(BlockView):
    """Read Meta's list now."""

    @BLOCKS.operation(
        "sync_blocked_contacts",
        "Read whom Meta blocks for a number, within seconds",
        scope=Scope.CONTACTS_BLOCK,
        parameters=[IN_PATH],
        answers={200: (BlockListShape, "What is known so far.")},
    )
    def post(self, request: Request, workspace_id: UUID) -> BlockListShape:
        """Let it be read."""
        row: BlockList = self.act(
            lambda tenant_id: block_requests.ask_again(
                tenant_id=tenant_id, workspace_id=workspace_id
            )
        )
        return _list(row)


def handle(error: Exception, context: object) -> Response:
    """Return the answer to a request that ended in ``error``."""
    if isinstance(error, UnableToBlock):
        why = failures.refusal(error.code.value, error.message, field=error.field)
        return failures.respond(STATUSES.get(error.code, 422), why)
    return failures.handle(error, context)


def _list(row: BlockList) -> BlockListShape:
    return BlockListShape(**{n: getattr(row, n) for n in BlockListShape.__struct_fields__})
