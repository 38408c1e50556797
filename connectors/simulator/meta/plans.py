"""What shall go wrong on purpose: by the last digits of the recipient, or by rules.

Magic numbers work without any preparation. Rules are set by the control API.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

import msgspec

from connectors.simulator.meta.failures import KINDS


class Preset(StrEnum):
    """How a request ends."""

    ORDINARY = "ordinary"
    ERROR = "error"
    FAILED = "failed"
    HANG = "hang"
    CLOSE_BEFORE = "close_before"
    CLOSE_AFTER = "close_after"
    BARE_500 = "bare_500"
    BARE_502 = "bare_502"
    SLOW = "slow"
    HELD = "held"
    HELD_DROPPED = "held_dropped"
    NEVER_READ = "never_read"
    NEVER_DELIVERED = "never_delivered"
    SILENT = "silent"
    HALF = "half"


class Plan(NamedTuple):
    """A preset, with a code from the table of errors for ``error`` and ``failed``."""

    preset: Preset = Preset.ORDINARY
    code: int = 0
    details: str = ""


class Magic(NamedTuple):
    """The last four digits of a number and what they do."""

    suffix: str
    preset: Preset
    meaning: str


MAGIC = (
    Magic("9999", Preset.HANG, "accepted, never answered; its webhooks fire"),
    Magic("9998", Preset.CLOSE_BEFORE, "connection closed before anything is processed"),
    Magic("9997", Preset.BARE_500, "500 without JSON; nothing is processed"),
    Magic("9996", Preset.HELD, "held_for_quality_assessment, then sent as usual"),
    Magic("9995", Preset.CLOSE_AFTER, "accepted, connection closed before the answer"),
    Magic("9994", Preset.NEVER_READ, "delivered, never read"),
    Magic("9993", Preset.NEVER_DELIVERED, "sent, never delivered"),
    Magic("9992", Preset.SILENT, "accepted, and no webhook ever"),
    Magic("9991", Preset.SLOW, "accepted, answered after 5 seconds"),
    Magic("9990", Preset.BARE_502, "accepted, answered 502 without JSON; its webhooks fire"),
    Magic("9989", Preset.HELD_DROPPED, "held_for_quality_assessment, then failed with 132015"),
)
PRESETS = {magic.suffix: Plan(magic.preset) for magic in MAGIC}
ORDINARY = Plan()
# …0131026: refused with 131026. …1131049: accepted, then failed with 131049. Codes of fewer digits
# than 80007 are for rules: whoever makes numbers up by counting would meet 1, 100 and 190.
CODED = re.compile(r"[01](?:[1-9][0-9]|0[1-9])[0-9]{4}")
# The edge that rules name the sessions of uploads by.
UPLOAD = "upload"
# Presets that change no message, and so make sense for every request.
ANYWHERE = frozenset({Preset.ERROR, Preset.HANG, Preset.CLOSE_BEFORE, Preset.BARE_500, Preset.SLOW})


def magic_of(digits: str) -> Plan:
    """Return what the last digits of a recipient's number ask for."""
    plan = PRESETS.get(digits[-4:])
    if plan is not None:
        return plan
    coded = digits[-7:]
    if CODED.fullmatch(coded) is None or int(coded[1:]) not in KINDS:
        return ORDINARY
    return Plan(Preset.ERROR if coded[0] == "0" else Preset.FAILED, int(coded[1:]))


class FaultRule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What happens to the requests that fit every named target.

    ``edge`` is the last part of the path (``messages``, ``message_templates``, …); ``upload`` is a
    session of the Resumable Upload API.
    ``count``: only the next so many. ``every``: only each so-manieth. Neither: always.
    """

    preset: Preset
    code: int = 131000
    details: str = ""
    edge: str = "messages"
    phone_number_id: str = ""
    recipient: str = ""
    template: str = ""
    count: int | None = None
    every: int = 1
    id: int = 0
    seen: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        own = UPLOAD if self.preset is Preset.HALF else "messages"
        if self.edge != own and self.preset not in ANYWHERE:
            raise ValueError(f"preset {self.preset} is for the edge {own} only")
        if self.every < 1:
            raise ValueError("every must be at least 1")

    def strikes(self) -> bool:
        """Whether it applies to the request that fits it now; counts that request."""
        self.seen += 1
        if self.seen % self.every:
            return False
        return self.count is None or self.seen // self.every <= self.count

    @property
    def plan(self) -> Plan:
        """What it does."""
        return Plan(self.preset, self.code, self.details)


class FaultRules:
    """The rules in force; the first one that applies decides."""

    def __init__(self) -> None:
        self.all: list[FaultRule] = []
        self._count = 0

    def add(self, rule: FaultRule) -> FaultRule:
        """Put a rule in force, after those that are."""
        self._count += 1
        rule.id, rule.seen = self._count, 0
        self.all.append(rule)
        return rule

    def remove(self, rule_id: int | None) -> None:
        """Lift one rule, or all of them."""
        self.all = [] if rule_id is None else [rule for rule in self.all if rule.id != rule_id]

    def plan(
        self, edge: str, *, phone_number_id: str = "", recipient: str = "", template: str = ""
    ) -> Plan:
        """Return what the rules ask for this request; it counts as seen by those that fit."""
        for rule in self.all:
            fits = (
                rule.edge == edge
                and rule.phone_number_id in ("", phone_number_id)
                and rule.template in ("", template)
                and rule.recipient.lstrip("+") in ("", recipient)
            )
            if fits and rule.strikes():
                return rule.plan
        return ORDINARY
