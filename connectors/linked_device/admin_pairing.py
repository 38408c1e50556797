"""The page on which somebody links a phone. What it shows is a secret of the moment: it is in no
log, no address and no history, and no cache keeps it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from connectors.linked_device import pairing, sessions, terms
from connectors.linked_device.sessions import UnableTo
from connectors.models import PairBy, SenderSession


def page(admin: Any, request: HttpRequest, session: SenderSession) -> HttpResponse:
    """Show how far it is; a POST asks for a code first, and comes back with a GET."""
    if request.method == "POST":
        return _ask(admin, request, session)
    context = {
        **admin.admin_site.each_context(request),
        "title": f"Link a phone with {session.workspace}",
        "opts": admin.opts,
        "original": session,
        "terms": terms.TERMS,
        "pairing": pairing.facts(session, now=timezone.now()),
    }
    return TemplateResponse(request, "connectors/pair.html", context)


def poll(session: SenderSession, *, now: datetime) -> JsonResponse:
    """Return how far it is."""
    return JsonResponse(pairing.facts(session, now=now))


def _ask(admin: Any, request: HttpRequest, session: SenderSession) -> HttpResponse:
    by = PairBy.CODE if request.POST.get("by") == PairBy.CODE else PairBy.QR
    number = request.POST.get("phone", "")
    try:
        sessions.pair(session.pk, by=by, number=number, now=timezone.now())
    except UnableTo as refusal:
        admin.message_user(request, refusal.message, messages.ERROR)
    else:
        admin.log_change(request, session, f"Asked for a {by.label}.")
    return HttpResponseRedirect(request.path)
