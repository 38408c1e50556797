"""Tell a caller, and the log, what came of his message."""

from __future__ import annotations

from connectors.linked_device import logs
from connectors.sender.asking import Wanted
from connectors.sender.callers import Caller
from connectors.sender.messages import Accepted
from connectors.sender.outcomes import SENT, Seen, failure_of
from connectors.sender.refusals import Headers
from connectors.sender.replies import Reply, reply_of
from lib.numbering import international
from workspaces.models import HOSTED

REPLAYED: Headers = (("idempotency-replayed", "true"),)


def tell(accepted: Accepted, seen: Seen) -> Reply:
    """Return the answer to a message that was accepted, by what is known of it now."""
    headers = REPLAYED if accepted.is_repeat else ()
    failure = failure_of(seen, accepted.message_id)
    if failure is not None:
        failed = reply_of(failure)
        return Reply(failed.status, failed.body, (*failed.headers, *headers))
    body = {"success": True, "message_id": str(accepted.message_id)}
    if seen.status in SENT:
        return Reply(200, body, headers)
    return Reply(202, {**body, "status": seen.status}, headers)


def note(caller: Caller, wanted: Wanted, accepted: Accepted, seen: Seen) -> None:
    """Log an outcome, unless a session process did so where it sent the message."""
    if not seen.is_settled or seen.transport in HOSTED:
        return
    number = international(wanted.phone)
    failure = failure_of(seen, accepted.message_id)
    if failure is None:
        logs.sent(
            message_id=accepted.message_id, workspace_id=caller.workspace_id, number=number,
            transport=seen.transport,
        )  # fmt: skip
    else:
        logs.failed(
            message_id=accepted.message_id, workspace_id=caller.workspace_id, number=number,
            code=failure.code, message=failure.message,
        )  # fmt: skip
