"""A draft: a request with all that is known about it, and every reason against it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from messaging.sending import limits
from messaging.sending.content import Body, body_of
from messaging.sending.recipients import normalised
from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.sending.requests import ReactionContent, Recipient, SendRequest, TemplateContent
from messaging.sending.targets import Target
from messaging.sending.templates import Found
from messaging.sending.timing import Times


@dataclass(slots=True, eq=False)
class Draft:
    """One request on its way: ``reasons`` are all reasons against it.

    ``recipient`` is missing where it could not be read; ``quoted`` and ``reacted`` are wamids.
    """

    request: SendRequest
    reasons: list[UnableToSend] = field(default_factory=list)
    recipient: Recipient | None = None
    contact_id: UUID | None = None
    template: Found | None = None
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
