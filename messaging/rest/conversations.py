"""``/api/v1/conversations`` and ``/api/v1/contacts``: what an inbox reads, without a number."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from lib.cursors import Page
from lib.graphql import (
    DEFAULT_PAGE,
    BadInput,
    NotFound,
    PageInfo,
    cursor_of,
    limit_of,
    page_info,
    parse_id,
)
from lib.numbering import NotInternational
from messaging import conversation_queries, lookups, sealed_values
from messaging.conversation_queries import ConversationRow
from messaging.conversation_states import ConversationState
from messaging.graphql.conversations import filter_of
from messaging.graphql.messages import Acquaintances
from messaging.graphql.optouts import OneOfThem
from messaging.graphql.pages import check_workspace
from messaging.queries import ContactRow
from messaging.related import ShownConversation, show_conversations
from messaging.rest.openapi import Operations
from messaging.rest.shapes import (
    BlockShape,
    ContactShape,
    ConversationShape,
    ConversationsShape,
    LabelShape,
    LookupInput,
    LookupShape,
    PageShape,
)
from messaging.rest.views import CONVERSATION_ID, TenantView, body_of, message_shape
from messaging.sending.refusals import SendErrorCode, UnableToSend
from workspaces.access import Actor, Scope

CONVERSATIONS = Operations(
    tag="conversations",
    refusals={
        400: "The request is malformed: an unknown field, a wrong type, no such page.",
        401: "No key, or not a valid one.",
        403: "A scope is missing.",
        404: "Your tenant has no such conversation or workspace.",
        422: "This is no phone number in international form.",
        429: "The caller asked about too many phone numbers; `Retry-After` says when to go on.",
        503: "The database or the broker is away; try again.",
    },
    always=(400, 401, 403, 503),
)
CONTACT_ID = OpenApiParameter(
    "contact_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The contact's UUID."
)
PARAMETERS = [
    OpenApiParameter("workspace_id", OpenApiTypes.UUID, description="The workspace's UUID."),
    OpenApiParameter(
        "ids",
        str,
        description="Instead of a workspace: UUIDs with commas between them, 100 at most. Each is "
        "answered once, in this order; those that there are not are left out.",
    ),
    OpenApiParameter("first", int, description=f"How many; {DEFAULT_PAGE} unless given."),
    OpenApiParameter("after", str, description="Only what comes after this cursor."),
    OpenApiParameter(
        "unread_only", bool, description="Only those with messages nobody has read; false."
    ),
    OpenApiParameter("state", str, description="Only those that are OPEN, SNOOZED or CLOSED."),
    OpenApiParameter(
        "assignee", str, description="Only those of a user (id), of nobody (none), your own (me)."
    ),
    OpenApiParameter("label_id", OpenApiTypes.UUID, description="Only those with this label."),
]
BOOLEANS = {"true": True, "false": False}


class Conversations(TenantView):
    """The conversations of a number, or some by their ids."""

    @CONVERSATIONS.operation(
        "read_conversations",
        "Read conversations, the one with the newest message first, or by their ids",
        scope=Scope.MESSAGES_READ,
        parameters=PARAMETERS,
        answers={200: (ConversationsShape, "A page of them.")},
        refused=(404,),
    )
    def get(self, request: Request) -> ConversationsShape:
        """Read a page."""
        given = _parameters_of(request)
        found: ConversationsShape = self.act(lambda _: _page_of(self.actor, given))
        return found


class OneConversation(TenantView):
    """One conversation."""

    @CONVERSATIONS.operation(
        "read_conversation",
        "Read a conversation",
        scope=Scope.MESSAGES_READ,
        says="An id from before two conversations turned out to be one leads to that one.",
        parameters=[CONVERSATION_ID],
        answers={200: (ConversationShape, "The conversation.")},
        refused=(404,),
    )
    def get(self, request: Request, conversation_id: UUID) -> ConversationShape:
        """Read a conversation."""
        found: list[ConversationShape] = self.act(lambda _: by_ids(self.actor, [conversation_id]))
        if not found:
            raise NotFound("Your tenant has no conversation with this id.")
        return found[0]


class OneContact(TenantView):
    """One person."""

    @CONVERSATIONS.operation(
        "read_contact",
        "Read who a person is",
        scope=Scope.MESSAGES_READ,
        says="An id from before two people turned out to be one leads to that one.",
        parameters=[CONTACT_ID],
        answers={200: (ContactShape, "The person.")},
        refused=(404,),
    )
    def get(self, request: Request, contact_id: UUID) -> ContactShape:
        """Read who a person is."""
        found: ContactShape = self.act(lambda _: _contact(self.actor, contact_id))
        return found


class ContactLookup(TenantView):
    """Who has a phone number."""

    @CONVERSATIONS.operation(
        "look_up_contact",
        "Ask who has a phone number",
        scope=Scope.CONTACTS_LOOKUP,
        says="The number is in the body, so that no log of addresses has it. One key may ask so "
        "often in a minute.",
        takes=LookupInput,
        answers={200: (LookupShape, "Whether there is a contact, and who it is.")},
        refused=(422, 429),
    )
    def post(self, request: Request) -> LookupShape:
        """Look for a contact."""
        phone = body_of(request, LookupInput).phone
        found: LookupShape = self.act(lambda _: _look_up(self.actor, phone))
        return found


def _contact(actor: Actor, contact_id: UUID) -> ContactShape:
    contact = lookups.by_id(tenant_id=actor.tenant_id, contact_id=contact_id)
    if contact is None:
        raise NotFound("Your tenant has no contact with this id.")
    return person(actor, contact, OneOfThem(actor.tenant_id, contact.id))


def _look_up(actor: Actor, phone: str) -> LookupShape:
    try:
        contact = lookups.by_phone(actor, phone)
    except NotInternational as error:
        raise UnableToSend(SendErrorCode.INVALID_PHONE, "phone", str(error)) from None
    if contact is None:
        return LookupShape(contact=None)
    return LookupShape(contact=person(actor, contact, OneOfThem(actor.tenant_id, contact.id)))


def _parameters_of(request: Request) -> dict[str, str]:
    """Return the query's parameters.

    Raises:
        lib.graphql.BadInput: one is not known here, or is not combined with others so.
    """
    given: dict[str, str] = request.query_params.dict()
    known = {parameter.name for parameter in PARAMETERS}
    if unknown := sorted(given.keys() - known - {"format"}):
        raise BadInput(
            f"{unknown[0][:64]!r} is no parameter; there are {', '.join(sorted(known))}."
        )
    if ("ids" in given) == ("workspace_id" in given):
        raise BadInput("Send workspace_id or ids.")
    if "ids" in given and len(given.keys() - {"format"}) > 1:
        raise BadInput("ids stand alone: the answer is one page.")
    return given


def _page_of(actor: Actor, given: dict[str, str]) -> ConversationsShape:
    if "ids" in given:
        ids = [one for one in given["ids"].split(",") if one]
        limit_of(len(ids))
        nodes = by_ids(actor, [parse_id(one, "ids") for one in ids])
        return _answered(nodes, Page([], has_more=False), is_first=True)
    workspace_id, after = parse_id(given["workspace_id"], "workspace_id"), given.get("after")
    page = conversation_queries.read_conversations(
        tenant_id=actor.tenant_id,
        workspace_id=workspace_id,
        limit=limit_of(number_of(given.get("first"))),
        after=cursor_of(after),
        only=filter_of(
            actor,
            unread_only=_boolean(given.get("unread_only", "false")),
            state=_state(given.get("state")),
            assignee=given.get("assignee"),
            label_id=given.get("label_id"),
        ),
    )
    if not page.rows:  # where there are some, there is a workspace
        check_workspace(actor, workspace_id)
    return _answered(_shown(actor, page.rows), page, is_first=after is None)


def _answered(
    nodes: list[ConversationShape], page: Page[ConversationRow], *, is_first: bool
) -> ConversationsShape:
    info = page_info(page, conversation_queries.cursor_of, is_first=is_first)
    return ConversationsShape(nodes=nodes, page_info=place_of(info))


def place_of(info: PageInfo) -> PageShape:
    """Return where a page ends."""
    return PageShape(**{name: getattr(info, name) for name in PageShape.__struct_fields__})


def number_of(value: str | None) -> int | None:
    """Return how many are asked for.

    Raises:
        lib.graphql.BadInput: it is no number.
    """
    if value is not None and not (value.isascii() and value.isdigit() and len(value) < 10):
        raise BadInput("first must be a number.")
    return None if value is None else int(value)


def _state(value: str | None) -> str | None:
    if value is not None and value not in list(ConversationState):
        raise BadInput(f"state must be one of {', '.join(ConversationState)}.")
    return value


def _boolean(value: str) -> bool:
    if value not in BOOLEANS:
        raise BadInput("unread_only must be true or false.")
    return BOOLEANS[value]


def by_ids(actor: Actor, ids: Sequence[UUID]) -> list[ConversationShape]:
    """Return those conversations of the caller's tenant that there are."""
    found = conversation_queries.find_conversations(tenant_id=actor.tenant_id, ids=ids)
    return _shown(actor, found)


