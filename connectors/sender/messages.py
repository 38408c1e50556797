"""A text of the sender service: read from a request, queued like every message, looked up."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from connectors.sender import outcomes
from connectors.sender.callers import ApiCaller
from connectors.sender.errors import ServiceError, not_queued, unavailable
from connectors.sender.outcomes import DeliveryStatus
from lib import clock, rates
from messaging import queries
from messaging.events import Source
from messaging.sending import queueing
from messaging.sending.queueing import Queued
from messaging.sending.refusals import UnableToSend
from messaging.sending.requests import Recipient, SendRequest, TextContent
from messaging.states import State
from workspaces.acting import as_tenant

FIELDS = ("phone", "message")
EXAMPLE = '{"phone": "+27821234567", "message": "Hello"}'
# Python's types of JSON's values, in JSON's words; the others are those of numbers.
KINDS = {bool: "true or false", list: "a list", dict: "an object", type(None): "null"}
LONGEST_NAME = 64
_WAIT = re.compile(r'wait\s*=\s*"?([0-9]{1,6})"?', re.IGNORECASE)
# The times in a message's ``delivery``; when it is due is no step of its way.
TIMES = [f"{state.value}_at" for state in State if state != State.SENDING]


@dataclass(frozen=True, slots=True)
class TextMessage:
    """A text to a number, as it was given."""

    phone: str = field(repr=False)
    message: str = field(repr=False)


def text_in(body: bytes) -> TextMessage:
    """Read the body of ``/send``.

    Raises:
        ServiceError: it is not a JSON object with the two texts, and nothing else.
    """
    try:
        given = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        message = f"The body is not JSON. Send {EXAMPLE}"
        raise ServiceError(400, "BAD_REQUEST", message) from None
    if not isinstance(given, dict):
        raise ServiceError(400, "BAD_REQUEST", f"The body must be a JSON object: {EXAMPLE}")
    unknown = [name for name in given if name not in FIELDS]
    if unknown:
        shown = ", ".join(_shown(name) for name in unknown[:5])
        raise _invalid(f"Unknown in the body: {shown}. It takes phone and message, nothing else.")
    for name in FIELDS:
        if name not in given:
            raise _invalid(f"{name}: This is missing. Send {EXAMPLE}")
        if not isinstance(given[name], str):
            kind = KINDS.get(type(given[name]), "a number")
            raise _invalid(f"{name}: This must be a text in quotes, not {kind}.")
    return TextMessage(given["phone"], given["message"])


def seconds_to_wait(prefer: bytes, most: float) -> float:
    """Return for how long the caller waits for an outcome, by their ``Prefer`` header and ``most``
    seconds at the longest. What is not understood in it is ignored.

    Rule: RFC 7240, §2, §4.1 and §4.3: with both, the answer is early once ``wait`` is over.
    """
    preferences = [one.partition(";")[0].strip() for one in prefer.decode("latin-1").split(",")]
    waits = [int(found[1]) for one in preferences if (found := _WAIT.fullmatch(one))]
    if waits:
        return min(float(waits[0]), most)
    return 0.0 if "respond-async" in map(str.lower, preferences) else most


def queue(
    caller: ApiCaller, text: TextMessage, *, idempotency_key: str | None
) -> tuple[Queued, DeliveryStatus]:
    """Queue a message for the caller's workspace, within their rate; return it, and how far it is
    (a repeat may be at its end). Blocks.

    Raises:
        ServiceError: too fast, or there is a reason against it; nothing was stored.
    """
    _charge(caller)
    request = SendRequest(
        workspace_id=caller.workspace_id,
        recipient=Recipient(phone=text.phone),
        content=TextContent(text.message),
        idempotency_key=idempotency_key,
    )
    try:
        with as_tenant(caller.tenant_id, timeout_ms=settings.SIGMA_GRAPHQL_TIMEOUT_MS):
            queued = queueing.queue(tenant_id=caller.tenant_id, request=request, now=clock.now())
    except UnableToSend as refusal:
        raise not_queued(refusal) from None
    status = DeliveryStatus(queued.status)
    if queued.is_repeat and status.is_final:
        key = caller.tenant_id, queued.message_id
        status = outcomes.find([key]).get(key, status)
    return queued, status


def describe(caller: ApiCaller, given_id: str) -> dict[str, object]:
    """Return what is known of a message that was sent from the caller's workspace; blocks.

    Raises:
        ServiceError: there is none.
    """
    not_found = ServiceError(
        404, "MESSAGE_NOT_FOUND", "This workspace sent no message with this id."
    )
    try:
        message_id = UUID(given_id)
    except ValueError:
        raise not_found from None
    with as_tenant(caller.tenant_id, timeout_ms=settings.SIGMA_GRAPHQL_TIMEOUT_MS):
        row = queries.find(tenant_id=caller.tenant_id, message_id=message_id)
    if row is None or row.workspace_id != caller.workspace_id or row.source != Source.API:
        raise not_found
    delivery: dict[str, Any] = json.loads(row.delivery)
    failure = outcomes.failure_of(DeliveryStatus(row.status or "", delivery), row.id)
    times = [delivery[name] for name in TIMES if name in delivery]
    return {
        "success": True,
        "message_id": str(row.id),
        "status": row.status,
        "queued_at": delivery.get("queued_at") or row.timestamp_utc.isoformat(),
        "updated_at": max(times, key=datetime.fromisoformat, default=None),
        "error": failure and failure.facts,
    }


def _charge(caller: ApiCaller) -> None:
    rate = settings.SIGMA_SENDER_RATE
    message = f"This key may send {rate} messages a minute"
    try:
        rates.charge(f"sender:{caller.bucket}", rate=rate, message=message)
    except rates.CannotCount:
        raise unavailable("The broker cannot be reached; nothing was sent. Try again.") from None
    except rates.RateExceeded as limited:
        again = (("retry-after", str(limited.seconds)),)
        raise ServiceError(
            429, "RATE_LIMITED", str(limited), retryable=True, headers=again
        ) from None


def _shown(name: str) -> str:
    return repr(name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "…")


def _invalid(message: str) -> ServiceError:
    return ServiceError(400, "INVALID_INPUT", message)
