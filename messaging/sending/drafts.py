"""A draft: a request with all that is known about it, the message it answers or reacts to included,
and every reason against it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from lib.envelope import CannotOpen, associated_data
from lib.sql import columns_of, select
from messaging.identities import SURVIVOR
from messaging.references import SEALED_ID
from messaging.sending import limits
from messaging.sending.content import Body, body_of
from messaging.sending.recipients import normalised
from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.sending.requests import ReactionContent, Recipient, SendRequest, TemplateContent
from messaging.sending.templates import FoundTemplate
from messaging.sending.timing import Times
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
).replace(
    "contact_id",
    SURVIVOR.format(tenant_id="messages.tenant_id", contact_id="messages.contact_id"),
    1,
)


@dataclass(slots=True, eq=False)
class Draft:
    """One request on its way: ``reasons`` are all reasons against it.

    ``recipient`` is missing where it could not be read; ``quoted`` and ``reacted`` are wamids.
    """

    request: SendRequest
    reasons: list[UnableToSend] = field(default_factory=list)
    recipient: Recipient | None = None
    contact_id: UUID | None = None
    template: FoundTemplate | None = None
    window_ends: datetime | None = None
    room_at: datetime | None = None
    times: Times | None = None
    target: Target | None = None
    quoted: str | None = None
    reacted: str | None = None

    def refuse(self, code: SendErrorCode, field: str | None, message: str) -> None:
        """Add a reason."""
        self.reasons.append(UnableToSend(code, field, message))

    @property
    def is_open(self) -> bool:
        """Whether the person's window is open when the message is due."""
        times, ends = self.times, self.window_ends
        return times is not None and ends is not None and ends > times.due

    def body(self) -> Body:
        """Return the body of a message that has no reason against it."""
        content = self.request.content
        if isinstance(content, TemplateContent):
            assert self.template is not None  # noqa: S101 - or there would be a reason
            return self.template.body(content)
        return body_of(content, self.reacted)


def shaped(request: SendRequest) -> Draft:
    """Return a draft with what can be said of a request by itself, at any time."""
    draft = Draft(request)
    try:
        draft.recipient = normalised(request.recipient)
    except UnableToSend as reason:
        draft.reasons.append(reason)
    for fault in limits.faults(request.content):
        draft.refuse(SendErrorCode.INVALID_INPUT, fault.field, fault.message)
    for fault in limits.of_key(request.idempotency_key):
        draft.refuse(SendErrorCode.INVALID_INPUT, fault.field, fault.message)
    if request.reply_to is not None and isinstance(request.content, ReactionContent):
        draft.refuse(
            SendErrorCode.INVALID_INPUT, "reply_to", "A reaction names its message by itself."
        )
    return draft


def find_targets(*, tenant_id: UUID, ids: Collection[UUID]) -> dict[UUID, Target]:
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
    conversation = workspace_id, contact_id
    is_here = target and (target.workspace_id, target.contact_id) == conversation
    if target is None or contact_id is None or target.group_id is not None or not is_here:
        raise UnableToSend(
            SendErrorCode.REPLY_TARGET_NOT_FOUND,
            field,
            "There is no message with this id in the conversation with this person.",
        )
    if target.platform_message_id is None or target.sealed_id is None:
        raise UnableToSend(
            SendErrorCode.REPLY_TARGET_NOT_FOUND,
            field,
            "The platform has no id for this message yet: it was not sent, or its answer is out.",
        )
    return open_wamid(target, field)


def open_wamid(target: Target, field: str) -> str:
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
            SendErrorCode.REPLY_TARGET_GONE,
            field,
            "The platform's id of this message was purged with its day; it cannot be named to the "
            "platform any more.",
        ) from None
