"""Where events may be sent: addresses of the public internet, and what an operator allows. Also
whether this machine has a route there.

A tenant chooses the URL and we connect from inside our network, so everything that is not plainly
public is refused. https://www.iana.org/assignments/iana-ipv4-special-registry and
https://www.iana.org/assignments/iana-ipv6-special-registry
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from django.conf import settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NOT_PUBLIC_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
# Of IPv6 only global unicast, which leaves out mapped, translated, local and multicast addresses at
# once; from that, what carries an IPv4 address inside (Teredo, 6to4) and what is for documentation.
PUBLIC_6 = IPv6Network("2000::/3")
NOT_PUBLIC_6 = tuple(
    IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
HTTPS_PORT = 443
# Below lie mail servers and remote shells, none of which speaks HTTP.
FIRST_FREE_PORT = 1024
MAX_URL = 2000
# Name servers of the root: far from everywhere, and their addresses change once in a generation.
ROOT_SERVERS = IPv4Address("198.41.0.4"), IPv6Address("2001:503:ba3e::2:30")
# No address of this kind here (to connect fails as it does without a free port), and no route.
NO_ROUTE = frozenset({errno.EADDRNOTAVAIL, errno.ENETUNREACH})


class UnusableAddress(ValueError):
    """Events cannot be sent to this address; the message says why."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a URL leads; ``address`` is set where its host is an IP address."""

    host: str
    port: int
    address: Address | None


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be reached besides the public internet: hosts by name, networks, and in a trial
    installation this machine.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    loopback: bool = False

    @classmethod
    def of(cls, entries: Iterable[str], *, loopback: bool) -> Policy:
        """Return the policy of a list of host names and CIDR networks."""
        hosts, networks = set[str](), list[Network]()
        for entry in entries:
            network = _network(entry)
            if network is None:
                hosts.add(entry.lower())
            else:
                networks.append(network)
        return cls(frozenset(hosts), tuple(networks), loopback)

    def permits(self, host: str, address: Address) -> bool:
        """Whether ``address``, to which ``host`` resolved just now, may be connected to."""
        return is_public(address) or self._is_ours(host, address)

    def check(self, url: str) -> Destination:
        """Return where ``url`` leads, as far as that can be told without asking for its name.

        Raises:
            UnusableAddress: not https, no host, a user in it, a port that is not for HTTP, or an
                IP address that may not be reached.
        """
        target, scheme = _parse(url)
        listed = target.host in self.hosts or self._is_local(target)
        if scheme != "https" and not listed:
            raise UnusableAddress("The URL must begin with https://.")
        if target.port not in (HTTPS_PORT, 80) and target.port < FIRST_FREE_PORT and not listed:
            raise UnusableAddress(f"The port must be {HTTPS_PORT}, or {FIRST_FREE_PORT} and above.")
        if target.address is not None and not self.permits(target.host, target.address):
            raise UnusableAddress("The address is not one of the public internet.")
        return target

    def _is_local(self, target: Destination) -> bool:
        if target.address is None:
            return self.loopback and target.host == "localhost"
        return self._is_ours(target.host, target.address)

    def _is_ours(self, host: str, address: Address) -> bool:
        if host in self.hosts or (self.loopback and address.is_loopback):
            return True
        return any(address in n for n in self.networks if n.version == address.version)


def policy() -> Policy:
    """Return where this installation may send events; a trial one also to itself."""
    loopback = settings.EMBEDDED or settings.DEBUG
    return Policy.of(settings.SIGMA_EVENTS_ALLOW_PRIVATE, loopback=loopback)


def has_route_to(address: Address) -> bool:
    """Whether there is a route to ``address``, and an address of ours to connect from.

    Nothing is sent: the kernel looks the route up when a UDP socket is connected.

    Raises:
        OSError: there is no socket left to find out.
    """
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    try:
        probe = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return False
        raise
    with probe:
        try:
            probe.connect((str(address), 9))
        except OSError as error:
            return error.errno not in NO_ROUTE
        return True


def is_offline() -> bool:
    """Whether there is no route to anywhere in the public internet, by IPv4 or IPv6."""
    try:
        return not any(has_route_to(address) for address in ROOT_SERVERS)
    except OSError:  # no file or memory is left: that is this machine's fault too
        return True


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_4)
    return address in PUBLIC_6 and not any(address in network for network in NOT_PUBLIC_6)


def _parse(url: str) -> tuple[Destination, str]:
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise UnusableAddress(f"The URL must be plain ASCII of at most {MAX_URL} characters.")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise UnusableAddress("This is not a URL.") from None
    if parts.scheme not in ("http", "https") or not host or "\\" in url or "%" in parts.netloc:
        raise UnusableAddress("The URL must begin with https:// and name a host.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise UnusableAddress("The URL must hold neither user, password nor fragment.")
    if port == 0:
        raise UnusableAddress("The port cannot be 0.")
    default = HTTPS_PORT if parts.scheme == "https" else 80
    return Destination(host, port or default, _address(host)), parts.scheme


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _network(entry: str) -> Network | None:
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        return None
