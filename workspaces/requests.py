"""Who sends an HTTP request: an API key or a signed-in user. All doors but webhooks ask here."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest
from rest_framework.authentication import CSRFCheck

from workspaces.access import Actor, NotAllowed, by_api_key, by_session

BEARER = "bearer "
UNSAFE_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def actor_of(request: HttpRequest, *, now: datetime) -> Actor:
    """Return the caller of a request: ``Authorization: Bearer``, ``X-API-Key``, else the session.

    A request that carries a key is judged by the key alone. Browsers attach the session cookie to
    other sites' requests too, so a change made with it must carry Django's CSRF token.

    Raises:
        workspaces.access.NotAuthenticated: nobody, or not a valid key.
        workspaces.access.NotAllowed: the CSRF token is missing or wrong, or the key is bound to one
            workspace: that one opens the sender service alone.
        workspaces.access.TenantRequired: the user must name one of several tenants.
    """
    key = _api_key(request)
    if key:
        return _unbound(by_api_key(key, now=now))
    actor = by_session(request.user, tenant=request.headers.get("X-Sigma-Tenant", ""))
    if request.method in UNSAFE_METHODS:
        _check_csrf(request)
    return actor


def _api_key(request: HttpRequest) -> str:
    headers = request.headers
    return key_in(headers.get("Authorization", ""), headers.get("X-API-Key", ""))


def key_in(authorization: str, x_api_key: str) -> str:
    """Return the API key in these two headers, right or wrong; empty: there is none."""
    if authorization[: len(BEARER)].lower() == BEARER:
        return authorization[len(BEARER) :].strip()
    return x_api_key.strip()


def _unbound(actor: Actor) -> Actor:
    if actor.workspace_id is not None:
        raise NotAllowed(
            "This API key is bound to one workspace; it opens the sender service and nothing else."
        )
    return actor


def _check_csrf(request: HttpRequest) -> None:
    check = CSRFCheck(lambda _: None)
    check.process_request(request)
    if check.process_view(request, None, (), {}):
        raise NotAllowed("Send the CSRF token of your session in the X-CSRFToken header.")
