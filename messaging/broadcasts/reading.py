"""Find broadcasts of a tenant."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q

from lib.cursors import Cursor
from messaging.models import Broadcast


def find(*, tenant_id: UUID, broadcast_id: UUID) -> Broadcast | None:
    """Return the broadcast, if it is the tenant's."""
    return Broadcast.objects.filter(tenant_id=tenant_id, pk=broadcast_id).first()


def newest(
    *, tenant_id: UUID, workspace_id: UUID | None = None, after: Cursor | None = None, limit: int
) -> list[Broadcast]:
    """Return broadcasts, of one workspace where it is named, the newest first."""
    rows = Broadcast.objects.filter(tenant_id=tenant_id)
    if workspace_id is not None:
        rows = rows.filter(workspace_id=workspace_id)
    if after is not None:
        at, last = after.timestamp, after.id
        rows = rows.filter(created_at__lte=at).filter(Q(created_at__lt=at) | Q(pk__lt=last))
    return list(rows.order_by("-created_at", "-pk")[:limit])
