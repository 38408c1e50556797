"""Store what Meta reports about templates, once, and apply it to the catalogue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from templates_wa import changes
from templates_wa.changes import Reported
from templates_wa.events import TemplateEvent
from templates_wa.models import TemplateEventRow

__all__ = ["Reported", "store"]


def store(reported: Sequence[Reported]) -> None:
    """Store and apply events; a repeated one changes nothing."""
    if not reported:
        return
    items = {(item.tenant_id, _digest(item.event)): item for item in reported}
    known = TemplateEventRow.objects.filter(digest__in=[digest for _, digest in items])
    seen = {(row.tenant_id, bytes(row.digest)) for row in known.only("tenant_id", "digest")}
    fresh = {key: item for key, item in items.items() if key not in seen}
    # Always in one order: two batches that hold the same events never wait for one another.
    rows = [_row(fresh[key], key[1]) for key in sorted(fresh)]
    TemplateEventRow.objects.bulk_create(rows, ignore_conflicts=True)
    changes.apply(list(fresh.values()))


def _row(item: Reported, digest: bytes) -> TemplateEventRow:
    event = item.event
    return TemplateEventRow(
        tenant_id=item.tenant_id, waba_id=event.waba_id[:64], template_id=event.template_id[:64],
        name=event.name[:512], language=event.language[:32], change=event.change, event=event.event,
        reason=event.reason, details=event.details, occurred_at=event.occurred_at,
        digest=digest,
    )  # fmt: skip


def _digest(event: TemplateEvent) -> bytes:
    parts = (
        event.waba_id, event.change, event.template_id, event.name, event.language, event.event,
        event.reason, event.details, event.occurred_at.isoformat(),
    )  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).digest()
