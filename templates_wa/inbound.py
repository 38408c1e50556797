"""Store what Meta reports about templates, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from templates_wa.events import TemplateEvent
from templates_wa.models import TemplateEventRow


@dataclass(frozen=True, slots=True)
class Reported:
    """A template event and the tenant it belongs to."""

    tenant_id: UUID
    event: TemplateEvent


def store(reported: Sequence[Reported]) -> None:
    """Store events; a repeated one changes nothing."""
    rows = sorted((_row(item) for item in reported), key=lambda row: (row.tenant_id, row.digest))
    if rows:
        TemplateEventRow.objects.bulk_create(rows, ignore_conflicts=True)


def _row(item: Reported) -> TemplateEventRow:
    event = item.event
    return TemplateEventRow(
        tenant_id=item.tenant_id, waba_id=event.waba_id[:64], template_id=event.template_id[:64],
        name=event.name[:512], language=event.language[:32], change=event.change, event=event.event,
        reason=event.reason, details=event.details, occurred_at=event.occurred_at,
        digest=_digest(event),
    )  # fmt: skip


def _digest(event: TemplateEvent) -> bytes:
    parts = (
        event.waba_id, event.change, event.template_id, event.name, event.language, event.event,
        event.reason, event.details, event.occurred_at.isoformat(),
    )  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).digest()
