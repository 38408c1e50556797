"""Linked devices: where each is and why, the buttons that start and stop it, and pairing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.timesince import timesince
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from unfold.decorators import display

from connectors.linked_device import admin_facts, admin_pairing, health, overview, sessions
from connectors.linked_device.sessions import UnableTo
from connectors.models import SenderSession, SessionState
from workspaces import staff
from workspaces.admin.base import ManagedAdmin
from workspaces.admin.filters import TenantFilter, WorkspaceFilter

VERBS = {"start": sessions.start, "stop": sessions.stop, "restart": sessions.restart}


@admin.register(SenderSession)
class SenderSessionAdmin(ManagedAdmin):
    """WhatsApp accounts that are linked as devices. Backing up, restoring and clearing are left to
    ``manage.py sender``, on the machine that has the store.
    """

    deferred = ("sealed_pairing", "sealed_pair_number")
    list_display = (
        "workspace", "tenant", "standing", "reason", "until", "home", "last_sign", "attended",
    )  # fmt: skip
    list_display_links = ("workspace",)
    list_filter = (TenantFilter, WorkspaceFilter, "state", "home")
    ordering = ("-pk",)
    sortable_by = ()
    actions = ("start", "stop", "restart")
    fieldsets = admin_facts.FIELDSETS
    change_form_outer_before_template = "connectors/device.html"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Name every shown field: none can be edited."""
        return admin_facts.NAMES

    # unfold has no types
    @display(description="state", label=admin_facts.COLOURS)  # type: ignore[untyped-decorator]
    def standing(self, obj: SenderSession) -> tuple[str, str]:
        """Return where it is, with the word that names its colour."""
        return obj.state, SessionState(obj.state).label

    @admin.display(description="last sign of life")
    def last_sign(self, obj: SenderSession) -> str:
        """Return how long ago WhatsApp's servers gave one."""
        return f"{timesince(obj.last_event_at)} ago" if obj.last_event_at else "–"

    @admin.display(description="attended", boolean=True)
    def attended(self, obj: SenderSession) -> bool:
        """Tell whether somebody runs what should run."""
        return not health.is_unattended(obj, now=timezone.now())

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the sessions with what is told about them beside."""
        return super().get_queryset(request).select_related("workspace__number", "lease")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """List every linked device, those too that nobody asked anything of yet."""
        overview.make_missing()
        return super().changelist_view(request, extra_context)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add what the top of the page shows."""
        session = context.get("original")
        if session is not None:
            context |= admin_facts.context_of(session, now=timezone.now())
            context["may_manage"] = staff.manages(request.user, session.tenant_id)
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description="Start the selected devices", permissions=("manage",))
    def start(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Let them run."""
        self._ask_each(request, queryset, "start")

    @admin.action(description="Stop the selected devices", permissions=("manage",))
    def stop(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Let them end."""
        self._ask_each(request, queryset, "stop")

    @admin.action(description="Restart the selected devices", permissions=("manage",))
    def restart(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Let them end and start again."""
        self._ask_each(request, queryset, "restart")

    def get_urls(self) -> list[URLPattern]:
        """Add the buttons' addresses, the pairing page and what it asks every two seconds."""
        return [
            self._path("<uuid:key>/ask/<str:verb>/", require_POST(self.verb_view), "ask"),
            self._path("<uuid:key>/pair/", self.pair_view, "pair"),
            self._path("<uuid:key>/pair/now/", self.pairing_view, "pairing"),
            *super().get_urls(),
        ]

    def _path(self, route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
        kept = self.admin_site.admin_view(never_cache(view))
        return path(route, kept, name=f"connectors_sendersession_{name}")

    def verb_view(self, request: HttpRequest, key: UUID, verb: str) -> HttpResponse:
        """Start, stop or restart one, and go back to where the button was."""
        session = self.managed(request, key)
        if verb not in VERBS:
            raise Http404("There is no such button.")
        refused = self._ask(request, session, verb)
        level, text = (messages.ERROR, refused) if refused else (messages.SUCCESS, _done(verb))
        self.message_user(request, text, level)
        page = "pair" if request.POST.get("back") == "pair" else "change"
        return HttpResponseRedirect(
            reverse(f"admin:connectors_sendersession_{page}", args=(session.pk,))
        )

    def pair_view(self, request: HttpRequest, key: UUID) -> HttpResponse:
        """Show how far linking a phone is, or (POST) ask for it."""
        return admin_pairing.page(self, request, self.managed(request, key))

    def pairing_view(self, request: HttpRequest, key: UUID) -> HttpResponse:
        """Answer the page's question with JSON."""
        return admin_pairing.poll(self.managed(request, key), now=timezone.now())

    def managed(self, request: HttpRequest, key: UUID) -> SenderSession:
        """Return a session that this user may act on.

        Raises:
            Http404: there is none that he sees.
            PermissionDenied: he sees it, and may not act on it.
        """
        session: SenderSession = get_object_or_404(self.get_queryset(request), pk=key)
        if not staff.manages(request.user, session.tenant_id):
            raise PermissionDenied("Only managers of the tenant may do this.")
        return session

    def _ask_each(self, request: HttpRequest, queryset: QuerySet[Any], verb: str) -> None:
        said = [self._ask(request, each, verb) for each in self.mine(request, queryset)]
        refused = [each for each in said if each]
        text = " ".join((f"{len(said) - len(refused)} asked to {verb}.", *sorted({*refused})))
        self.message_user(request, text, messages.WARNING if refused else messages.SUCCESS)

    def _ask(self, request: HttpRequest, session: SenderSession, verb: str) -> str:
        """Do it and write it into the history; return why not, or nothing."""
        now: datetime = timezone.now()
        try:
            VERBS[verb](session.pk, now=now)
        except UnableTo as refusal:
            return refusal.message
        self.log_change(request, session, f"Asked it to {verb}.")
        return ""


def _done(verb: str) -> str:
    return f"Asked it to {verb}; the machine that has it sees to it within seconds."
