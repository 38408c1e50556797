"""Who calls: the holder of an API key that is bound to a workspace, or anybody where one is open.

A key is looked up for every request: one that is revoked opens nothing from then on. Without a key,
whoever reaches the address may send. So that is for this machine alone unless the operator said
otherwise, and a web page that is open in a browser here must not be able to use it (cross-site
requests, DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http.request import split_domain_port, validate_host

from connectors.sender.errors import ServiceError
from lib import clock
from lib.requests import OF_PROXIES, Headers
from lib.sql import select
from workspaces.access import NotAuthenticated, Scope, by_api_key, digest_api_key
from workspaces.models import TenantStatus

logger = logging.getLogger("sigma.whatsapp.sender")

BEARER = "bearer "
KEY_WANTED = "Send an API key: Authorization: Bearer …, or X-API-Key."
UNBOUND = (
    "This API key is not bound to a workspace; issue one that is: manage.py issue_api_key … "
    "--workspace …, or in the admin."
)
FIND_OPEN = """
SELECT w.id, w.tenant_id FROM workspaces w JOIN tenants t ON t.id = w.tenant_id
WHERE w.id = %s AND w.is_active AND t.status = %s
"""
# A page that found its way here by its own host name does not get to use ours.
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
# What browsers send along, and programs do not.
OF_BROWSERS = (b"origin", b"referer", b"cookie", b"sec-fetch-site", b"sec-fetch-mode")


class ApiCaller(NamedTuple):
    """Whoever calls, for one workspace; ``bucket`` is what their rate is counted under."""

    tenant_id: UUID
    workspace_id: UUID
    scopes: frozenset[str]
    bucket: str


class UnsafeToStart(Exception):
    """Calls without an API key cannot be served as it is configured."""


def may_send(headers: Headers) -> ApiCaller:
    """Return who wants to send; blocks while the database answers.

    Raises:
        ServiceError: they may not.
    """
    caller = _identify(headers, Scope.MESSAGES_SEND)
    if _key_in(headers) is None:
        _refuse_forms_of_pages(headers)
    return caller


def may_look(headers: Headers) -> ApiCaller:
    """Return who wants to know something of their workspace; blocks while the database answers.

    Raises:
        ServiceError: they may not.
    """
    return _identify(headers, Scope.MESSAGES_READ, Scope.MESSAGES_SEND)


def is_anonymous(headers: Headers) -> bool:
    """Return whether a request has no key, and there is no workspace for it without one."""
    return _key_in(headers) is None and settings.SIGMA_SENDER_OPEN_WORKSPACE is None


def has_known_origin(headers: Headers) -> bool:
    """Return whether the request comes from a web page that may call."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    return bool(origin) and origin.lower() in settings.SIGMA_SENDER_ORIGINS


def check(address: str | None) -> None:
    """Make sure that calls without a key may be served at an address, if they are at all; ``None``:
    nobody knows the address.

    Raises:
        UnsafeToStart: others reach it, or there is no such workspace.
    """
    workspace_id = settings.SIGMA_SENDER_OPEN_WORKSPACE
    if workspace_id is None:
        return
    if not settings.SIGMA_SENDER_OPEN_PUBLIC and not (address and _is_private(address)):
        unknown = "its address is not known (start it by python -m sigma.sender)"
        raise UnsafeToStart(
            "SIGMA_SENDER_OPEN_WORKSPACE lets whoever reaches this service send without an API "
            f"key, and {f'others reach {address}' if address else unknown}. Listen on 127.0.0.1, "
            "or set SIGMA_SENDER_OPEN_PUBLIC=true."
        )
    try:
        _open_workspace(workspace_id)
    except ServiceError:
        raise UnsafeToStart(
            f"SIGMA_SENDER_OPEN_WORKSPACE: there is no active workspace {workspace_id}."
        ) from None
    except (DatabaseError, InterfaceError):
        raise UnsafeToStart(
            "SIGMA_SENDER_OPEN_WORKSPACE cannot be looked up: the database cannot be reached."
        ) from None


def log_openness(address: str | None) -> None:
    """Warn in the log that calls without a key are served, if they are."""
    workspace_id = settings.SIGMA_SENDER_OPEN_WORKSPACE
    if workspace_id is not None:
        logger.warning(
            "whatsapp sender lets everybody who reaches it send without an API key",
            extra={"workspace_id": workspace_id, "address": address or "unknown"},
        )


