"""Who opens a stream: an API key or a session, asked as Django's views ask, in a thread."""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple
from urllib.parse import parse_qs
from uuid import UUID

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse

from lib import clock
from lib.requests import Scope
from workspaces.access import NotAllowed
from workspaces.requests import actor_of
from workspaces.scopes import Scope as Permission
from workspaces.sessions import SessionRules

MAY_WATCH = frozenset({Permission.EVENTS_READ, Permission.MESSAGES_READ})


class Visitor(NamedTuple):
    """Who watches which tenant."""

    tenant_id: UUID
    label: str


def identify(scope: Scope) -> Visitor:
    """Return who asks; blocks while the database answers.

    A browser's EventSource sends no headers of its own, so ``?tenant=`` may name the tenant.

    Raises:
        workspaces.access.NotAuthenticated: nobody, or not a valid key.
        workspaces.access.NotAllowed: neither events:read nor messages:read.
        workspaces.access.TenantRequired: the user must name one of several tenants.
    """
    close_old_connections()
    actor = actor_of(_request(scope), now=clock.now())
    if not MAY_WATCH & actor.scopes:
        raise NotAllowed("This needs the permission events:read or messages:read.")
    return Visitor(actor.tenant_id, actor.label)


def _request(scope: Scope) -> HttpRequest:
    request = ASGIRequest(dict(scope), BytesIO())
    query = parse_qs(scope["query_string"].decode("ascii", "replace"))
    if "tenant" in query:
        request.META.setdefault("HTTP_X_SIGMA_TENANT", query["tenant"][0])
    SessionMiddleware(_nothing).process_request(request)
    AuthenticationMiddleware(_nothing).process_request(request)
    SessionRules(_nothing).process_request(request)
    return request


def _nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()
