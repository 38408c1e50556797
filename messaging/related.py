"""What belongs to a page of messages or of conversations, loaded for all of them at once when first
asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from lib import clock
from messaging import (
    blocks,
    conversation_queries,
    labels,
    optouts,
    payments,
    queries,
    receipts,
    sealed_values,
)
from messaging.blocks import BlockRow
from messaging.conversation_queries import ConversationRow, Place
from messaging.conversations import WINDOW, still_open
from messaging.events import is_typed
from messaging.holds import Holds
from messaging.labels import LabelRow
from messaging.models import Media, MessageStatus
from messaging.payments import Payment
from messaging.queries import ContactRow, MessagePage, MessageRow, Window
from messaging.statuses import SEALED_IN, oldest_first
from workspaces.models import Workspace


@dataclass(frozen=True, slots=True)
class Original:
    """A message as the platform sent it: its own id for it, and the JSON object."""

    wamid: str
    body: dict[str, object] | None


# Returns the originals of a tenant's messages by message id, as far as they are kept.
OriginalsReader = Callable[[UUID, Sequence[UUID]], Mapping[UUID, Original]]


class OpenedValues:
    """The values of some messages of one tenant that are sealed, opened at once when first asked
    for.
    """

    def __init__(self, tenant_id: UUID, messages: Iterable[MessageRow]) -> None:
        self._tenant_id = tenant_id
        self._sealed = {m.id: bytes(m.sealed_values) for m in messages if m.sealed_values}

    def fill(self, message_id: UUID, value: Any, *, with_numbers: bool = False) -> Any:
        """Return ``value``, a stored part of a message, as it came, see `sealed_values.fill`."""
        if message_id not in self._sealed:
            return value
        return sealed_values.fill(value, self._values[message_id], with_numbers=with_numbers)

    def text_of(self, message: MessageRow) -> str | None:
        """Return the text of a message as it came; what somebody typed may look like anything."""
        if is_typed(message.type, message.source):
            return message.text
        text: str | None = self.fill(message.id, message.text)
        return text

    @cached_property
    def _values(self) -> dict[UUID, sealed_values.Values]:
        return sealed_values.open_values(self._sealed, tenant_id=self._tenant_id)


class Related:
    """The relations of some messages of one tenant: one query for each kind, however many."""

    def __init__(
        self,
        tenant_id: UUID,
        messages: Sequence[MessageRow],
        read_originals: OriginalsReader = lambda tenant_id, message_ids: {},
    ) -> None:
        self._tenant_id, self._messages = tenant_id, messages
        self._read_originals = read_originals
        self.opened = OpenedValues(tenant_id, messages)
        self.holds = Holds(tenant_id, messages)

    @cached_property
    def workspaces(self) -> dict[UUID, Workspace]:
        """The workspaces by id."""
        ids = {message.workspace_id for message in self._messages}
        rows = Workspace.objects.filter(tenant_id=self._tenant_id, pk__in=ids)
        return {row.id: row for row in rows}

    @cached_property
    def contacts(self) -> dict[UUID, ContactRow]:
        """The people at the other end, by contact id."""
        ids = {message.contact_id for message in self._messages if message.contact_id}
        return queries.contacts(tenant_id=self._tenant_id, ids=ids)

    def conversation_of(self, message: MessageRow) -> ShownConversation | None:
        """Return the conversation that a message is said in; there is none with groups."""
        place = _place_of(message)
        return self._conversations.get(place) if place else None

    @cached_property
    def _conversations(self) -> dict[Place, ShownConversation]:
        places = {place for message in self._messages if (place := _place_of(message))}
        found = conversation_queries.conversations_of(tenant_id=self._tenant_id, people=places)
        rows = list({row.id: row for row in found.values()}.values())
        shown = show_conversations(self._tenant_id, rows, self._read_originals)
        by_id = {one.row.id: one for one in shown}
        return {place: by_id[row.id] for place, row in found.items()}

    @cached_property
    def opted_out(self) -> set[UUID]:
        """The people at the other end who want no marketing, by contact id."""
        people = {contact.id for contact in self.contacts.values()}
        return optouts.opted_out(tenant_id=self._tenant_id, contact_ids=people)

    @cached_property
    def blocks(self) -> Mapping[UUID, Sequence[BlockRow]]:
        """Whom which numbers block, by contact id."""
        people = {contact.id for contact in self.contacts.values()}
        return blocks.of_contacts(tenant_id=self._tenant_id, contact_ids=people)

    @cached_property
    def media(self) -> dict[UUID, Media]:
        """The files by message id."""
        ids = [message.id for message in self._messages]
        rows = Media.objects.filter(tenant_id=self._tenant_id, message_id__in=ids)
        found = {row.message_id: row for row in rows}
        for message_id, row in found.items():
            row.filename = self.opened.fill(message_id, row.filename)
        return found

    def statuses(self, message: MessageRow, *, with_numbers: bool) -> list[MessageStatus]:
        """Return the receipts of a message, oldest first; ``with_numbers``: with errors that hold
        any, too.
        """
        rows = [row for row in self._receipts_of(message) if not payments.is_payment(row)]
        return [self._as_it_came(row, with_numbers) for row in rows]

    def payments(self, message: MessageRow) -> list[Payment]:
        """Return what was told of payments that a message asked for, oldest first."""
        return payments.of_receipts(self._receipts_of(message), self._receipt_values)

    def delivery_of(self, message: MessageRow, *, with_numbers: bool) -> dict[str, Any]:
        """Return a message's delivery, see `Holds.delivery_of`, with its errors as they came: what
        is sealed of them is kept with the receipt that told them, and holds a number.
        """
        delivery = self.holds.delivery_of(message)
        teller = delivery.pop(SEALED_IN, None)
        for name in delivery.keys() & {"errors", "past_errors"}:
            stored = delivery[name]
            if (purged := sealed_values.fill(stored, None)) != stored:
                told = [r for r in self._receipts_of(message) if _may_tell(r, stored, teller)]
                opened = [self._as_it_came(one, with_numbers).errors for one in told]
                delivery[name] = opened[0] if len(told) == 1 else purged
        return delivery

    def _as_it_came(self, receipt: MessageStatus, with_numbers: bool) -> MessageStatus:
        if not (receipt.errors and receipt.sealed_values):
            return receipt
        shown, values = copy(receipt), self._receipt_values[receipt.pk]
        if values is not None and not with_numbers:
            values = [sealed_values.NEEDS_RAW_READ] * len(values)
        shown.errors = sealed_values.fill(receipt.errors, values)
        return shown

    def _receipts_of(self, message: MessageRow) -> list[MessageStatus]:
        if message.platform_message_id is None:  # ours, and the platform did not take it yet
            return []
        return self._receipts.get((message.workspace_id, message.platform_message_id), [])

    @cached_property
    def _receipt_values(self) -> Mapping[int, sealed_values.Values]:
        rows = (row for rows in self._receipts.values() for row in rows)
        return receipts.open_all(rows, tenant_id=self._tenant_id)

    @cached_property
    def _receipts(self) -> dict[tuple[UUID, str], list[MessageStatus]]:
        rows = MessageStatus.objects.filter(
            tenant_id=self._tenant_id,
            workspace_id__in={message.workspace_id for message in self._messages},
            platform_message_id__in=[message.platform_message_id for message in self._messages],
        )
        found: dict[tuple[UUID, str], list[MessageStatus]] = defaultdict(list)
        for row in oldest_first(rows):
            found[row.workspace_id, row.platform_message_id].append(row)
        return found

    @cached_property
    def originals(self) -> Mapping[UUID, Original]:
        """What the platform sent, by message id, without what was purged."""
        return self._read_originals(self._tenant_id, [message.id for message in self._messages])


def _may_tell(receipt: MessageStatus, errors: object, teller: str | None) -> bool:
    """Whether a receipt told these errors; ``teller`` is not known of messages from before."""
    known = teller in (None, receipts.sealed_row(receipt.status, receipt.participant))
    return known and receipt.errors == errors


def _place_of(message: MessageRow) -> Place | None:
    if message.contact_id is None or message.group_id is not None:
        return None
    return message.workspace_id, message.contact_id


class RelatedToConversations:
    """The relations of some conversations: one query for each kind, and of messages for each
    workspace.
    """

    def __init__(
        self,
        tenant_id: UUID,
        conversations: Sequence[ConversationRow],
        read_originals: OriginalsReader,
    ) -> None:
        self._tenant_id, self._conversations = tenant_id, conversations
        self._read_originals = read_originals
        self._pages: dict[tuple[UUID, Window], tuple[dict[UUID, MessagePage], Related]] = {}
        self.now = clock.now()

    @cached_property
    def contacts(self) -> dict[UUID, ContactRow]:
        """The people, by contact id."""
        ids = {conversation.contact_id for conversation in self._conversations}
        return queries.contacts(tenant_id=self._tenant_id, ids=ids)

    @cached_property
    def opted_out(self) -> set[UUID]:
        """The people who want no marketing, by contact id."""
        people = {contact.id for contact in self.contacts.values()}
        return optouts.opted_out(tenant_id=self._tenant_id, contact_ids=people)

    @cached_property
    def blocks(self) -> Mapping[UUID, Sequence[BlockRow]]:
        """Whom which numbers block, by contact id."""
        people = {contact.id for contact in self.contacts.values()}
        return blocks.of_contacts(tenant_id=self._tenant_id, contact_ids=people)

    @cached_property
    def labels(self) -> dict[UUID, LabelRow]:
        """The labels on them, by id."""
        ids = {label_id for each in self._conversations for label_id in each.label_ids}
        found = labels.read_labels(tenant_id=self._tenant_id, ids=ids) if ids else []
        return {label.id: label for label in found}

    @cached_property
    def last(self) -> tuple[dict[UUID, MessageRow], Related]:
        """The last message of each by its id, and what belongs to them."""
        ids = [conversation.last_message_id for conversation in self._conversations]
        messages = conversation_queries.messages_by_id(tenant_id=self._tenant_id, ids=ids)
        return {message.id: message for message in messages}, self._related(messages)

    def messages(
        self, conversation: ConversationRow, window: Window
    ) -> tuple[MessagePage, Related]:
        """Return part of a conversation; that of the workspace's others is read with it."""
        workspace_id = conversation.workspace_id
        if (workspace_id, window) not in self._pages:
            others = [one for one in self._conversations if one.workspace_id == workspace_id]
            pages = conversation_queries.read_messages(
                tenant_id=self._tenant_id,
                workspace_id=workspace_id,
                contact_ids=[each.contact_id for each in others],
                window=window,
            )
            everything = [message for page in pages.values() for message in page.messages]
            self._pages[workspace_id, window] = pages, self._related(everything)
        pages, related = self._pages[workspace_id, window]
        return pages[conversation.contact_id], related

    def _related(self, messages: Sequence[MessageRow]) -> Related:
        return Related(self._tenant_id, messages, self._read_originals)


@dataclass(frozen=True, slots=True)
class ShownConversation:
    """A conversation among others."""

    row: ConversationRow
    threads: RelatedToConversations

    @property
    def window_open_until(self) -> datetime | None:
        """When the customer care window closes; ``None``: it is not open."""
        heard = self.row.last_inbound_at
        return still_open(heard and heard + WINDOW, now=self.threads.now)


def show_conversations(
    tenant_id: UUID,
    rows: Sequence[ConversationRow],
    read_originals: OriginalsReader = lambda tenant_id, message_ids: {},
) -> list[ShownConversation]:
    """Return conversations, each with what belongs to all of them."""
    threads = RelatedToConversations(tenant_id, rows, read_originals)
    return [ShownConversation(row, threads) for row in rows]