def _identify(headers: Headers, *scopes: Scope) -> ApiCaller:
    """Return who calls, if they have one of the scopes."""
    key = _key_in(headers)
    if key is not None:
        caller = _holder_of(key)
    else:
        caller = _open_workspace(settings.SIGMA_SENDER_OPEN_WORKSPACE)
        _refuse_strangers(headers)
    if caller.scopes.isdisjoint(scopes):
        names = " or ".join(scope.value for scope in scopes)
        raise ServiceError(403, "FORBIDDEN", f"This needs the permission {names}.")
    return caller


def _key_in(headers: Headers) -> str | None:
    """Return the API key that a request carries, right or wrong; ``None``: it carries none."""
    given = headers.get(b"authorization", b"").decode("latin-1").strip()
    if given[: len(BEARER)].lower() == BEARER:
        return given[len(BEARER) :].strip()
    return given or headers.get(b"x-api-key", b"").decode("latin-1").strip() or None


def _holder_of(key: str) -> ApiCaller:
    try:
        actor = by_api_key(key, now=clock.now())
    except NotAuthenticated as error:
        raise ServiceError(401, "UNAUTHENTICATED", str(error)) from None
    if actor.workspace_id is None:
        raise ServiceError(403, "FORBIDDEN", UNBOUND)
    bucket = digest_api_key(key).hex()[:32]
    return ApiCaller(actor.tenant_id, actor.workspace_id, actor.scopes, bucket)


class _Open(NamedTuple):
    id: UUID
    tenant_id: UUID


def _open_workspace(workspace_id: UUID | None) -> ApiCaller:
    """Return whoever calls without a key, who may send for this workspace and no more."""
    active = TenantStatus.ACTIVE.value
    found = select(_Open, FIND_OPEN, [workspace_id, active]) if workspace_id else []
    if not found:
        raise ServiceError(401, "UNAUTHENTICATED", KEY_WANTED)
    ((workspace_id, tenant_id),) = found
    scopes = frozenset({Scope.MESSAGES_SEND.value})
    return ApiCaller(tenant_id, workspace_id, scopes, str(workspace_id))


def _refuse_strangers(headers: Headers) -> None:
    """Refuse a call without a key that a web page of somebody else's may be behind, or somebody who
    is not on this machine.
    """
    host, _ = split_domain_port(headers.get(b"host", b"").decode("latin-1"))
    # "*" names no host: a page that was rebound to us would be one of ours.
    named = [name for name in settings.ALLOWED_HOSTS if name != "*"]
    if not validate_host(host, [*LOCAL_HOSTS, *named]):
        message = "This Host is not one of SIGMA_ALLOWED_HOSTS; or send an API key."
        raise ServiceError(400, "BAD_REQUEST", message)
    if not settings.SIGMA_SENDER_OPEN_PUBLIC and any(name in headers for name in OF_PROXIES):
        message = (
            "A proxy passed this call on: send an API key, or set SIGMA_SENDER_OPEN_PUBLIC=true."
        )
        raise ServiceError(403, "FORBIDDEN", message)
    if b"origin" in headers and not has_known_origin(headers):
        message = "Web pages of this origin may not call; it is not one of SIGMA_SENDER_ORIGINS."
        raise ServiceError(403, "FORBIDDEN", message)


def _refuse_forms_of_pages(headers: Headers) -> None:
    """Refuse a body that a browser would let any page post without asking us first. Programs need
    no content type: curl gives a form's to whatever it posts.

    Rule: Fetch standard, "CORS-safelisted request-header"; a browser says ``Sec-Fetch-Site``, or at
    least ``Origin``, of every post.
    """
    given = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if given != "application/json" and any(name in headers for name in OF_BROWSERS):
        message = "Without an API key, send Content-Type: application/json."
        raise ServiceError(415, "BAD_REQUEST", message)


def _is_private(address: str) -> bool:
    """Return whether only this machine reaches an address (an IP address, or a host name)."""
    try:
        found = socket.getaddrinfo(address, None)
    except OSError:
        return False
    return all(ipaddress.ip_address(one[4][0]).is_loopback for one in found)
