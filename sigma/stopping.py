"""Learn that the server is about to stop.

uvicorn tells its application only once the last connection is closed, or its patience is over: a
stream that nobody ends holds every restart up.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType


def on_stop(act: Callable[[], None]) -> None:
    """Call ``act`` in the running event loop when a signal stops the server, which hears it too.

    Does nothing beside a server that runs in a thread or leaves the signals alone.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()

    def tell() -> None:
        if not loop.is_closed():  # a signal may come once the server has ended
            loop.call_soon_threadsafe(act)

    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, _both(tell, before))


Handler = Callable[[int, FrameType | None], object]


def _both(first: Callable[[], object], then: Handler) -> Handler:
    def handle(number: int, frame: FrameType | None) -> None:
        first()
        then(number, frame)

    return handle
