"""Whom a request or a connection counts for: one subscriber's address, also behind our proxies."""

from __future__ import annotations

import ipaddress

from django.conf import settings

from lib.requests import Scope, headers_of

# Networks of this size belong to one subscriber (RFC 6177).
IPV6_PREFIX = 64
Address = ipaddress.IPv4Address | ipaddress.IPv6Network | None


def client_of(peer: str, forwarded: str = "") -> Address:
    """Return what the outermost of our proxies saw, of the peer's address and the header
    ``X-Forwarded-For``; None for what is no address.
    """
    if settings.SIGMA_PROXIES:
        seen = forwarded.split(",")
        peer = seen[-min(settings.SIGMA_PROXIES, len(seen))].strip() or peer
    return subscriber(peer)


def address_of(scope: Scope) -> Address:
    """Return whom a request counts for; None for what is no address."""
    forwarded = headers_of(scope).get(b"x-forwarded-for", b"").decode("latin-1")
    return client_of((scope.get("client") or ("",))[0], forwarded)


def subscriber(text: str) -> Address:
    """Return an IPv4 address, also one that is written as IPv6, or the network of an IPv6 one; of
    loopback, which nobody is given, the address alone. None for what is no address.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if isinstance(address, ipaddress.IPv4Address):
        return address
    prefix = address.max_prefixlen if address.is_loopback else IPV6_PREFIX
    return ipaddress.IPv6Network((int(address), prefix), strict=False)
