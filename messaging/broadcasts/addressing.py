"""The request of a row, the same for its check and for its sending; and what answers mean."""

from __future__ import annotations

from datetime import datetime

from messaging.broadcasts.taking import Opened
from messaging.models import Broadcast
from messaging.sending.refusals import SendErrorCode
from messaging.sending.requests import Recipient, SendRequest, TemplateContent
from messaging.sending.timing import FURTHEST

# Reasons against every row alike: the broadcast stops, and its rows stay as they are.
WHOLE = frozenset(
    {
        SendErrorCode.WORKSPACE_NOT_FOUND, SendErrorCode.WORKSPACE_INACTIVE,
        SendErrorCode.UNSUPPORTED_TRANSPORT, SendErrorCode.TEMPLATE_NOT_FOUND,
        SendErrorCode.TEMPLATE_LANGUAGE, SendErrorCode.TEMPLATE_NOT_APPROVED,
        SendErrorCode.TEMPLATE_PAUSED, SendErrorCode.TEMPLATE_DISABLED,
    }
)  # fmt: skip
# Mistakes of a row, for whoever wrote the list to put right.
MISTAKES = frozenset(
    {
        SendErrorCode.TEMPLATE_PARAMETERS, SendErrorCode.INVALID_INPUT,
        SendErrorCode.BSUID_NOT_SUPPORTED,
    }
)  # fmt: skip
# What passes by itself.
FOR_NOW = frozenset({SendErrorCode.LIMIT_REACHED})


def request_of(
    broadcast: Broadcast, row: Opened, recipient: Recipient, now: datetime
) -> SendRequest:
    """Return the request. Its key is the second guard against sending twice; the first is that the
    message and the row's mark are committed together. A row whose message failed, and that is sent
    again, has another key each time.
    """
    expires_at = broadcast.expires_at
    again = f":{row.retries}" if row.retries else ""
    return SendRequest(
        workspace_id=broadcast.workspace_id,
        recipient=recipient,
        content=TemplateContent(broadcast.template_name, broadcast.language, row.parameters),
        idempotency_key=f"broadcast:{broadcast.id}:{row.position}{again}",
        expires_at=expires_at and min(expires_at, now + FURTHEST),
        broadcast_id=broadcast.id,
    )
