"""Linked devices in the admin: the status of each, buttons to start and stop it, and pairing.

What the pairing page shows is a secret while it lasts: it is in no log, no address and no history,
and no cache keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.timesince import timesince
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from unfold.decorators import display

from connectors.linked_device import health, sessions, statistics, stores
from connectors.linked_device.models import (
    NEEDS_OPERATOR,
    PairBy,
    SenderSession,
    SessionState,
    Wanted,
)
from connectors.linked_device.sessions import Pairing, UnableTo
from lib import clock, qrcodes
from workspaces import staff
from workspaces.admin.base import ManagedAdmin
from workspaces.admin.filters import TenantFilter, WorkspaceFilter

VERBS = {"start": sessions.start, "stop": sessions.stop, "restart": sessions.restart}
COLOURS = {
    SessionState.CONNECTED: "success",
    SessionState.WAITING: "info",
    SessionState.STARTING: "info",
    SessionState.PAIRING: "info",
    SessionState.DISCONNECTED: "warning",
    SessionState.RATE_LIMITED: "warning",
    **dict.fromkeys(NEEDS_OPERATOR, "danger"),
}
Fact = Callable[[SenderSession], Any]


def _fact(title: str) -> Callable[[Fact], Fact]:
    return admin.display(description=title)


@_fact("number")
def number(obj: SenderSession) -> str:
    """Return the account's number, masked."""
    return health.phone(obj) or "–"


@_fact("store on this machine")
def store(obj: SenderSession) -> str:
    """Return for how long the store did not change, where this machine has it."""
    try:
        written = stores.age(obj, clock.now()).written
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if written is None:
        return "none here"
    return f"written {timesince(clock.now() - written)} ago"


@_fact("held by")
def holder(obj: SenderSession) -> str:
    """Return whose process has the connection."""
    lease = obj.held_lease
    if lease is None or not obj.is_held(clock.now()):
        return "nobody"
    return f"{lease.host}, process {lease.pid}, token {lease.fencing_token}"


@_fact("lease")
def lease(obj: SenderSession) -> str:
    """Return when the lease was taken and renewed, and when it ends."""
    row = getattr(obj, "lease", None)
    if row is None or row.renewed_at is None or row.expires_at is None:
        return "–"
    ends = f"ends {row.expires_at:%H:%M:%S}" if row.owner else "released"
    return f"taken {row.acquired_at:%d %b %H:%M:%S}, renewed {row.renewed_at:%H:%M:%S}, {ends} UTC"


@_fact("today")
def today(obj: SenderSession) -> str:
    """Return today's messages (UTC)."""
    (found,) = statistics.of([obj.workspace_id], now=clock.now(), days=1)
    counts = found.today
    rate = "" if counts.error_rate is None else f" ({counts.error_rate:.0%})"
    return (
        f"{counts.messages:,} to send, {counts.waiting:,} of them waiting, "
        f"{counts.errors:,} errors{rate}; {counts.received:,} received"
    )


FIELDSETS: Any = (
    ("Now", {"fields": ("workspace", "tenant", "wanted", "since", "until")}),
    ("LinkedAccount", {"fields": (number, "push_name", "device_platform", "library", "paired_at")}),
    (
        "Process",
        {"fields": ("home", holder, lease, "started_at", "stopped_at", "failures")},
    ),
    ("Traffic", {"fields": ("last_event_at", "last_inbound_at", "last_sent_at", today)}),
    ("Store", {"fields": (store, "backed_up_at")}),
)
NAMES = tuple(name for _, options in FIELDSETS for name in options["fields"])


