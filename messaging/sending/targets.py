"""The messages that others answer or react to, with the platform's ids of them in the clear."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from lib.envelope import CannotOpen, associated_data
from lib.sql import columns_of, select
from messaging.identities import SURVIVOR
from messaging.inbound import SEALED_ID
from messaging.sending.refusals import SendErrorCode, UnableToSend
from workspaces import keys


class Target(NamedTuple):
    """A message of the tenant, as it is stored."""

    id: UUID
    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID | None
    group_id: str | None
    direction: str
    platform_message_id: str | None
    sealed_id: bytes | None


FIND = " ".join(
    ("SELECT", columns_of(Target), "FROM messages WHERE tenant_id = %s AND id = ANY(%s)")
).replace("contact_id", SURVIVOR.format(contact_id="messages.contact_id"), 1)


def find(*, tenant_id: UUID, ids: Collection[UUID]) -> dict[UUID, Target]:
    """Return some of a tenant's messages by id."""
    rows = select(Target, FIND, [tenant_id, list(ids)]) if ids else []
    return {row.id: row for row in rows}


def wamid_of(
    target: Target | None, *, workspace_id: UUID, contact_id: UUID | None, field: str
) -> str:
    """Return the platform's id of a message of one conversation; there are none with groups.

    Raises:
        UnableToSend: it is not there, of another conversation, not sent yet, or purged.
    """
    if (
        target is None or contact_id is None or target.group_id is not None
        or (target.workspace_id, target.contact_id) != (workspace_id, contact_id)
    ):  # fmt: skip
        raise UnableToSend(
            SendErrorCode.REPLY_TARGET_NOT_FOUND, field,
            "There is no message with this id in the conversation with this person.",
        )  # fmt: skip
    if target.platform_message_id is None or target.sealed_id is None:
        raise UnableToSend(
            SendErrorCode.REPLY_TARGET_NOT_FOUND, field,
            "The platform has no id for this message yet: it was not sent, or its answer is out.",
        )  # fmt: skip
    return opened(target, field)


def opened(target: Target, field: str) -> str:
    """Return the platform's id of a message that has one.

    Raises:
        UnableToSend: the key of its day is gone.
    """
    sealed = bytes(target.sealed_id or b"")
    associated = associated_data(target.tenant_id, SEALED_ID, target.id)
    try:
        return keys.cipher_of(sealed).open(sealed, associated).decode()
    except CannotOpen:
        raise UnableToSend(
            SendErrorCode.REPLY_TARGET_GONE, field,
            "The platform's id of this message was purged with its day; it cannot be named to the "
            "platform any more.",
        ) from None  # fmt: skip
