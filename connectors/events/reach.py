"""Check a URL when somebody enters it: a clear word now instead of a failing delivery later."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from functools import cache
from ipaddress import ip_address

from connectors.events.addresses import Policy, UnusableAddress

RESOLVE_SECONDS = 3.0
# Names that nobody answers for hold a thread for long; somebody else's must not wait for those.
THREADS = 32


def check(url: str, policy: Policy) -> None:
    """Refuse a URL that no event could be delivered to.

    Its name is asked for here as well as before each delivery: what it says may change.

    Raises:
        UnusableAddress: says why.
    """
    target = policy.check(url)
    if target.address is not None:
        return
    addresses = _resolve(target.host, target.port)
    if not any(policy.permits(target.host, ip_address(address)) for address in addresses):
        raise UnusableAddress("The name leads to no address of the public internet.")


def _resolve(host: str, port: int) -> list[str]:
    asked = _executor().submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        return [str(info[4][0]).partition("%")[0] for info in asked.result(RESOLVE_SECONDS)]
    except (TimeoutError, OSError, UnicodeError):
        asked.cancel()  # nobody waits for it any more
        raise UnusableAddress("The name does not resolve.") from None


@cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="resolve")