def _shown(actor: Actor, rows: Sequence[ConversationRow]) -> list[ConversationShape]:
    return [_conversation(actor, one) for one in show_conversations(actor.tenant_id, rows)]


def _conversation(actor: Actor, shown: ShownConversation) -> ConversationShape:
    row, threads = shown.row, shown.threads
    messages, related = threads.last
    last, contact = messages.get(row.last_message_id), threads.contacts.get(row.contact_id)
    return ConversationShape(
        id=row.id,
        workspace_id=row.workspace_id,
        contact=contact and person(actor, contact, threads),
        last_message=last and message_shape(last, related, actor),
        last_message_at=row.last_message_at,
        unread_count=row.unread_count,
        window_open_until=shown.window_open_until,
        state=ConversationState(row.state),
        snoozed_until=row.snoozed_until,
        assignee_id=row.assignee_id,
        labels=[
            LabelShape(**threads.labels[label_id]._asdict())
            for label_id in row.label_ids
            if label_id in threads.labels
        ],
    )


def person(actor: Actor, contact: ContactRow, among: Acquaintances) -> ContactShape:
    """Return what the caller is shown of a person."""
    hidden = () if actor.may(Scope.MESSAGES_READ) else contact.sealed
    names = {
        name: sealed_values.NEEDS_MESSAGES_READ if name in hidden else getattr(contact, name)
        for name in ("display_name", "username")
    }
    blocks = [BlockShape(**row._asdict()) for row in among.blocks.get(contact.id, ())]
    is_out = contact.id in among.opted_out
    return ContactShape(id=contact.id, opted_out=is_out, blocks=blocks, **names)
