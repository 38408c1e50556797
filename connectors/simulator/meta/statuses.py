"""The statuses of an accepted message that its business gets: sent, delivered, read, or failed.

https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages/status
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from connectors.simulator.meta.failures import webhook_error
from connectors.simulator.meta.plans import Plan, Preset
from connectors.simulator.meta.recipients import GraphRecipient, person
from connectors.simulator.meta.world import Json, SimulatorOptions

STEPS = ("sent", "delivered", "read")
LENGTHS = {Preset.NEVER_READ: 2, Preset.NEVER_DELIVERED: 1, Preset.SILENT: 0}
# How long a message is held for its quality to be assessed, in seconds.
HELD_FOR = 2.0
DAY = 24 * 3600


class AcceptedMessage(NamedTuple):
    """An accepted message. ``category`` is what it is priced as; ``time`` Unix seconds."""

    n: int
    wamid: str
    waba_id: str
    phone_number_id: str
    recipient: GraphRecipient
    category: str
    callback_data: str
    time: float


class StatusStep(NamedTuple):
    """A status, due ``after`` seconds from acceptance."""

    status: str
    after: float
    error: Json | None = None


def steps(plan: Plan, options: SimulatorOptions) -> Iterator[StatusStep]:
    """Yield the statuses of a message that was accepted under ``plan``."""
    delays = [delay / 1000 for delay in options.status_delays_ms]
    if plan.preset is Preset.FAILED:
        yield StatusStep("failed", delays[0], webhook_error(plan.code, plan.details))
        return
    if plan.preset is Preset.HELD_DROPPED:
        error = webhook_error(132015, "Template is paused due to low quality.")
        yield StatusStep("failed", HELD_FOR, error)
        return
    held = HELD_FOR if plan.preset is Preset.HELD else 0.0
    for status, delay in list(zip(STEPS, delays, strict=True))[: LENGTHS.get(plan.preset, 3)]:
        yield StatusStep(status, held + delay)


def item(message: AcceptedMessage, step: StatusStep) -> Json:
    """Return the entry of ``statuses`` for one step."""
    who = message.recipient
    status: Json = {
        "id": message.wamid,
        "status": step.status,
        "timestamp": str(int(message.time + step.after)),
        **_names(who),
    }
    if step.status == "sent":
        status["conversation"] = _conversation(message)
    if step.status in ("sent", "delivered"):
        status["pricing"] = _pricing(message.category)
    if message.callback_data:
        status["biz_opaque_callback_data"] = message.callback_data
    if step.error is not None:
        status["errors"] = [step.error]
    return status


def contact(message: AcceptedMessage, step: StatusStep) -> Json | None:
    """Return the entry of ``contacts`` beside it; there is none beside a failure."""
    if step.status == "failed" or message.recipient.group_id:
        return None
    return person(message.recipient).contact()


def _names(who: GraphRecipient) -> Json:
    if who.group_id:
        return {"recipient_id": who.group_id, "recipient_type": "group"}
    return person(who).named("recipient_id", "recipient_user_id")


def _conversation(message: AcceptedMessage) -> Json:
    name = f"{message.phone_number_id}:{message.recipient.key}:{message.category}"
    return {
        "id": hashlib.blake2b(name.encode(), digest_size=16).hexdigest(),
        "expiration_timestamp": str(int(message.time + DAY)),
        "origin": {"type": message.category},
    }


def _pricing(category: str) -> Json:
    is_free = category == "service"
    return {
        "billable": not is_free,
        "pricing_model": "PMP",
        "type": "free_customer_service" if is_free else "regular",
        "category": category,
    }
