"""What became of events: read page by page, and sent again."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from uuid import UUID

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from connectors.events.refusals import EventErrorCode, UnableToSubscribe
from workspaces.models import EventDelivery, OutgoingEvent
from workspaces.outbox import BELL

# A request must end; for more ask again with another span of time.
MOST_REPLAYED = 10_000


class DeliveryState(StrEnum):
    """Where a delivery is: still to be made, taken by the receiver, or given up."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"


STATES = {
    DeliveryState.PENDING: Q(next_attempt_at__isnull=False),
    DeliveryState.DELIVERED: Q(delivered_at__isnull=False),
    DeliveryState.DEAD: Q(dead_at__isnull=False),
}


class InvalidCursor(ValueError):
    """This is not a cursor of ours; use endCursor of an earlier page."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery with its event, which may have been deleted."""

    row: EventDelivery
    event: OutgoingEvent | None

    @property
    def state(self) -> DeliveryState:
        """Where it is."""
        if self.row.next_attempt_at is not None:
            return DeliveryState.PENDING
        return DeliveryState.DEAD if self.row.delivered_at is None else DeliveryState.DELIVERED


@dataclass(frozen=True, slots=True)
class Page:
    """Some deliveries, newest first, and whether there are older ones."""

    deliveries: Sequence[Delivery]
    has_more: bool

    @property
    def start_cursor(self) -> str | None:
        """The place of the first."""
        return id_of(self.deliveries[0].row) if self.deliveries else None

    @property
    def end_cursor(self) -> str | None:
        """Where the next page begins."""
        return id_of(self.deliveries[-1].row) if self.deliveries else None


def read_page(
    *, tenant_id: UUID, subscription_id: UUID, state: DeliveryState | None, limit: int,
    after: str | None,
) -> Page:  # fmt: skip
    """Return a page of a subscription's deliveries.

    Raises:
        InvalidCursor: ``after`` is none of ours.
    """
    rows = _rows(tenant_id, subscription_id).order_by("-id")
    if state is not None:
        rows = rows.filter(STATES[state])
    if after is not None:
        rows = rows.filter(id__lt=number_of(after, tenant_id=tenant_id))
    found = list(rows[: limit + 1])
    events = OutgoingEvent.objects.filter(tenant_id=tenant_id)
    by_id = events.in_bulk([row.event_id for row in found[:limit]])
    page = [Delivery(row, by_id.get(row.event_id)) for row in found[:limit]]
    return Page(page, len(found) > limit)


def replay(
    *, tenant_id: UUID, subscription_id: UUID, which: Q, now: datetime, include_delivered: bool
) -> int:
    """Send again what was given up, and if asked what was delivered; return how many.

    Raises:
        UnableToSubscribe: more than 10,000 at once.
    """
    ended = STATES[DeliveryState.DEAD]
    if include_delivered:
        ended |= STATES[DeliveryState.DELIVERED]
    rows = _rows(tenant_id, subscription_id).filter(which & ended)
    with transaction.atomic():
        found = rows.select_for_update(skip_locked=True).order_by("id")
        ids = list(found.values_list("id", flat=True)[: MOST_REPLAYED + 1])
        if len(ids) > MOST_REPLAYED:
            raise UnableToSubscribe(
                EventErrorCode.TOO_MANY, "until", f"At most {MOST_REPLAYED:,} are replayed at once."
            )
        count = again(EventDelivery.objects.filter(pk__in=ids), now=now)
    return count


def again(rows: QuerySet[EventDelivery], *, now: datetime) -> int:
    """Make deliveries that ended due once more, with all their attempts; return how many."""
    count = rows.filter(next_attempt_at=None).update(
        attempts=0, next_attempt_at=now, delivered_at=None, dead_at=None
    )
    transaction.on_commit(_ring, robust=True)
    return count


def id_of(row: EventDelivery) -> str:
    """Return what callers know a delivery by, as its id and as a cursor. The row's own number
    counts over all tenants, so it is enciphered together with whose it is.
    """
    block = _whose(row.tenant_id) + row.pk.to_bytes(8)
    cipher = _cipher(settings.SECRET_KEY).encryptor()
    return base64.urlsafe_b64encode(cipher.update(block)).rstrip(b"=").decode()


def number_of(text: str, *, tenant_id: UUID) -> int:
    """Return the number of a tenant's delivery.

    Raises:
        InvalidCursor: anything that :func:`id_of` did not make for this tenant.
    """
    try:
        sealed = base64.b64decode(text.encode("ascii") + b"==", b"-_", validate=True)
        block = _cipher(settings.SECRET_KEY).decryptor().update(sealed)
    except (binascii.Error, ValueError):
        raise InvalidCursor(InvalidCursor.__doc__) from None
    if len(block) != 16 or not hmac.compare_digest(block[:8], _whose(tenant_id)):
        raise InvalidCursor(InvalidCursor.__doc__)
    return int.from_bytes(block[8:])


@cache
def _cipher(key: str) -> Cipher[modes.ECB]:
    # One block, and no two the same: what ECB is right for.
    derived = hashlib.sha256(b"event deliveries|" + key.encode()).digest()
    return Cipher(algorithms.AES(derived), modes.ECB())  # noqa: S305


def _whose(tenant_id: UUID) -> bytes:
    return hashlib.sha256(tenant_id.bytes).digest()[:8]


def _rows(tenant_id: UUID, subscription_id: UUID) -> QuerySet[EventDelivery]:
    return EventDelivery.objects.filter(tenant_id=tenant_id, subscription_id=subscription_id)


def _ring() -> None:
    BELL.ring()
