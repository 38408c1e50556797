"""Choose a TCP port on the loopback interface that stays ours."""

from __future__ import annotations

import random
import socket

from sigma.engines.engine import UnableToStart

# Above the registered services, below the range from which the kernel lends ports to outgoing
# connections (ip_local_port_range, 32768 and up): a port from there could be taken between two
# starts.
PORTS = range(20_000, 32_768)


class NoPortFree(UnableToStart):
    """No free TCP port between 20000 and 32767 on 127.0.0.1."""


def is_free(port: int) -> bool:
    """Tell whether a server could listen on ``port`` now."""
    with socket.socket() as probe:
        # As the servers do: connections of an earlier run that linger in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose(preferred: int | None) -> int:
    """Return ``preferred`` where it is free, else any free port.

    Raises:
        NoPortFree: after a hundred tries.
    """
    candidates = [preferred] if preferred else []
    candidates += random.sample(PORTS, 100)
    for port in candidates:
        if is_free(port):
            return port
    raise NoPortFree(NoPortFree.__doc__)
