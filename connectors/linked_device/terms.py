"""What whoever links a device must have read before, in the same words wherever he does it."""

from __future__ import annotations

TERMS = (
    "Automating a linked device is outside WhatsApp's terms of service and may get the number "
    "banned, for a time or for good. Use a number you can do without, write to people who wrote "
    "first, and never in bulk."
)
