"""Which linked device, or which number, the operator means."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.core.management.base import CommandError
from django.db.models import Q, QuerySet

from connectors.linked_device import health, sessions
from connectors.linked_device.models import SenderSession, Wanted
from workspaces.lookup import find_tenant
from workspaces.models import HOSTED, TenantStatus, Workspace

HOW = "Name it: tenant/workspace, or the id of the workspace or session."
NONE = "There is no linked device yet. Add one: manage.py sender add --tenant ACME --name NAME"


def label(workspace: Workspace) -> str:
    """Return what people call a number."""
    return f"{workspace.tenant.slug}/{workspace.name}"


def one(name: str | None) -> SenderSession:
    """Return the linked device that ``name`` means; without a name, the only one there is.

    Raises:
        CommandError: none, or several.
        sessions.UnableTo: it is a number of another transport.
    """
    workspace = _only(named(name)) if name else _only(list(linked()), NONE)
    session = sessions.of_workspace(tenant_id=workspace.tenant_id, workspace_id=workspace.id)
    return fresh(session.id)


def some(name: str | None) -> list[SenderSession]:
    """Return the linked device that ``name`` means; without a name, all of them.

    Raises:
        CommandError: the name means none, or several.
    """
    if name:
        return [one(name)]
    health.make_missing()
    rows = _whole().filter(workspace__in=linked())
    return list(rows.order_by("workspace__tenant__slug", "workspace__name", "id"))


def fresh(session_id: UUID) -> SenderSession:
    """Return a session as it is now, with all that is shown of it.

    Raises:
        CommandError: it was removed.
    """
    found = _whole().filter(pk=session_id).first()
    if found is None:
        raise CommandError("The session is not there any more.")
    return found


def numbers(names: Sequence[str]) -> list[Workspace]:
    """Return the numbers that ``names`` mean; without names, all, over any transport.

    Raises:
        CommandError: a name means none, or several.
    """
    return [_only(named(name)) for name in names] or list(_active())


def in_use() -> list[Workspace]:
    """Return the linked devices that were ever paired or should run; where there are none, the
    numbers of the Cloud API; where there are none either, all linked devices.
    """
    used = Q(sender_session__paired_at__isnull=False) | Q(sender_session__wanted=Wanted.RUNNING)
    candidates = (linked().filter(used), _active().exclude(transport__in=HOSTED), linked())
    return next((found for rows in candidates if (found := list(rows))), [])


def linked() -> QuerySet[Workspace]:
    """Return the workspaces whose account is a linked device."""
    return _active().filter(transport__in=HOSTED)


def named(name: str) -> list[Workspace]:
    """Return the workspaces that ``name`` may mean.

    Raises:
        CommandError: it is neither an id nor ``tenant/workspace``, or there is no such tenant.
    """
    if (wanted := _uuid(name)) is not None:
        return list(_all().filter(Q(pk=wanted) | Q(sender_session__pk=wanted)))
    slug, slash, title = name.partition("/")
    if not slash:
        raise CommandError(f"{name!r} names no linked device. {HOW}")
    tenant = find_tenant(slug)
    return list(_all().filter(tenant=tenant, name__iexact=title.strip()))


def _only(found: list[Workspace], nothing: str = f"There is none of that name. {HOW}") -> Workspace:
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandError(nothing)
    lines = "\n".join(f"  {label(each)}  {each.id}" for each in found)
    raise CommandError(f"There are several. {HOW}\n{lines}")


def _all() -> QuerySet[Workspace]:
    return Workspace.objects.select_related("tenant").order_by("tenant__slug", "name", "id")


def _active() -> QuerySet[Workspace]:
    return _all().filter(is_active=True).exclude(tenant__status=TenantStatus.ERASING)


def _whole() -> QuerySet[SenderSession]:
    return SenderSession.objects.select_related("workspace__tenant", "workspace__number", "lease")


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
