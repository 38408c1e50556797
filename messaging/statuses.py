"""Where a message got to: a projection of its receipts that only moves forward.

Receipts arrive late, twice and in any order. ``failed`` ends a message that was not delivered yet;
what arrives after it is kept as evidence (its time) and changes nothing. A message to a group is as
far as the participant whom it reached best. Rule: webhooks reference, "Order".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

# "accepted" comes from the send call; the others are Meta's words on status webhooks.
RANK = {"accepted": 1, "sent": 2, "delivered": 3, "read": 4, "played": 5}
FAILED = "failed"
# Meta's code where somebody wants no marketing templates of a business (Cloud API, "Error codes").
OPTED_OUT = 131050
# Meta's codes where it cannot use a file of a message, maybe long after it took that.
FILE_CODES = frozenset({131052, 131053})
# Beside the errors of a delivery: which receipt keeps what is sealed of them.
SEALED_IN = "errors_sealed_in"
# What was said against a message before it reached its person is history.
ARRIVED = frozenset({"delivered", "read", "played"})


_Row = TypeVar("_Row", bound="Reported")


class Reported(Protocol):
    """A receipt as it is stored."""

    pk: Any
    status: Any
    timestamp_utc: Any


def oldest_first(rows: Iterable[_Row]) -> list[_Row]:
    """Return receipts by their time and, within one second, by how far they go."""
    last = len(RANK) + 1
    return sorted(rows, key=lambda row: (row.timestamp_utc, RANK.get(row.status, last), row.pk))


def is_for_file(errors: object) -> bool:
    """Whether errors, as they came, are for a file that the platform cannot use."""
    told = errors if isinstance(errors, list | tuple) else ()
    codes = [one.get("code") for one in told if isinstance(one, dict)]
    return any(isinstance(code, int) and code in FILE_CODES for code in codes)


@dataclass(frozen=True, slots=True)
class Receipt:
    """One status as reported; ``timestamp`` is Meta's.

    ``of_participant``: it is about one participant of a group, and the message went to others too.
    ``sealed_in`` names what keeps those of its values that are sealed; empty: none are.
    """

    status: str
    timestamp: datetime
    errors: list[dict[str, Any]] | None = None
    pricing: dict[str, Any] | None = None
    of_participant: bool = False
    sealed_in: str = ""

    @property
    def order(self) -> tuple[datetime, int]:
        """Sort by time, then by how far it goes: Meta gives whole seconds."""
        return self.timestamp, RANK.get(self.status, 0)


@dataclass(frozen=True, slots=True)
class Progress:
    """A message's status and what is known of its delivery (first time of each status, errors,
    pricing).
    """

    status: str | None
    delivery: dict[str, Any]


def advance(progress: Progress, receipts: Iterable[Receipt]) -> Progress:
    """Return the progress after ``receipts``, in their order of time."""
    for receipt in sorted(receipts, key=lambda receipt: receipt.order):
        progress = _after(progress, receipt)
    return progress


def _after(progress: Progress, receipt: Receipt) -> Progress:
    if receipt.status != FAILED and receipt.status not in RANK:
        return progress  # a word we do not know is kept in message_statuses and moves nothing
    if receipt.of_participant and receipt.status == FAILED:
        return progress  # it may have reached, or reach, the others
    delivery = dict(progress.delivery)
    name, at = f"{receipt.status}_at", receipt.timestamp.isoformat()
    known = delivery.setdefault(name, at)
    if receipt.of_participant:
        delivery[name] = min(known, at, key=datetime.fromisoformat)
    if receipt.errors and "errors" not in delivery:
        delivery["errors"] = receipt.errors
        if receipt.sealed_in:
            delivery[SEALED_IN] = receipt.sealed_in
    if receipt.pricing:
        delivery.setdefault("pricing", receipt.pricing)
    moves = _moves(progress.status, receipt.status)
    return Progress(receipt.status if moves else progress.status, delivery)


def _moves(current: str | None, reported: str) -> bool:
    if current == FAILED:
        return False
    rank = RANK.get(current or "", 0)
    if reported == FAILED:
        return rank < RANK["delivered"]
    return RANK[reported] > rank
