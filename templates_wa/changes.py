"""What Meta reports about templates: stored once, and applied to the catalogue in the order it
happened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

from templates_wa import accounts, storing
from templates_wa.events import TemplateEvent
from templates_wa.models import Template, TemplateEventRow

STATUS = "message_template_status_update"
QUALITY = "message_template_quality_update"
CATEGORY = "template_category_update"
COMPONENTS = "message_template_components_update"
# Events that are no statuses, and what is a template's status after them; "" leaves it as it is.
_STATUSES = {"REINSTATED": "APPROVED", "FLAGGED": "", "UNARCHIVED": ""}
# After these there is nothing to read that the event does not say.
_COMPLETE = frozenset(
    {"DELETED", "DISABLED", "IN_APPEAL", "PAUSED", "PENDING", "PENDING_DELETION", "REJECTED"}
)
_FIELDS = (
    "status",
    "status_at",
    "rejected_reason",
    "deleted_at",
    "quality",
    "quality_at",
    "category",
    "previous_category",
    "category_at",
)


@dataclass(frozen=True, slots=True)
class ReportedChange:
    """A template event and the tenant it belongs to."""

    tenant_id: UUID
    event: TemplateEvent


def store(reported: Sequence[ReportedChange]) -> None:
    """Store and apply events in the caller's transaction; a repeated one changes nothing."""
    if not reported:
        return
    items = {(item.tenant_id, _digest(item.event)): item for item in reported}
    tenants, digests = {tenant_id for tenant_id, _ in items}, [digest for _, digest in items]
    known = TemplateEventRow.objects.filter(tenant_id__in=tenants, digest__in=digests)
    seen = {(row.tenant_id, bytes(row.digest)) for row in known.only("tenant_id", "digest")}
    fresh = {key: item for key, item in items.items() if key not in seen}
    # Always in one order: two batches that hold the same events never wait for one another.
    rows = [_row(fresh[key], key[1]) for key in sorted(fresh)]
    TemplateEventRow.objects.bulk_create(rows, ignore_conflicts=True)
    _apply(fresh.values())


def _digest(event: TemplateEvent) -> bytes:
    parts = (
        event.waba_id,
        event.change,
        event.template_id,
        event.name,
        event.language,
        event.event,
        event.reason,
        event.details,
        event.occurred_at.isoformat(),
    )
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).digest()


def _row(item: ReportedChange, digest: bytes) -> TemplateEventRow:
    event = item.event
    return TemplateEventRow(
        tenant_id=item.tenant_id,
        waba_id=event.waba_id[:64],
        template_id=event.template_id[:64],
        name=event.name[:512],
        language=event.language[:32],
        change=event.change,
        event=event.event,
        reason=event.reason,
        details=event.details,
        occurred_at=event.occurred_at,
        digest=digest,
    )


def _apply(reported: Iterable[ReportedChange]) -> None:
    """Apply events that were not seen before.

    An older event never overwrites what a newer event or a later sync says. A sync is requested
    where an event tells only that there is more to read, or is about a template we do not know.
    """
    in_order = sorted(reported, key=lambda item: item.event.occurred_at)
    by_account = sorted(in_order, key=_account)
    for (tenant_id, waba_id), items in groupby(by_account, key=_account):
        _apply_to_account(tenant_id, waba_id, [item.event for item in items])


def _account(item: ReportedChange) -> tuple[UUID, str]:
    return item.tenant_id, item.event.waba_id


def _apply_to_account(tenant_id: UUID, waba_id: str, events: Sequence[TemplateEvent]) -> None:
    storing.lock(tenant_id, waba_id)
    rows = _known(tenant_id, waba_id, events)
    changed: dict[UUID, Template] = {}
    incomplete = False
    for event in events:
        row = rows.get(event.template_id)
        if row is None or not _says_all(event):
            incomplete = True
        if row is not None and _take(row, event):
            changed[row.pk] = row
    for row in changed.values():
        row.save(update_fields=_FIELDS)
    storing.publish(list(changed.values()), events[-1].occurred_at)
    if incomplete:
        accounts.request(tenant_id=tenant_id, waba_id=waba_id)


def _known(tenant_id: UUID, waba_id: str, events: Iterable[TemplateEvent]) -> dict[str, Template]:
    """Return rows by Meta's id: an event about a deleted one's id is not about its successor."""
    ids = {event.template_id for event in events}
    rows = Template.objects.filter(
        tenant_id=tenant_id, waba_id=waba_id, platform_template_id__in=ids
    )
    return {row.platform_template_id: row for row in rows}


def _says_all(event: TemplateEvent) -> bool:
    if event.change == STATUS:
        return event.event in _COMPLETE
    return event.change != COMPONENTS


def _take(row: Template, event: TemplateEvent) -> bool:
    """Bring a row up to an event; return whether it changed."""
    if event.change == STATUS:
        return _take_status(row, event)
    if event.change == QUALITY and _is_news(row, row.quality_at, event.occurred_at):
        row.quality_at = event.occurred_at
        return _set(row, quality=event.event[:16])
    # A warning of what is to come names the category that Meta thinks correct.
    is_warning = "correct_category" in event.details
    if event.change == CATEGORY and event.event and not is_warning:
        return _take_category(row, event)
    return False


def _take_status(row: Template, event: TemplateEvent) -> bool:
    status = _STATUSES.get(event.event, event.event)
    if not status or not _is_news(row, row.status_at, event.occurred_at):
        return False
    row.status_at = event.occurred_at
    deleted = event.occurred_at if status == storing.DELETED else row.deleted_at
    reason = (event.reason or "")[:64] if status == "REJECTED" else row.rejected_reason
    return _set(row, status=status[:64], deleted_at=deleted, rejected_reason=reason)


def _take_category(row: Template, event: TemplateEvent) -> bool:
    if not _is_news(row, row.category_at, event.occurred_at):
        return False
    row.category_at = event.occurred_at
    before = str(event.details.get("previous_category") or row.category)[:64]
    return _set(row, category=event.event[:64], previous_category=before)


def _is_news(row: Template, newest: datetime | None, at: datetime) -> bool:
    """Tell whether an event is later than what the row says; Meta's times are whole seconds."""
    if newest is not None and at < newest:
        return False
    return at >= row.synced_at.replace(microsecond=0)


def _set(row: Template, **values: object) -> bool:
    before = {name: getattr(row, name) for name in values}
    for name, value in values.items():
        setattr(row, name, value)
    return before != values
