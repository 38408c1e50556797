"""What the people of a business do with a conversation: who answers it, when, under which labels,
and what they write down about it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import transaction
from msgspec import UNSET, Meta, Struct, UnsetType

from lib import bulk
from lib.cursors import Cursor, Page, encode
from lib.ids import uuid7
from lib.structs import fault_of
from messaging import conversation_queries, notices
from messaging.conversation_queries import NOBODY, ConversationRow
from messaging.conversation_states import BadTime, ConversationState, Standing, set_to
from messaging.models import Conversation, ConversationLabel, ConversationNote
from messaging.notices import ConversationChange
from workspaces import keys
from workspaces.access import Actor
from workspaces.events import emit
from workspaces.models import Membership

MOST_LABELS = 20
LONGEST_NOTE = 10_000
NOTE = "conversation_notes.sealed_text"
WAKE_BATCH = 1_000
# Of each tenant a range of a small index: of conversations that are snoozed.
WAKE = """
WITH due AS MATERIALIZED (
    SELECT c.tenant_id, c.id FROM tenants t
    JOIN conversations c ON c.tenant_id = t.id AND c.snoozed_until <= %s
    LIMIT %s FOR UPDATE OF c SKIP LOCKED
)
UPDATE conversations c SET state = 'OPEN', snoozed_until = NULL
FROM due WHERE c.tenant_id = due.tenant_id AND c.id = due.id
RETURNING c.tenant_id, c.id, c.workspace_id, c.contact_id, c.state, c.assignee_id, c.label_ids
"""


class DeskErrorCode(StrEnum):
    """Why nothing was changed."""

    INVALID_INPUT = "INVALID_INPUT"
    CONVERSATION_NOT_FOUND = "CONVERSATION_NOT_FOUND"
    LABEL_NOT_FOUND = "LABEL_NOT_FOUND"
    WORKSPACE_NOT_FOUND = "WORKSPACE_NOT_FOUND"
    CANNED_REPLY_NOT_FOUND = "CANNED_REPLY_NOT_FOUND"
    NOTE_NOT_FOUND = "NOTE_NOT_FOUND"
    NOT_A_MEMBER = "NOT_A_MEMBER"
    INVALID_TIME = "INVALID_TIME"
    TOO_MANY = "TOO_MANY"
    DUPLICATE = "DUPLICATE"


class UnableToHandle(Exception):
    """Nothing was changed; ``field`` is the input at fault."""

    def __init__(self, code: DeskErrorCode, field: str | None, message: str) -> None:
        super().__init__(message)
        self.code, self.field, self.message = code, field, message


class ConversationInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a conversation; what is left out stays."""

    state: Annotated[ConversationState | UnsetType, Meta(description="The new state.")] = UNSET
    snoozed_until: Annotated[
        datetime | None,
        Meta(
            description="When it comes back, in UTC unless it says; with the state SNOOZED alone."
        ),
    ] = None
    assignee_id: Annotated[
        Annotated[int, Meta(ge=1, le=2**31 - 1)] | UnsetType | None,
        Meta(description="The user who answers it, a member of your tenant; null: nobody."),
    ] = UNSET
    add_label_ids: Annotated[
        tuple[UUID, ...], Meta(description="Labels to put on it.", max_length=200)
    ] = ()
    remove_label_ids: Annotated[
        tuple[UUID, ...], Meta(description="Labels to take off.", max_length=200)
    ] = ()


class NoteInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A note to keep."""

    text: Annotated[str, Meta(description="1 to 10,000 characters.")]


class Note(NamedTuple):
    """What is shown of a note."""

    id: UUID
    conversation_id: UUID
    text: str
    author_id: int | None
    author_key: str
    created_at: datetime


@contextmanager
def reading() -> Iterator[None]:
    """Say of an input of whatever door what is wrong with it.

    Raises:
        UnableToHandle: it is not of the form of its struct.
    """
    try:
        yield
    except msgspec.ValidationError as error:
        message, field = fault_of(error)
        raise UnableToHandle(DeskErrorCode.INVALID_INPUT, field, message) from None


def read_changes(given: object) -> ConversationInput:
    """Return what to change of a conversation.

    Raises:
        UnableToHandle: it is not of that form.
    """
    with reading():
        return msgspec.convert(given, ConversationInput)


def read_note(given: object) -> str:
    """Return the text of a note.

    Raises:
        UnableToHandle: there is none.
    """
    with reading():
        return msgspec.convert(given, NoteInput).text


def who(actor: Actor) -> str:
    """Return by whom something is done, as events tell it."""
    return f"user {actor.user_id}" if actor.key_id is None else f"api_key {actor.key_id}"


def find(*, tenant_id: UUID, conversation_id: UUID) -> ConversationRow:
    """Return a tenant's conversation.

    Raises:
        UnableToHandle: there is none with this id.
    """
    found = conversation_queries.find_conversations(tenant_id=tenant_id, ids=[conversation_id])
    if not found:
        raise UnableToHandle(
            DeskErrorCode.CONVERSATION_NOT_FOUND,
            "conversation_id",
            "Your tenant has no conversation with this id.",
        )
    return found[0]


def members(*, tenant_id: UUID, user_ids: Collection[int]) -> set[int]:
    """Return which of these users are members of the tenant."""
    if not user_ids:
        return set()
    rows = Membership.objects.filter(tenant_id=tenant_id, user_id__in=user_ids)
    return set(rows.values_list("user_id", flat=True))


def assignee_of(actor: Actor, named: str | None) -> int | None:
    """Return whom a filter means: ``me``, ``none``, or a member by id.

    Raises:
        UnableToHandle: nobody.
    """
    if named is None or named == "none":
        return None if named is None else NOBODY
    user_id = actor.user_id if named == "me" else None
    if named.isascii() and named.isdigit() and len(named) < 10:
        user_id = int(named)
    if user_id is None:
        message = "Name a user by id, or say none, or (signed in, not with an API key) me."
        raise UnableToHandle(DeskErrorCode.INVALID_INPUT, "assignee", message)
    if named != "me" and not members(tenant_id=actor.tenant_id, user_ids=[user_id]):
        message = "This user is not a member of your tenant."
        raise UnableToHandle(DeskErrorCode.NOT_A_MEMBER, "assignee", message)
    return user_id


def change(
    actor: Actor, conversation_id: UUID, wanted: ConversationInput, *, now: datetime
) -> ConversationRow:
    """Change a conversation in the caller's transaction, and tell of what is new.

    Raises:
        UnableToHandle: it cannot be changed so; nothing was.
    """
    row = _lock(actor.tenant_id, conversation_id)
    changed = {
        "state": _set_state(row, wanted, now),
        "assignee": _set_assignee(row, wanted),
        "labels": _set_labels(row, wanted),
    }
    names = [name for name, is_new in changed.items() if is_new]
    if names:
        columns = ("state", "snoozed_until", "assignee_id", "label_ids")
        Conversation.objects.filter(tenant_id=row.tenant_id, id=row.id).update(
            **{column: getattr(row, column) for column in columns}
        )
    found = find(tenant_id=actor.tenant_id, conversation_id=row.id)
    if names:
        emit(notices.handled([_told(actor, found, names)], now=now))
    return found


def _lock(tenant_id: UUID, conversation_id: UUID) -> Conversation:
    """Return a conversation that nobody else changes, or makes one with another, until the
    transaction ends.

    Raises:
        UnableToHandle: there is none with this id.
    """
    rows = Conversation.objects.select_for_update(of=("self",), no_key=True)
    while True:  # whoever was waited for may have made it one with another
        found = find(tenant_id=tenant_id, conversation_id=conversation_id)
        row = rows.get(tenant_id=tenant_id, id=found.id)
        if row.merged_into is None:
            return row


def _told(actor: Actor, row: ConversationRow, changed: Sequence[str]) -> ConversationChange:
    return ConversationChange(
        actor.tenant_id,
        row.id,
        row.workspace_id,
        row.contact_id,
        row.state,
        row.assignee_id,
        row.label_ids,
        changed,
        who(actor),
    )


def _set_state(row: Conversation, wanted: ConversationInput, now: datetime) -> bool:
    if wanted.state is UNSET:
        if wanted.snoozed_until is not None:
            message = "Say with which state: SNOOZED."
            raise UnableToHandle(DeskErrorCode.INVALID_INPUT, "state", message)
        return False
    assert isinstance(wanted.state, ConversationState)  # noqa: S101 - for the checker of types
    until = wanted.snoozed_until
    if until is not None and until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    try:
        new = set_to(wanted.state, until, now=now)
    except BadTime as error:
        raise UnableToHandle(DeskErrorCode.INVALID_TIME, "snoozed_until", str(error)) from None
    before = Standing(ConversationState(row.state), row.snoozed_until)
    row.state, row.snoozed_until = new.state.value, new.until
    return new != before


def _set_assignee(row: Conversation, wanted: ConversationInput) -> bool:
    user_id = wanted.assignee_id
    if isinstance(user_id, UnsetType):
        return False
    if user_id is not None and not members(tenant_id=row.tenant_id, user_ids=[user_id]):
        message = "This user is not a member of your tenant; an administrator can make them one."
        raise UnableToHandle(DeskErrorCode.NOT_A_MEMBER, "assignee_id", message)
    is_new = user_id != row.assignee_id
    row.assignee_id = user_id
    return is_new


def _set_labels(row: Conversation, wanted: ConversationInput) -> bool:
    if not wanted.add_label_ids and not wanted.remove_label_ids:
        return False
    asked = {*row.label_ids, *wanted.add_label_ids}
    labels = ConversationLabel.objects.filter(tenant_id=row.tenant_id, id__in=asked)
    known = set(labels.values_list("id", flat=True))
    if not known.issuperset(wanted.add_label_ids):
        message = "Your tenant has no label with one of these ids; list them with labels."
        raise UnableToHandle(DeskErrorCode.LABEL_NOT_FOUND, "add_label_ids", message)
    before = [one for one in row.label_ids if one in known]
    kept = dict.fromkeys([*before, *wanted.add_label_ids])
    new = [one for one in kept if one not in wanted.remove_label_ids]
    # More than that come together where two conversations become one; those may be taken off.
    if len(new) > max(MOST_LABELS, len(before)):
        message = f"A conversation has at most {MOST_LABELS} labels; take others off."
        raise UnableToHandle(DeskErrorCode.TOO_MANY, "add_label_ids", message)
    row.label_ids = new
    return new != before


def wake(*, now: datetime) -> int:
    """Open the conversations whose time came; return how many. A batch is a transaction."""
    total = 0
    while True:
        with transaction.atomic():
            with bulk.cursor() as own:
                own.execute(WAKE, [now, WAKE_BATCH])
                woken = own.fetchall()
            changes = [ConversationChange._make((*row, ("state",), "clock")) for row in woken]
            if changes:
                emit(notices.handled(changes, now=now))
        total += len(woken)
        if len(woken) < WAKE_BATCH:
            return total


def add_note(actor: Actor, conversation_id: UUID, text: str, *, now: datetime) -> Note:
    """Keep a note about a conversation; it is never sent to anybody.

    Raises:
        UnableToHandle: no such conversation, or not a text that can be kept.
    """
    if not text.strip() or len(text) > LONGEST_NOTE or "\0" in text:
        message = f"A note has 1 to {LONGEST_NOTE} characters, and no NUL."
        raise UnableToHandle(DeskErrorCode.INVALID_INPUT, "text", message)
    key = uuid7()
    row = ConversationNote.objects.create(
        id=key,
        tenant_id=actor.tenant_id,
        conversation_id=_lock(actor.tenant_id, conversation_id).id,
        sealed_text=keys.field_cipher(actor.tenant_id).seal(
            text.encode(), _associated(actor.tenant_id, key)
        ),
        author_id=actor.user_id,
        author_key=actor.key_name,
        created_at=now,
    )
    return _opened(row)


def delete_note(*, tenant_id: UUID, note_id: UUID, conversation_id: UUID | None = None) -> None:
    """Delete a note.

    Raises:
        UnableToHandle: the tenant has none with this id, or not of this conversation.
    """
    rows = ConversationNote.objects.filter(tenant_id=tenant_id, id=note_id)
    if conversation_id is not None:
        found = find(tenant_id=tenant_id, conversation_id=conversation_id)
        rows = rows.filter(conversation_id=found.id)
    if not rows.delete()[0]:
        message = "Your tenant has no note with this id."
        raise UnableToHandle(DeskErrorCode.NOTE_NOT_FOUND, "note_id", message)


def read_notes(
    *, tenant_id: UUID, conversation_id: UUID, limit: int, after: Cursor | None
) -> Page[Note]:
    """Return a page of a conversation's notes, the newest first.

    Raises:
        UnableToHandle: no such conversation.
    """
    found = find(tenant_id=tenant_id, conversation_id=conversation_id)
    rows = ConversationNote.objects.filter(tenant_id=tenant_id, conversation_id=found.id)
    if after is not None:
        rows = rows.extra(where=["(created_at, id) < (%s, %s)"], params=[after.timestamp, after.id])
    notes = [_opened(row) for row in rows.order_by("-created_at", "-id")[: limit + 1]]
    return Page.of(notes, limit)


def place_of(note: Note) -> str:
    """Return a note's place in its list."""
    return encode(Cursor(note.created_at, note.id))


def _opened(row: ConversationNote) -> Note:
    sealed: Any = row.sealed_text
    text = keys.field_cipher(row.tenant_id).open(bytes(sealed), _associated(row.tenant_id, row.id))
    return Note(
        row.id, row.conversation_id, text.decode(), row.author_id, row.author_key, row.created_at
    )


def _associated(tenant_id: UUID, note_id: UUID) -> bytes:
    return f"{NOTE}:{tenant_id}:{note_id}".encode()
