"""What the simulator says of itself, on the terminal and at its front door."""

from __future__ import annotations

from connectors.simulator.meta.plans import MAGIC

NEWEST = "v26.0"


def text(origin: str) -> str:
    """Return what this is, its addresses, and the numbers that do something on purpose."""
    magic = "\n".join(f"  …{suffix}      {meaning}" for suffix, _, meaning in MAGIC)
    return f"""\
A SIMULATOR of Meta's WhatsApp Cloud API. Nothing leaves this machine; nobody gets a message.

  Graph API    {origin}/{NEWEST}  (any version)
  Control      {origin}/sim/journal, state, webhooks, rules, clock, inbound, reset, …

Recipients that do something on purpose, by their last digits; all others read what they get:
{magic}
  …0131026   refused with 131026; likewise 0 and any code, filled up to six digits
  …1131049   accepted, then failed with 131049; likewise 1 and any code
"""
