"""What belongs to a page of messages, loaded for all of them at once when first asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from uuid import UUID

from messaging.inbound import SEALED_ID
from messaging.models import Contact, Media, Message, MessageStatus
from workspaces import keys
from workspaces.envelope import associated_data, key_id_of
from workspaces.models import Workspace

# Returns the original JSON object of each message, by message id, as far as it is kept.
RawReader = Callable[[Sequence[Message]], Mapping[UUID, dict[str, object]]]


class Related:
    """The relations of some messages of one tenant: one query for each kind, however many."""

    def __init__(
        self,
        tenant_id: UUID,
        messages: Sequence[Message],
        read_raw: RawReader,
        workspace: Workspace | None = None,
    ) -> None:
        self._tenant_id, self._messages, self._read_raw = tenant_id, messages, read_raw
        if workspace is not None:  # they are all of one, which is loaded already
            self.workspaces = {workspace.id: workspace}

    @cached_property
    def workspaces(self) -> dict[UUID, Workspace]:
        """The workspaces by id."""
        ids = {message.workspace_id for message in self._messages}
        rows = Workspace.objects.filter(tenant_id=self._tenant_id, pk__in=ids)
        return {row.id: row for row in rows}

    @cached_property
    def contacts(self) -> dict[UUID, Contact]:
        """The people at the other end, by contact id."""
        ids = {message.contact_id for message in self._messages if message.contact_id}
        rows = Contact.objects.filter(tenant_id=self._tenant_id, pk__in=ids)
        return {row.id: row for row in rows}

    @cached_property
    def media(self) -> dict[UUID, Media]:
        """The files by message id."""
        ids = [message.id for message in self._messages]
        rows = Media.objects.filter(tenant_id=self._tenant_id, message_id__in=ids)
        return {row.message_id: row for row in rows}

    @cached_property
    def statuses(self) -> dict[tuple[UUID, str], list[MessageStatus]]:
        """The receipts by workspace and platform message id, oldest first."""
        rows = MessageStatus.objects.filter(
            tenant_id=self._tenant_id,
            workspace_id__in={message.workspace_id for message in self._messages},
            platform_message_id__in=[message.platform_message_id for message in self._messages],
        )
        found: dict[tuple[UUID, str], list[MessageStatus]] = defaultdict(list)
        for row in rows.order_by("timestamp_utc", "id"):
            found[row.workspace_id, row.platform_message_id].append(row)
        return found

    @cached_property
    def raw(self) -> Mapping[UUID, dict[str, object]]:
        """The original JSON objects by message id, without those that were purged."""
        return self._read_raw(self._messages)

    @cached_property
    def clear_ids(self) -> dict[UUID, str]:
        """The platform's own message ids by message id, without those whose day was purged."""
        sealed = {m.id: bytes(m.sealed_id) for m in self._messages if m.sealed_id is not None}
        alive = keys.preload(sealed.values())
        return {
            message_id: self._open(message_id, value)
            for message_id, value in sealed.items()
            if key_id_of(value) in alive
        }

    def _open(self, message_id: UUID, sealed: bytes) -> str:
        associated = associated_data(self._tenant_id, SEALED_ID, message_id)
        return keys.cipher_of(sealed).open(sealed, associated).decode()
