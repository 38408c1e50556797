"""Notice that the ``make`` which started us was interrupted or killed."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

LOOK_EVERY_SECONDS = 0.5


async def until_make_stops() -> None:
    """Return when the ``make`` above us has to stop; without one, never.

    Ctrl-C on a terminal reaches us and make alike. A signal sent to make alone (``kill -INT``, a
    script's ``terminate``) does not: GNU make passes on SIGTERM only, and then waits for us. What
    shows is that it no longer catches SIGINT (``fatal_error_signal`` in its ``commands.c``).
    """
    parent = os.getppid()
    if _read(parent, "comm").strip() not in {"make", "gmake"}:
        await asyncio.Event().wait()
    # Started in the background by a script, make may ignore the signal from the beginning.
    caught = _catches_interrupts(parent)
    while os.getppid() == parent and _catches_interrupts(parent) == caught:
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def _catches_interrupts(pid: int) -> bool:
    for line in _read(pid, "status").splitlines():
        name, _, mask = line.partition(":")
        if name == "SigCgt":
            return bool(int(mask, 16) >> (signal.SIGINT - 1) & 1)
    return False


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""
