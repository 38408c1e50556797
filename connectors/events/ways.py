"""Whether this machine has a way to an address, as its own routes tell; nothing is sent."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv6Address

from connectors.events.addresses import Address

# Of a name server of the root: they are far from everybody, and move once in a generation.
ANYWHERE = IPv4Address("198.41.0.4"), IPv6Address("2001:503:ba3e::2:30")
# No address of this kind here (to connect fails as it does without a free port), and no route.
NO_WAY = frozenset({errno.EADDRNOTAVAIL, errno.ENETUNREACH})


def has_way_to(address: Address) -> bool:
    """Whether there is a route to ``address``, and an address of ours to connect from.

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
            return error.errno not in NO_WAY
        return True


def is_cut_off() -> bool:
    """Whether there is no way to anywhere in the public internet, by IPv4 or IPv6."""
    try:
        return not any(has_way_to(address) for address in ANYWHERE)
    except OSError:  # no file or memory is left: that is our own trouble too
        return True
