"""What the platform reports of payments that messages asked for: read out of their receipts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from messaging import sealed_values
from messaging.models import MessageStatus
from messaging.receipts import PAYMENT
from messaging.sealed_values import Values


class Payment(NamedTuple):
    """One receipt of a payment; texts are Meta's words and the business's own reference.

    ``amount`` is a decimal number in units of ``currency``. ``details`` is all that was reported,
    as it came. (Meta, "Payments API": the amount is ``value`` divided by ``offset``.)
    """

    status: str
    timestamp_utc: datetime
    reference_id: str | None
    amount: str | None
    currency: str | None
    transaction_id: str | None
    transaction_type: str | None
    transaction_status: str | None
    details: dict[str, Any]


def of_receipts(rows: Iterable[MessageStatus], values: Mapping[int, Values]) -> list[Payment]:
    """Return the payments among receipts; ``values`` are those of `receipts.open_all`."""
    return [_payment(row, values) for row in rows if is_payment(row)]


def is_payment(row: MessageStatus) -> bool:
    """Tell whether a receipt is of a payment, and not of its message."""
    return row.participant.startswith(PAYMENT)


def _payment(row: MessageStatus, values: Mapping[int, Values]) -> Payment:
    details = row.payment or {}
    if row.sealed_values:
        details = sealed_values.fill(details, values[row.pk])
    transaction = _object(details.get("transaction"))
    return Payment(
        status=row.status,
        timestamp_utc=row.timestamp_utc,
        reference_id=_text(details.get("reference_id")),
        amount=_amount(_object(details.get("amount")) or _object(transaction.get("amount"))),
        currency=_text(details.get("currency")),
        transaction_id=_text(transaction.get("id")),
        transaction_type=_text(transaction.get("type")),
        transaction_status=_text(transaction.get("status")),
        details=details,
    )


def _amount(told: Mapping[str, Any]) -> str | None:
    try:
        amount = Decimal(told["value"]) / Decimal(told.get("offset") or 1)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    is_meant = amount.is_finite() and abs(amount.adjusted()) < _MOST_DIGITS
    return f"{amount.normalize():f}" if is_meant else None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) else None


_MOST_DIGITS = 30
