"""Senders that die on purpose. One process sets Django up and forks a sender per line it reads:
the step at whose end it dies, and how often it passes that first. It answers how the sender ended.

The product knows nothing of this: the sender's process replaces functions by ones that end it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import django

# From the claim to the commit of the record, in order; "none" lives until nothing is pending.
STEPS = (
    "found",
    "reserved",
    "committed",
    "marking",
    "marked",
    "left",
    "answered",
    "written",
    "recorded",
    "none",
)
# Short enough to see leases end; a send takes a tenth of a second here.
RESERVED_SECONDS, LEASE_SECONDS, MOST_SECONDS = 1.0, 4.0, 2.0
# A request is on its way, and its answer (100 ms later) is not there yet.
LEFT_SECONDS = 0.04
# A sender ends long before this, unless it hangs.
LIFE_SECONDS = 60.0


def main() -> None:
    """Fork until there are no more lines."""
    django.setup()
    for line in sys.stdin:
        step, times = line.split()
        print(*_ended(step, int(times)), flush=True)


def _ended(step: str, times: int) -> tuple[str, int]:
    """Return the step and the sender's exit code; one that lives too long is killed."""
    victim = os.fork()
    if not victim:
        _live(step, times)
    deadline = time.monotonic() + LIFE_SECONDS
    while time.monotonic() < deadline:
        pid, status = os.waitpid(victim, os.WNOHANG)
        if pid:
            return step, os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(victim, signal.SIGKILL)
    _, status = os.waitpid(victim, 0)
    return step, os.waitstatus_to_exitcode(status)


def _live(step: str, times: int) -> None:
    """Send like a worker, until the step."""
    # Only here: the models need Django, and a fork must not share its parent's threads.
    from messaging.delivery import claims, performing, sender

    claims.RESERVED_SECONDS = RESERVED_SECONDS
    performing.LEASE_SECONDS, performing.MOST_SECONDS = LEASE_SECONDS, MOST_SECONDS
    sender.Sender.idle_wait = 0.1
    _arm(step, times)
    if step.isdecimal():  # a moment in milliseconds, whatever happens at it
        threading.Timer(int(step) / 1000, _die).start()
    if step == "none":  # what the dead had reserved is due by then
        time.sleep(RESERVED_SECONDS)
    alive = sender.Sender()
    while alive.work():
        pass
    alive.settle()
    os._exit(0)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(step: str, times: int) -> None:
    from connectors.whatsapp.channel import CloudApiChannel
    from messaging import transitions
    from messaging.delivery import claims, recording

    places: Mapping[str, tuple[Any, str, str]] = {
        "found": (claims, "due", "after"),
        "reserved": (claims, "reserve", "after"),
        "committed": (claims.Claims, "claim", "after"),
        "marking": (transitions, "mark", "after"),
        "marked": (CloudApiChannel, "send", "before"),
        "left": (CloudApiChannel, "send", "meanwhile"),
        "answered": (CloudApiChannel, "send", "after"),
        "written": (transitions, "accept", "after"),
        "recorded": (recording, "record", "after"),
    }
    if step not in places:
        return
    owner, name, when = places[step]
    countdown = iter(range(times - 1, -1, -1))
    wrap = _wrapped_send if name == "send" else _wrapped
    setattr(owner, name, wrap(getattr(owner, name), when, countdown))


def _wrapped(work: Callable[..., Any], when: str, countdown: Iterator[int]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        done = work(*args, **kwargs)
        # A round with nothing to do is no step.
        if (args[0] if done is None else done) and next(countdown, 1) == 0:
            _die()
        return done

    return run


def _wrapped_send(
    work: Callable[..., Any], when: str, countdown: Iterator[int]
) -> Callable[..., Any]:
    async def run(*args: Any) -> Any:
        mine = next(countdown, 1) == 0
        if mine and when == "before":
            _die()
        if mine and when == "meanwhile":
            asyncio.get_running_loop().call_later(LEFT_SECONDS, _die)
        done = await work(*args)
        if mine and when == "after":
            _die()
        return done

    return run


if __name__ == "__main__":
    main()
