"""Bring the catalogue of one account up to what Meta listed.

Whoever writes to an account's templates holds its lock to the end of their transaction, so what is
compared in Python is what stands in the table. What is newer than the list stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from templates_wa.models import Template
from workspaces.channel_facts import TemplateFacts
from workspaces.events import Event, emit

DELETED = "DELETED"
# What a list says of a template, by the event time that may protect it: nothing, or its own.
_FACTS = (
    "platform_template_id",
    "sub_category",
    "parameter_format",
    "components",
    "rejected_reason",
    "ttl_seconds",
)
_GUARDED = {
    "status": "status_at",
    "quality": "quality_at",
    "category": "category_at",
    "previous_category": "category_at",
}
_KEY = ("tenant_id", "waba_id", "name", "language")
_WRITTEN = (*_FACTS, *_GUARDED, "synced_at", "stale_at", "deleted_at")
_BATCH = 500


@dataclass(frozen=True, slots=True)
class SyncReport:
    """How many templates a sync added, changed, removed and found as they were."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0


@dataclass(slots=True)
class _Work:
    """What has to be written."""

    added: list[Template] = field(default_factory=list)
    changed: list[Template] = field(default_factory=list)
    removed: list[Template] = field(default_factory=list)
    same: list[Template] = field(default_factory=list)
    newer: int = 0


def store(
    *,
    tenant_id: UUID,
    waba_id: str,
    facts: Iterable[TemplateFacts],
    now: datetime,
    name: str | None = None,
) -> SyncReport:
    """Store what was listed since ``now``: of the whole account, or of one name."""
    listed = {(fact.name, fact.language): fact for fact in facts}
    with transaction.atomic():
        lock(tenant_id, waba_id)
        known = Template.objects.filter(tenant_id=tenant_id, waba_id=waba_id)
        if name is not None:
            known = known.filter(name=name)
        rows = {(row.name, row.language): row for row in known}
        work = _compare(rows, listed, now)
        work.added += [
            _made(tenant_id, waba_id, fact, now) for key, fact in listed.items() if key not in rows
        ]
        _write(work, now)
        # An account that is read for the first time has not changed.
        publish([*work.added, *work.changed, *work.removed] if rows else (), now)
    return SyncReport(
        len(work.added), len(work.changed), len(work.removed), len(work.same) + work.newer
    )


def put(*, tenant_id: UUID, waba_id: str, fact: TemplateFacts, now: datetime) -> Template:
    """Store one template that Meta made since ``now``, under the account's lock; return its row. A
    sync that began later knows more.
    """
    row = Template.objects.filter(
        tenant_id=tenant_id, waba_id=waba_id, name=fact.name, language=fact.language
    ).first() or Template(
        tenant_id=tenant_id, waba_id=waba_id, name=fact.name, language=fact.language
    )
    is_same = row.platform_template_id == fact.platform_template_id
    if is_same and row.synced_at > now and row.deleted_at is None:
        return row
    row.status_at = row.quality_at = row.category_at = None
    _take(row, fact, now)
    row.save()
    return row


def put_under_review(
    *,
    tenant_id: UUID,
    template_id: UUID,
    components: Sequence[Mapping[str, object]],
    ttl_seconds: int | None,
    now: datetime,
) -> Template:
    """Store what a template became by an edit since ``now``, under the account's lock; return its
    row. What Meta reported since then stays. Meta says no more of an edit than that it took it:
    nothing is sent before a sync.
    """
    row = Template.objects.get(tenant_id=tenant_id, pk=template_id)
    row.components = list(components)
    row.ttl_seconds = row.ttl_seconds if ttl_seconds is None else ttl_seconds
    row.synced_at = max(row.synced_at, now)
    if row.status_at is None or row.status_at <= now:
        # In whole seconds, as Meta's times are: its verdict may come within the same.
        row.status, row.status_at = "PENDING", now.replace(microsecond=0)
    row.save(update_fields=("components", "ttl_seconds", "synced_at", "status", "status_at"))
    return row


def lock(tenant_id: UUID, waba_id: str) -> None:
    """Keep other writers of an account's templates out until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            [f"templates:{tenant_id}:{waba_id}"],
        )


def publish(templates: Sequence[Template], now: datetime) -> None:
    """Publish that templates changed, to the tenant's apps."""
    emit(
        [
            Event(
                row.tenant_id,
                "template.updated",
                {
                    "template_id": str(row.id),
                    "waba_id": row.waba_id,
                    "name": row.name,
                    "language": row.language,
                    "status": DELETED if row.deleted_at else row.status,
                    "category": row.category,
                    "quality": row.quality,
                },
                now,
            )
            for row in templates
        ]
    )


def _compare(
    rows: dict[tuple[str, str], Template],
    listed: dict[tuple[str, str], TemplateFacts],
    now: datetime,
) -> _Work:
    work = _Work()
    for key, row in rows.items():
        fact = listed.get(key)
        if row.synced_at > now:
            work.newer += fact is not None
        elif fact is not None:
            (work.changed if _take(row, fact, now) else work.same).append(row)
        elif row.deleted_at is None:
            row.deleted_at = row.synced_at = now
            work.removed.append(row)
    return work


def _take(row: Template, fact: TemplateFacts, now: datetime) -> bool:
    """Bring a row up to the fact; return whether it changed."""
    before = {name: getattr(row, name) for name in (*_FACTS, *_GUARDED, "deleted_at")}
    for name in _FACTS:
        setattr(row, name, _of(fact, name))
    for name, guard in _GUARDED.items():
        at = getattr(row, guard)
        if at is None or at <= now:
            setattr(row, name, _of(fact, name))
    if row.status_at is None or row.status_at <= now:
        row.deleted_at = None
    if row.stale_at is not None and row.stale_at <= now:
        row.stale_at = None
    row.synced_at = now
    return any(getattr(row, name) != value for name, value in before.items())


def _of(fact: TemplateFacts, name: str) -> object:
    value = getattr(fact, name)
    if isinstance(value, str):
        return value[: getattr(Template._meta.get_field(name), "max_length", None)]
    return list(value) if isinstance(value, tuple) else value


def _made(tenant_id: UUID, waba_id: str, fact: TemplateFacts, now: datetime) -> Template:
    row = Template(tenant_id=tenant_id, waba_id=waba_id, name=fact.name, language=fact.language)
    _take(row, fact, now)
    return row


def _write(work: _Work, now: datetime) -> None:
    # Much faster than an UPDATE for thousands of rows, which would hold the lock meanwhile.
    Template.objects.bulk_create(
        [*work.added, *work.changed],
        batch_size=_BATCH,
        update_conflicts=True,
        unique_fields=_KEY,
        update_fields=_WRITTEN,
    )
    gone = [row.pk for row in work.removed]
    Template.objects.filter(pk__in=gone).update(deleted_at=now, synced_at=now)
    same = [row.pk for row in work.same]
    Template.objects.filter(pk__in=same).update(synced_at=now)
    Template.objects.filter(pk__in=same, stale_at__lte=now).update(stale_at=None)
