"""Calls without an API key: what must hold before a process serves them, and of every such call.

Whoever reaches the address may send. So it is this machine's alone unless somebody said otherwise,
and a web page that is open in a browser here must not be able to use it (cross-site requests, DNS
rebinding).
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from contextlib import suppress

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http.request import split_domain_port, validate_host

from connectors.sender import callers, cors
from connectors.sender.refusals import Refused, bad_request
from lib.requests import Headers

logger = logging.getLogger("sigma.whatsapp.sender")

# A page that found its way here by its own host name does not get to use ours.
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
# What browsers send along, and programs do not.
OF_BROWSERS = (b"origin", b"referer", b"cookie", b"sec-fetch-site", b"sec-fetch-mode")
# What a proxy says of itself: whoever calls through one may be anywhere.
PROXIED = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")


class UnsafeToStart(Exception):
    """Calls without an API key cannot be served as it is configured."""


def is_private(address: str) -> bool:
    """Return whether only this machine reaches an address (an IP address, or a host name)."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        pass
    with suppress(OSError):
        found = {str(one[4][0]) for one in socket.getaddrinfo(address, None)}
        return bool(found) and all(ipaddress.ip_address(one).is_loopback for one in found)
    return False


def check(address: str | None) -> None:
    """See to it that calls without a key may be served at an address, if they are wanted at all.

    ``None``: nobody knows the address.

    Raises:
        UnsafeToStart: others reach it, or there is no such workspace.
    """
    workspace_id = settings.SIGMA_SENDER_OPEN_WORKSPACE
    if workspace_id is None:
        return
    is_open = address is None or not is_private(address)
    if is_open and not settings.SIGMA_SENDER_OPEN_PUBLIC:
        raise UnsafeToStart(
            "SIGMA_SENDER_OPEN_WORKSPACE lets whoever reaches this service send without an API "
            f"key, and {_described(address)}. Listen on 127.0.0.1, or set "
            "SIGMA_SENDER_OPEN_PUBLIC=true."
        )
    try:
        callers.without_key(workspace_id)
    except Refused:
        raise UnsafeToStart(
            f"SIGMA_SENDER_OPEN_WORKSPACE: there is no active workspace {workspace_id}."
        ) from None
    except (DatabaseError, InterfaceError):
        raise UnsafeToStart(
            "SIGMA_SENDER_OPEN_WORKSPACE cannot be looked up: the database cannot be reached."
        ) from None


def announce(address: str | None) -> None:
    """Say in the log that calls without a key are served, if they are."""
    if settings.SIGMA_SENDER_OPEN_WORKSPACE is not None:
        logger.warning(
            "whatsapp sender lets everybody who reaches it send without an API key",
            extra={
                "workspace_id": settings.SIGMA_SENDER_OPEN_WORKSPACE,
                "address": address or "unknown",
            },
        )


def admit(headers: Headers) -> None:
    """Let a call without a key pass, unless a web page of somebody else's may be behind it, or
    somebody who is not on this machine.

    Raises:
        Refused: the Host or Origin is not one of ours, or a proxy passed the call on.
    """
    host, _ = split_domain_port(headers.get(b"host", b"").decode("latin-1"))
    # "*" names no host: a page that was rebound to us would be one of ours.
    named = [name for name in settings.ALLOWED_HOSTS if name != "*"]
    if not validate_host(host, [*LOCAL_HOSTS, *named]):
        raise bad_request("This Host is not one of SIGMA_ALLOWED_HOSTS; or send an API key.")
    if not settings.SIGMA_SENDER_OPEN_PUBLIC and any(name in headers for name in PROXIED):
        raise Refused(
            403, "FORBIDDEN",
            "A proxy passed this call on: send an API key, or set SIGMA_SENDER_OPEN_PUBLIC=true.",
        )  # fmt: skip
    if b"origin" in headers and not cors.is_allowed(headers):
        raise Refused(
            403, "FORBIDDEN",
            "Web pages of this origin may not call; it is not one of SIGMA_SENDER_ORIGINS.",
        )  # fmt: skip


def insist_on_json(headers: Headers) -> None:
    """Refuse a body that a browser would let any page post without asking us first. Programs need
    no content type: curl gives a form's to whatever it posts.

    Rule: Fetch standard, "CORS-safelisted request-header"; a browser says ``Sec-Fetch-Site``, or at
    least ``Origin``, of every post.

    Raises:
        Refused: a browser's, and its content type is not JSON's.
    """
    given = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if given != "application/json" and any(name in headers for name in OF_BROWSERS):
        raise Refused(
            415, "BAD_REQUEST", "Without an API key, send Content-Type: application/json."
        )


def _described(address: str | None) -> str:
    if address is None:
        return "its address is not known (start it by python -m sigma.sender)"
    return f"others reach {address}"
