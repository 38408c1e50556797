"""What a number may do, from what the platform said about it.

https://developers.facebook.com/docs/whatsapp/cloud-api/overview#throughput
https://developers.facebook.com/docs/whatsapp/messaging-limits
"""

from __future__ import annotations

import re
from uuid import UUID

from lib.envelope import CannotOpen, associated_data
from lib.masking import mask_number
from messaging.models import NumberState
from workspaces import keys

PLACE = "number_states.sealed_number"
# Meta, "Throughput": 80 messages a second unless reported otherwise, 20 while the number is also
# on the Business app, 1,000 after the automatic upgrade.
STANDARD, COEXISTENCE, HIGH = 80, 20, 1_000
CONNECTED, BLOCKED = "CONNECTED", "BLOCKED"
# What Meta may say of a number's health; LIMITED sends, with restrictions that errors will show.
MAY_SEND = frozenset({"", "AVAILABLE", "LIMITED"})
_TIER = re.compile(r"TIER_([0-9]+)(K?)")


def messages_per_second(state: NumberState | None) -> int:
    """Return how many messages a second a number may send."""
    if state is None:
        return STANDARD
    if state.throughput_level == "HIGH":
        return HIGH
    return COEXISTENCE if state.is_on_business_app else STANDARD


def limit_of(state: NumberState | None) -> int | None:
    """Return how many people its portfolio may write to first in 24 hours; ``None``: any number, or
    not told.
    """
    found = _TIER.fullmatch(state.messaging_limit) if state else None
    return int(found[1]) * (1000 if found[2] else 1) if found else None


def is_sendable(state: NumberState | None) -> bool:
    """Return whether the platform lets a number send: yes while nothing was reported, no for a word
    that we do not know.
    """
    if state is None:
        return True
    return state.status in ("", CONNECTED) and state.can_send in MAY_SEND


def seal(number: str, *, tenant_id: UUID, workspace_id: UUID) -> bytes:
    """Return a business number (E.164 digits) as it is stored.

    Raises:
        workspaces.keys.TenantHasNoKeys: unknown or erased tenant.
    """
    cipher = keys.field_cipher(tenant_id)
    return cipher.seal(number.encode(), associated_data(tenant_id, PLACE, workspace_id))


def number_of(state: NumberState | None) -> str | None:
    """Return a business number in plaintext (E.164 digits), if it is known and can be opened."""
    if state is None or state.sealed_number is None:
        return None
    place = associated_data(state.tenant_id, PLACE, state.workspace_id)
    try:
        return keys.field_cipher(state.tenant_id).open(bytes(state.sealed_number), place).decode()
    except CannotOpen:
        return None


def masked(state: NumberState | None) -> str:
    """Return a business number as people see it, such as ``+27XXXXXXXXX``; empty: not known."""
    return mask_number(number_of(state) or "")


def shown(state: NumberState | None, *, in_clear: bool = False) -> str:
    """Return a business number as its reader may see it; empty: not known."""
    if not in_clear:
        return masked(state)
    digits = number_of(state)
    return f"+{digits}" if digits else ""
