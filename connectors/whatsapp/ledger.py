"""Read the outcome ledger: accepted updates = processed + quarantined + dead + pending, per tenant,
always.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

from connectors.whatsapp import raw
from connectors.whatsapp.models import WebhookUnhandled
from connectors.whatsapp.wire.decoding import NotAnEnvelope
from connectors.whatsapp.wire.parsing import parse
from lib.envelope import CannotOpen

# One statement, one snapshot: a batch that commits meanwhile is seen wholly or not at all.
READ = """
SELECT coalesce(l.updates, 0), coalesce(l.processed, 0), coalesce(l.quarantined, 0),
       coalesce(l.dead, 0), coalesce(l.duplicates, 0), coalesce(l.unhandled, 0),
       coalesce(l.callbacks, 0), coalesce(l.purged_callbacks, 0),
       (SELECT count(*) FROM webhook_pending WHERE tenant_id = t.id),
       (SELECT count(*) FROM webhook_deliveries WHERE %(verify)s AND tenant_id = t.id),
       p.delivery_id, p.received_at, p.body
FROM (SELECT %(tenant_id)s::uuid AS id) t
LEFT JOIN webhook_ledger l ON l.tenant_id = t.id
LEFT JOIN LATERAL (
    SELECT w.delivery_id, w.received_at, d.body,
           coalesce(sum(d.size) OVER (ORDER BY w.delivery_id), 0) AS so_far
    FROM (SELECT delivery_id, received_at FROM webhook_pending
          WHERE tenant_id = t.id ORDER BY delivery_id LIMIT %(limit)s) w
    LEFT JOIN webhook_deliveries d
      ON d.tenant_id = t.id AND d.id = w.delivery_id AND d.received_at = w.received_at
) p ON p.so_far <= %(bytes)s
"""
# Counting what is pending means opening it, in a web process too; beyond this many callbacks, or
# bytes of them, the rest counts as one each.
MAX_OPENED = 1000
MAX_OPENED_BYTES = 16_000_000


@dataclass(frozen=True, slots=True)
class UnhandledCount:
    """A kind of update that is kept in Raw and not modelled, and how often it came."""

    field: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Balance:
    """A tenant's ledger at one moment. Counts are updates, but for the ``…_callbacks``.

    ``accepted`` is what was counted when callbacks were opened plus what waits in pending ones;
    ``exact`` is false while more callbacks wait than were opened to count them.
    ``stored_callbacks`` is the count of Raw itself, where it was asked for.
    """

    accepted: int
    processed: int
    quarantined: int
    dead: int
    pending: int
    duplicates: int
    unhandled: int
    opened_callbacks: int
    pending_callbacks: int
    purged_callbacks: int
    stored_callbacks: int | None
    exact: bool
    unhandled_kinds: tuple[UnhandledCount, ...]

    @property
    def balanced(self) -> bool:
        """Whether every accepted update is in exactly one place, and every callback in Raw is
        known.
        """
        placed = self.processed + self.quarantined + self.dead + self.pending
        return self.accepted == placed and self._raw_agrees

    @property
    def _raw_agrees(self) -> bool:
        if self.stored_callbacks is None:
            return True
        known = self.opened_callbacks + self.pending_callbacks
        return self.stored_callbacks + self.purged_callbacks == known


def read(tenant_id: UUID, *, verify: bool = False) -> Balance:
    """Return a tenant's ledger as of one moment; ``verify`` also counts Raw (a full scan)."""
    limits = {"limit": MAX_OPENED, "bytes": MAX_OPENED_BYTES}
    with connection.cursor() as cursor:
        cursor.execute(READ, {"tenant_id": tenant_id, "verify": verify, **limits})
        rows = cursor.fetchall()
    updates, processed, quarantined, dead, duplicates, unhandled, *callbacks = rows[0][:10]
    opened, purged, waiting, stored = callbacks
    opened_now = [row[10:] for row in rows if row[10] is not None]
    pending = sum(_count(tenant_id, *row) for row in opened_now) + waiting - len(opened_now)
    kinds = WebhookUnhandled.objects.filter(tenant_id=tenant_id).order_by("-count", "field", "kind")
    return Balance(
        accepted=updates + pending,
        processed=processed,
        quarantined=quarantined,
        dead=dead,
        pending=pending,
        duplicates=duplicates,
        unhandled=unhandled,
        opened_callbacks=opened,
        pending_callbacks=waiting,
        purged_callbacks=purged,
        stored_callbacks=stored if verify else None,
        exact=waiting == len(opened_now),
        unhandled_kinds=tuple(UnhandledCount(k.field, k.kind, k.count) for k in kinds),
    )


def _count(tenant_id: UUID, delivery_id: int, received_at: datetime, sealed: bytes | None) -> int:
    if sealed is None:
        return 1
    try:
        body = raw.open_body(bytes(sealed), tenant_id=tenant_id, delivery_id=delivery_id)
        return len(parse(body, received_at))
    except (CannotOpen, NotAnEnvelope):
        return 1