def _action(verb: str) -> Callable[..., None]:
    def ask(model: SenderSessionAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        model.ask_each(request, queryset, verb)

    ask.__name__ = verb
    title = f"{verb.title()} the selected devices"
    return admin.action(ask, description=title, permissions=("manage",))


@admin.register(SenderSession)
class SenderSessionAdmin(ManagedAdmin):
    """WhatsApp accounts that are linked as devices. Backing up, restoring and clearing are left to
    ``manage.py sender``, on the machine that has the store.
    """

    deferred = ("sealed_pairing", "sealed_pair_number")
    list_display = (
        "workspace",
        "tenant",
        "state_label",
        "reason",
        "until",
        "home",
        "last_sign",
        "attended",
    )
    list_display_links = ("workspace",)
    list_filter = (TenantFilter, WorkspaceFilter, "state", "home")
    ordering = ("-pk",)
    sortable_by = ()
    actions = tuple(_action(verb) for verb in VERBS)
    fieldsets = FIELDSETS
    change_form_outer_before_template = "linked_device/device.html"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Name every shown field: none can be edited."""
        return NAMES

    # unfold has no types
    @display(description="state", label=COLOURS)  # type: ignore[untyped-decorator]
    def state_label(self, obj: SenderSession) -> tuple[str, str]:
        """Return its state and that state's label; the state names the colour."""
        return obj.state, SessionState(obj.state).label

    @admin.display(description="last sign of life")
    def last_sign(self, obj: SenderSession) -> str:
        """Return how long ago WhatsApp's servers gave one."""
        return f"{timesince(obj.last_event_at)} ago" if obj.last_event_at else "–"

    @admin.display(description="attended", boolean=True)
    def attended(self, obj: SenderSession) -> bool:
        """Return whether a supervisor runs it, if it should run."""
        return not health.is_unattended(obj, now=clock.now())

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the sessions with the rows that are shown beside them."""
        return super().get_queryset(request).select_related("workspace__number", "lease")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """List every linked device, also those that were never started."""
        health.make_missing()
        return super().changelist_view(request, extra_context)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add what the top of the page shows."""
        session = context.get("original")
        if session is not None:
            context |= context_of(session, now=clock.now())
            context["may_manage"] = staff.manages(request.user, session.tenant_id)
        return super().render_change_form(request, context, *args, **kwargs)

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
        return path(route, kept, name=f"linked_device_sendersession_{name}")

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
            reverse(f"admin:linked_device_sendersession_{page}", args=(session.pk,))
        )

    def pair_view(self, request: HttpRequest, key: UUID) -> HttpResponse:
        """Show how far the linking of a phone is; a POST asks for a code and redirects to a GET."""
        session = self.managed(request, key)
        if request.method == "POST":
            self._ask_to_pair(request, session)
            return HttpResponseRedirect(request.path)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Link a phone with {session.workspace}",
            "opts": self.opts,
            "original": session,
            "terms": sessions.TERMS,
            "pairing": pairing_facts(session, now=clock.now()),
        }
        return TemplateResponse(request, "linked_device/pair.html", context)

    def pairing_view(self, request: HttpRequest, key: UUID) -> HttpResponse:
        """Return what the pairing page shows now, as JSON; the page asks every two seconds."""
        return JsonResponse(pairing_facts(self.managed(request, key), now=clock.now()))

    def managed(self, request: HttpRequest, key: UUID) -> SenderSession:
        """Return a session that this user may act on.

        Raises:
            Http404: there is none that they see.
            PermissionDenied: they see it, and may not act on it.
        """
        session: SenderSession = get_object_or_404(self.get_queryset(request), pk=key)
        if not staff.manages(request.user, session.tenant_id):
            raise PermissionDenied("Only managers of the tenant may do this.")
        return session

    def ask_each(self, request: HttpRequest, queryset: QuerySet[Any], verb: str) -> None:
        """Ask the selected ones to start, stop or restart, and say how many were."""
        refusals = [self._ask(request, each, verb) for each in self.mine(request, queryset)]
        refused = [each for each in refusals if each]
        text = " ".join((f"{len(refusals) - len(refused)} asked to {verb}.", *sorted({*refused})))
        self.message_user(request, text, messages.WARNING if refused else messages.SUCCESS)

    def _ask(self, request: HttpRequest, session: SenderSession, verb: str) -> str:
        """Ask it and write that into the history; return why it was refused, or nothing."""
        now: datetime = clock.now()
        try:
            VERBS[verb](session.pk, now=now)
        except UnableTo as refusal:
            return refusal.message
        self.log_change(request, session, f"Asked it to {verb}.")
        return ""

    def _ask_to_pair(self, request: HttpRequest, session: SenderSession) -> None:
        by = PairBy.CODE if request.POST.get("by") == PairBy.CODE else PairBy.QR
        number = request.POST.get("phone", "")
        try:
            sessions.pair(session.pk, by=by, number=number, now=clock.now())
        except UnableTo as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
        else:
            self.log_change(request, session, f"Asked for a {by.label}.")


def _done(verb: str) -> str:
    return f"Asked it to {verb}; the machine that has it sees to it within seconds."


def context_of(session: SenderSession, *, now: datetime) -> dict[str, object]:
    """Return what the top of the page shows."""
    return {
        "label": SessionState(session.state).label,
        "colour": COLOURS.get(SessionState(session.state), ""),
        # The status itself is shown above them.
        "problems": [
            each for each in _problems(session, now) if each != health.describe_status(session)
        ],
        "is_paired": session.paired_at is not None,
    }


def _problems(session: SenderSession, now: datetime) -> tuple[str, ...]:
    return health.check(session.workspace, now=now).problems


class Phase(StrEnum):
    """How far it is: not asked for (or over), asked for, a code is shown, a phone is linked."""

    IDLE = "IDLE"
    WAITING = "WAITING"
    SHOWN = "SHOWN"
    LINKED = "LINKED"


def pairing_facts(session: SenderSession, *, now: datetime) -> dict[str, object]:
    """Return what the pairing page shows; ``seconds`` is how long the code stays valid."""
    pairing = sessions.pairing_of(session, now=now) if session.paired_at is None else None
    return {
        "phase": _phase(session, pairing).value,
        "state": SessionState(session.state).label,
        "reason": session.reason,
        **(_shown(pairing, now) if pairing else {}),
    }


def _phase(session: SenderSession, pairing: Pairing | None) -> Phase:
    if session.paired_at is not None:
        return Phase.LINKED
    if pairing is not None:
        return Phase.SHOWN
    asked = session.pair_by and session.wanted == Wanted.RUNNING
    return Phase.WAITING if asked else Phase.IDLE


def _shown(pairing: Pairing, now: datetime) -> dict[str, object]:
    is_qr = pairing.by == PairBy.QR
    return {
        "by": pairing.by.value,
        "code": "" if is_qr else pairing.code,
        "qr": qrcodes.as_svg(pairing.code) if is_qr else "",
        "seconds": math.ceil((pairing.expires_at - now).total_seconds()),
    }
