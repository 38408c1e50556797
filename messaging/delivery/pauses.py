"""Circuits that are open: why nothing is sent for a number, an account or a whole tenant, since
when, and who closed them again.

A pause waits for a person, unless it says until when it holds.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from lib import bulk
from messaging.models import SendingPause
from workspaces.channel_errors import Reach
from workspaces.events import Event, emit
from workspaces.models import Workspace

logger = logging.getLogger("sigma.whatsapp.sending")

# The code of a pause that is ours and not the platform's.
NOT_CONFIGURED = 0
COLUMNS = (
    "tenant_id uuid",
    "workspace_id uuid",
    "code int4",
    "reason text",
    "since timestamptz",
    "until timestamptz",
)
# One open row per code; a second report renews the words. xmax tells an insert from an update; one
# whose time was over counts as new.
OPEN = """
INSERT INTO sending_pauses AS p (tenant_id, workspace_id, code, reason, since, until, lifted_by)
SELECT DISTINCT ON (tenant_id, workspace_id, code) r.*, '' FROM {rows}
ON CONFLICT (tenant_id, workspace_id, code) WHERE lifted_at IS NULL DO UPDATE SET
    reason = excluded.reason, until = excluded.until,
    since = CASE WHEN p.until <= excluded.since THEN excluded.since ELSE p.since END
RETURNING p.tenant_id, p.workspace_id, p.code, p.since
"""


class Pause(NamedTuple):
    """One circuit to open: for one number, or (without one) for all of the tenant's."""

    tenant_id: UUID
    workspace_id: UUID | None
    code: int
    reason: str
    until: datetime | None = None


def pause(wanted: Iterable[Pause], *, now: datetime) -> None:
    """Stop sending there, together with the events about it; what is paused already stays so."""
    rows = [(p.tenant_id, p.workspace_id, p.code, p.reason, now, p.until) for p in wanted]
    if not rows:
        return
    rows.sort(key=lambda row: (str(row[0]), str(row[1:3])))
    with transaction.atomic():
        fresh = [row[:3] for row in bulk.run(OPEN, COLUMNS, rows) if row[3] == now]
        emit([_event("sending.paused", *one, now=now) for one in fresh])
    for tenant_id, workspace_id, code in fresh:
        extra = {"tenant_id": tenant_id, "workspace_id": workspace_id, "code": code}
        logger.error("whatsapp sending paused", extra=extra)


def lift(
    *,
    tenant_id: UUID,
    workspace_id: UUID | None = None,
    code: int | None = None,
    by: str,
    now: datetime,
) -> int:
    """Go on sending for a number, and for its tenant's pauses that hold it too; without a number
    for all of the tenant's. Return how many pauses that ended.
    """
    rows = open_pauses(tenant_id=tenant_id, workspace_id=workspace_id, now=None)
    if code is not None:
        rows = rows.filter(code=code)
    return _lift(rows, by=by, now=now)


def lift_one(pause: SendingPause, *, by: str, now: datetime) -> int:
    """End one pause, unless somebody did; return how many that were."""
    return _lift(SendingPause.objects.filter(pk=pause.pk, lifted_at=None), by=by, now=now)


def of_whole_tenants(codes: Collection[int]) -> list[SendingPause]:
    """Return the pauses that hold all numbers of a tenant until somebody ends them."""
    rows = SendingPause.objects.filter(workspace_id=None, until=None, lifted_at=None)
    return list(rows.filter(code__in=codes))


def _lift(rows: QuerySet[SendingPause], *, by: str, now: datetime) -> int:
    with transaction.atomic():
        ended = list(rows.select_for_update().values_list("tenant_id", "workspace_id", "code"))
        rows.update(lifted_at=now, lifted_by=by[:150])
        emit([_event("sending.resumed", *one, now=now) for one in ended])
    for tenant, workspace, was in ended:
        extra = {"tenant_id": tenant, "workspace_id": workspace, "code": was, "by": by}
        logger.warning("whatsapp sending resumed", extra=extra)
    return len(ended)


def open_pauses(
    *, tenant_id: UUID, workspace_id: UUID | None = None, now: datetime | None
) -> QuerySet[SendingPause]:
    """Return what holds a tenant's sends (those of one number, where it is named), oldest first.

    With ``now``, pauses whose time is over are left out.
    """
    rows = SendingPause.objects.filter(tenant_id=tenant_id, lifted_at=None)
    if workspace_id is not None:
        rows = rows.filter(Q(workspace_id=workspace_id) | Q(workspace_id=None))
    if now is not None:
        rows = rows.filter(Q(until=None) | Q(until__gt=now))
    return rows.order_by("since", "id")


def numbers_within(reach: Reach, workspace_id: UUID) -> list[UUID | None]:
    """Return the numbers that something about a number, its account or its tenant is about;
    ``None`` stands for all.
    """
    if reach == Reach.TENANT:
        return [None]
    workspace = Workspace.objects.filter(pk=workspace_id).first()
    if reach == Reach.NUMBER or workspace is None or not workspace.waba_id:
        return [workspace_id]
    same = Workspace.objects.filter(tenant_id=workspace.tenant_id, waba_id=workspace.waba_id)
    return list(same.values_list("id", flat=True))


def is_ended_since(pause: Pause, moment: datetime) -> bool:
    """Whether such a pause was ended after ``moment``."""
    return SendingPause.objects.filter(
        tenant_id=pause.tenant_id,
        workspace_id=pause.workspace_id,
        code=pause.code,
        lifted_at__gte=moment,
    ).exists()


def _event(
    kind: str, tenant_id: UUID, workspace_id: UUID | None, code: int, *, now: datetime
) -> Event:
    data = {"workspace_id": workspace_id and str(workspace_id), "code": code}
    return Event(tenant_id, kind, data, now)
