"""What belongs to a page of conversations, loaded for all of them at once when first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from uuid import UUID

from messaging import conversation_queries, optouts, queries
from messaging.conversation_queries import ConversationRow
from messaging.queries import ContactRow, MessagePage, MessageRow, Window
from messaging.related import OriginalsReader, Related


class Threads:
    """The relations of some conversations of one workspace: one query for each kind."""

    def __init__(
        self,
        tenant_id: UUID,
        conversations: Sequence[ConversationRow],
        read_originals: OriginalsReader,
    ) -> None:
        self._tenant_id, self._conversations = tenant_id, conversations
        self._read_originals = read_originals
        self._pages: dict[Window, tuple[dict[UUID, MessagePage], Related]] = {}

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
    def last(self) -> tuple[dict[UUID, MessageRow], Related]:
        """The last message of each by its id, and what belongs to them."""
        ids = [conversation.last_message_id for conversation in self._conversations]
        messages = conversation_queries.messages_by_id(tenant_id=self._tenant_id, ids=ids)
        return {message.id: message for message in messages}, self._related(messages)

    def messages(
        self, conversation: ConversationRow, window: Window
    ) -> tuple[MessagePage, Related]:
        """Return part of a conversation; that of the others is read with it."""
        if window not in self._pages:
            pages = conversation_queries.read_messages(
                tenant_id=self._tenant_id,
                workspace_id=conversation.workspace_id,
                contact_ids=[each.contact_id for each in self._conversations],
                window=window,
            )
            everything = [message for page in pages.values() for message in page.messages]
            self._pages[window] = pages, self._related(everything)
        pages, related = self._pages[window]
        return pages[conversation.contact_id], related

    def _related(self, messages: Sequence[MessageRow]) -> Related:
        return Related(self._tenant_id, messages, self._read_originals)
