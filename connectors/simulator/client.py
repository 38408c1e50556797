"""A lean load client: keep-alive connections, requests made beforehand, honest latencies.

Open loop: requests are due at fixed times, and a latency counts from the moment a request was due,
so that a server that stalls is not spared the requests it would have had to answer meanwhile
(coordinated omission). Closed loop: every connection sends its next request when it has the answer.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from connectors.simulator.wire import CallbackTarget, Connection, Shot

# Meta does not publish how long it waits; 10 s is what peers assume.
ANSWER_TIMEOUT = 10.0
NO_ANSWER = 0
RECONNECT_DELAY = 0.05
TICK = 0.001


class NothingListens(Exception):
    """Nothing answers at this address; start the system first (make up)."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """How to send: ``rate`` per second (``None``: as fast as answers come), over ``connections``.

    With ``retry`` whatever is not answered with 200 is sent again, as Meta does, after a delay that
    doubles from 0.1 s to ``longest_delay`` seconds, at most ``attempts`` times in all. ``accepts``
    are the answers that count like 200.
    """

    connections: int = 32
    rate: float | None = None
    retry: bool = False
    attempts: int = 100
    longest_delay: float = 2.0
    accepts: tuple[int, ...] = (200,)


@dataclass(slots=True)
class LoadReport:
    """What happened: answers per status (0: none came), seconds to each 200, retries, duration."""

    sent: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    retried: int = 0
    gave_up: int = 0
    seconds: float = 0.0

    def quantile(self, share: float) -> float:
        """Return the latency in seconds that ``share`` of the accepted requests kept to."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _ignore(index: int, status: int) -> None:
    """Nobody listens to single answers."""


class Load:
    """Send the requests of an iterator; ``stop`` ends early, and the report is still right.

    ``on_answer(index, status)`` is called for every answer; ``index`` counts requests from 0.
    """

    def __init__(
        self,
        target: CallbackTarget,
        requests: Iterator[bytes],
        plan: LoadPlan,
        on_answer: Callable[[int, int], None] = _ignore,
    ) -> None:
        self.report = LoadReport()
        self._target, self._plan, self._on_answer = target, plan, on_answer
        self._requests = enumerate(requests)
        self._waiting: deque[Shot] = deque()
        # In turn, so that none is idle for so long that the server ends it while we are sending.
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._owed, self._is_exhausted = 0, False
        # Jitter of delays only.
        self._rng = Random(0)  # noqa: S311

    async def run(self) -> LoadReport:
        """Send everything and return the report.

        Raises:
            NothingListens: the first connection was refused.
        """
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        await self._connect_all()
        watch, started = asyncio.create_task(self._watch()), monotonic()
        if self._plan.rate:
            await self._keep_time(self._plan.rate)
        else:
            self._fill()
        self._check_done()
        await self._done.wait()
        self.report.seconds = monotonic() - started
        for task in (watch, *self._connecting):
            task.cancel()
        for connection in tuple(self._open):
            connection.abort()
        return self.report

    def stop(self) -> None:
        """Send nothing more, and no longer wait for what is under way."""
        self._is_exhausted = True
        self._done.set()

    async def _connect_all(self) -> None:
        if not await self._attempt():
            where = f"{self._target.host}:{self._target.port}"
            raise NothingListens(f"Nothing listens at {where}; start it first: make up")
        for _ in range(self._plan.connections - 1):
            await self._attempt()

    async def _attempt(self) -> bool:
        try:
            _, connection = await self._loop.create_connection(
                lambda: Connection(self._answered, self._lost), self._target.host, self._target.port
            )
        except OSError:
            return False
        self._open.add(connection)
        self._idle.append(connection)
        return True

    async def _keep_time(self, rate: float) -> None:
        started, made = monotonic(), 0
        while not self._is_exhausted:
            until = int((monotonic() - started) * rate) + 1
            while made < until and self._take(started + made / rate):
                made += 1
            self._fill()
            await asyncio.sleep(max(TICK, started + made / rate - monotonic()))

    def _take(self, due: float) -> bool:
        index, request = next(self._requests, (-1, b""))
        if index < 0 or self._is_exhausted:
            self._is_exhausted = True
            self._check_done()
            return False
        self._owed += 1
        self._waiting.append(Shot(index, request, due))
        return True

    def _fill(self) -> None:
        now = monotonic()
        while self._idle:
            if not self._waiting and (self._plan.rate or not self._take(now)):
                return
            self.report.sent += 1
            self._idle.popleft().send(self._waiting.popleft(), now)

    def _answered(self, connection: Connection, shot: Shot, status: int) -> None:
        self._idle.append(connection)
        self._settle(shot, status)
        self._fill()

    def _lost(self, connection: Connection, shot: Shot | None) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._done.is_set():
            return
        task = asyncio.create_task(self._reconnect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        if shot is not None:
            self._settle(shot, NO_ANSWER)

    async def _reconnect(self) -> None:
        while not await self._attempt():
            self._refuse_one()
            await asyncio.sleep(RECONNECT_DELAY)
        self._fill()

    def _refuse_one(self) -> None:
        """Count a refused connection as an answer that never came, so that a run always ends."""
        if not self._plan.retry and (self._waiting or self._take(monotonic())):
            self.report.sent += 1
            self._settle(self._waiting.popleft(), NO_ANSWER)
        self._check_done()

    def _settle(self, shot: Shot, status: int) -> None:
        self.report.codes[status] += 1
        self._on_answer(shot.index, status)
        if status in self._plan.accepts:
            self.report.latencies.append(monotonic() - shot.due)
        elif self._plan.retry and shot.attempt + 1 < self._plan.attempts:
            self._send_again(shot)
            return
        else:
            self.report.gave_up += 1
        self._owed -= 1
        self._check_done()

    def _send_again(self, shot: Shot) -> None:
        longest = min(self._plan.longest_delay, 0.1 * 2**shot.attempt)
        delay = longest * (0.5 + self._rng.random() / 2)
        shot.attempt, shot.due = shot.attempt + 1, monotonic() + delay
        self.report.retried += 1
        self._loop.call_later(delay, self._requeue, shot)

    def _requeue(self, shot: Shot) -> None:
        self._waiting.append(shot)
        self._fill()

    def _check_done(self) -> None:
        if self._is_exhausted and not self._owed:
            self._done.set()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(1)
            for connection in tuple(self._open):
                connection.abort_if_older(monotonic() - ANSWER_TIMEOUT)
