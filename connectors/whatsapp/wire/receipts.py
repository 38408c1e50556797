"""From one wire status to an event: where a message of the business got to."""

from __future__ import annotations

from collections.abc import Iterable

from connectors.whatsapp.wire.codes import rule_of
from connectors.whatsapp.wire.facts import Json, about_nobody_known, compact, error_facts, masked
from connectors.whatsapp.wire.frames import Frame
from connectors.whatsapp.wire.parties import told_of
from connectors.whatsapp.wire.payloads import Status
from connectors.whatsapp.wire.updates import Event, Path, counted, happened
from lib.masking import as_it_came, word
from messaging.events import StatusUpdate, Stop

KNOWN_STATUSES = frozenset(("sent", "delivered", "read", "played", "failed", "deleted", "warning"))


def read_status(frame: Frame, status: Status, path: Path) -> tuple[Event, ...]:
    """Return what ``status`` means; one without message or word, or of a call, is only counted."""
    name = status.status if status.status in KNOWN_STATUSES else word(status.status)
    if not status.id or not name or status.type == "call":
        return (counted(frame.field, f"{word(status.type) or 'status'}:{name}"),)
    person = told_of(frame, status, path)
    errors = error_facts(status.errors) if status.errors else ()
    update = StatusUpdate(
        phone_number_id=frame.phone_number_id or "",
        platform_message_id=status.id,
        status=name,
        timestamp=happened(status.timestamp, frame.received_at),
        participant=_participant(status),
        recipient=person,
        errors=errors if person.phone else about_nobody_known(errors),
        pricing=_pricing(status),
        payment=as_it_came(status.payment or {}) if _is_payment(status) else None,
        callback_data=status.biz_opaque_callback_data,
        group_id=_group(status),
        stop=_stop(errors),
    )
    if name in KNOWN_STATUSES or update.payment is not None:
        return (update,)
    return (update, counted(frame.field, f"status:{name}"))


def _stop(errors: Iterable[Json]) -> Stop | None:
    """Return the first error that, as the answer to a send, would stop more than its message."""
    for error in errors:
        code = error.get("code")
        if not isinstance(code, int):
            continue
        rule = rule_of(code, message=str(error.get("message")))
        if rule is not None and rule.stops:
            return Stop(code, rule.reach, rule.reason(code))
    return None


def _group(status: Status) -> str | None:
    if status.recipient_type != "group" or status.recipient_id is None:
        return None
    return str(status.recipient_id) or None


def _participant(status: Status) -> str:
    """Return what tells apart the statuses that share an id: group receipts, payments."""
    if _is_payment(status):
        return f"payment:{status.timestamp if status.timestamp is not None else ''}"
    participant = (
        status.recipient_participant_id
        or status.participant_recipient_id
        or status.recipient_participant_user_id
    )
    return str(participant) if participant else ""


def _is_payment(status: Status) -> bool:
    """Tell whether it is about the payment that a message asked for, not about the message (Meta,
    "Payments API": type ``payment``; the amount is ``value`` divided by ``offset``).
    """
    return status.type == "payment" or status.payment is not None


def _pricing(status: Status) -> Json | None:
    """Return the price facts; a call for ``type`` and ``category``, as ``billable`` is to go."""
    conversation = status.conversation
    pricing = status.pricing or (conversation and conversation.pricing)
    origin = conversation.origin if conversation is not None else None
    if not pricing and origin is None:
        return None
    facts = compact(
        billable=pricing and pricing.billable,
        pricing_model=pricing and masked(pricing.pricing_model),
        type=pricing and masked(pricing.type),
        category=pricing and masked(pricing.category),
        origin=origin and masked(origin.type),
    )
    return facts or None
