"""The deliveries of events: read page by page, and replayed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from connectors.events.attempts import TIMES, DeliveryState, times_of
from connectors.events.models import EventDelivery, OutgoingEvent
from connectors.events.outbox import notify_on_commit
from connectors.events.subscriptions import EventErrorCode, UnableToSubscribe
from lib import cursors
from lib.cursors import Page

# A request must end; for more ask again with another span of time.
MAX_REPLAYED = 10_000


STATES = {state: Q(**{f"{column}__isnull": False}) for state, column in TIMES.items()}


@dataclass(frozen=True, slots=True)
class ListedDelivery:
    """A delivery with its event, which may have been deleted."""

    row: EventDelivery
    event: OutgoingEvent | None

    @property
    def state(self) -> DeliveryState:
        """Its state."""
        return next(each for each, name in TIMES.items() if getattr(self.row, name) is not None)


def read_page(
    *,
    tenant_id: UUID,
    subscription_id: UUID,
    state: DeliveryState | None,
    limit: int,
    after: str | None,
) -> Page[ListedDelivery]:
    """Return a page of a subscription's deliveries, newest first.

    Raises:
        lib.cursors.InvalidCursor: ``after`` is none of ours.
    """
    rows = _rows(tenant_id, subscription_id).order_by("-id")
    if state is not None:
        rows = rows.filter(STATES[state])
    if after is not None:
        rows = rows.filter(id__lt=number_of(after, tenant_id=tenant_id))
    found = Page.of(list(rows[: limit + 1]), limit)
    events = OutgoingEvent.objects.filter(tenant_id=tenant_id)
    by_id = events.in_bulk([row.event_id for row in found.rows])
    listed = [ListedDelivery(row, by_id.get(row.event_id)) for row in found.rows]
    return Page(listed, found.has_more)


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
        ids = list(found.values_list("id", flat=True)[: MAX_REPLAYED + 1])
        if len(ids) > MAX_REPLAYED:
            raise UnableToSubscribe(
                EventErrorCode.TOO_MANY, "until", f"At most {MAX_REPLAYED:,} are replayed at once."
            )
        wanted = EventDelivery.objects.filter(tenant_id=tenant_id, pk__in=ids)
        count = replay_rows(wanted, now=now)
    return count


def replay_rows(rows: QuerySet[EventDelivery], *, now: datetime) -> int:
    """Make deliveries that ended due again, with all their attempts; return how many."""
    count = rows.filter(next_attempt_at=None).update(
        attempts=0, **times_of(DeliveryState.PENDING, now)
    )
    notify_on_commit()
    return count


def id_of(row: EventDelivery) -> str:
    """Return the id of a delivery for callers, which is its cursor too. The row's own number counts
    over all tenants, so it is enciphered.
    """
    return cursors.encode_number(row.pk, owner=row.tenant_id, key=_key())


def number_of(text: str, *, tenant_id: UUID) -> int:
    """Return the number of a tenant's delivery.

    Raises:
        lib.cursors.InvalidCursor: anything that :func:`id_of` did not make for this tenant.
    """
    return cursors.decode_number(text, owner=tenant_id, key=_key())


def _key() -> str:
    return f"event deliveries|{settings.SECRET_KEY}"


def _rows(tenant_id: UUID, subscription_id: UUID) -> QuerySet[EventDelivery]:
    return EventDelivery.objects.filter(tenant_id=tenant_id, subscription_id=subscription_id)
