"""Broadcasts: how far each is, why it does not get on, and the three buttons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Protocol
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from lib import clock
from messaging.broadcasts import feeding, lifecycle, outcomes, queries
from messaging.broadcasts.refusals import UnableToBroadcast
from messaging.models import Broadcast
from workspaces import staff
from workspaces.admin.base import ReadOnlyAdmin, names
from workspaces.admin.filters import ArrivedFilter, TenantFilter, WorkspaceFilter
from workspaces.models import Workspace

SHOWN_ROWS = 50


class Act(Protocol):
    """What a button does to one broadcast."""

    def __call__(self, *, tenant_id: UUID, broadcast_id: UUID, now: datetime) -> Broadcast:
        """Do it."""


@admin.register(Broadcast)
class BroadcastAdmin(ReadOnlyAdmin):
    """Broadcasts; lists are uploaded through the API and shown nowhere."""

    deferred = ("shared",)
    list_display = names("name tenant workspace template_name state through reason created_at")
    list_filter = (TenantFilter, WorkspaceFilter, "state", ArrivedFilter)
    sortable_by = ()
    actions = ("pause", "resume", "cancel")
    fields = names(
        "id tenant workspace name template_name language state reason people time_left left_out "
        "created_by created_at scheduled_at expires_at started_at ended_at purged_at"
    )

    @admin.display(description="workspace")
    def workspace(self, obj: Broadcast) -> str:
        """Return the name of the workspace."""
        return str(Workspace.objects.filter(pk=obj.workspace_id).first() or obj.workspace_id)

    @admin.display(description="through")
    def through(self, obj: Broadcast) -> SafeString:
        """Return a bar of how much of the list was worked off."""
        share = queries.percent_through(obj)
        return format_html('<progress max="100" value="{}"></progress> {} %', share, share)

    @admin.display(description="people")
    def people(self, obj: Broadcast) -> SafeString:
        """Return how many people are where."""
        counted = asdict(queries.counts(obj))
        return format_html_join("", "<div>{}: {}</div>", counted.items())

    @admin.display(description="time left")
    def time_left(self, obj: Broadcast) -> str:
        """Return the seconds until the last message leaves, while it runs."""
        speed = feeding.speed_of(obj)
        seconds = queries.eta_seconds(obj, queries.counts(obj), per_second=speed)
        return "–" if seconds is None else f"{seconds} s at {speed} messages a second"

    @admin.display(description="left out")
    def left_out(self, obj: Broadcast) -> SafeString:
        """Return the first rows that were left out, without the person."""
        rows = outcomes.refused_rows(obj, limit=SHOWN_ROWS)
        said = ((row.position, row.code, row.reason) for row in rows)
        return format_html_join("", "<div>row {}: {}, {}</div>", said) or format_html("{}", "–")

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Managers act."""
        return staff.manages(request.user)

    @admin.action(description="Pause", permissions=("manage",))
    def pause(self, request: HttpRequest, queryset: QuerySet[Broadcast]) -> None:
        """Stop sending."""
        self._act(request, queryset, lifecycle.pause)

    @admin.action(description="Resume", permissions=("manage",))
    def resume(self, request: HttpRequest, queryset: QuerySet[Broadcast]) -> None:
        """Go on."""
        self._act(request, queryset, lifecycle.resume)

    @admin.action(description="Cancel for good", permissions=("manage",))
    def cancel(self, request: HttpRequest, queryset: QuerySet[Broadcast]) -> None:
        """End it."""
        self._act(request, queryset, lifecycle.cancel)

    def _act(self, request: HttpRequest, queryset: QuerySet[Broadcast], act: Act) -> None:
        mine = staff.tenants_managed_by(request.user).values("pk")
        chosen = list(queryset.filter(tenant_id__in=mine))
        refusals = list(_refusals(chosen, act, clock.now()))
        for refusal in refusals:
            self.message_user(request, refusal, messages.WARNING)
        self.message_user(request, f"{len(chosen) - len(refusals)} broadcasts were changed.")


def _refusals(chosen: Iterable[Broadcast], act: Act, now: datetime) -> Iterable[str]:
    for broadcast in chosen:
        try:
            act(tenant_id=broadcast.tenant_id, broadcast_id=broadcast.id, now=now)
        except UnableToBroadcast as error:
            yield f"{broadcast.name}: {error.message}"
