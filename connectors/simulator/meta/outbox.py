"""One callback address: updates wait for company, then leave over few keep-alive connections."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from time import monotonic

import msgspec

from connectors.simulator.connection import Connection, Shot
from connectors.simulator.meta.callbacks import Update
from connectors.simulator.meta.world import Options
from connectors.simulator.wire import Target

LINGER = 0.005
MOST_CONNECTIONS = 16
# How many waiting callbacks are looked at for one that may go.
LOOK_AHEAD = 256
# Meta does not publish how long it waits; 10 s is what peers assume.
ANSWER_TIMEOUT = 10.0
NO_ANSWER = 0


class Delivery(msgspec.Struct, kw_only=True):
    """One callback in the log. ``state``: pending, delivered, waiting (to be sent again at
    ``next_at``), given_up, unaddressed (the app has no address). Times are virtual Unix seconds.
    """

    n: int
    time: float
    url: str
    updates: list[str]
    body: str
    attempts: int = 0
    status: int = NO_ANSWER
    state: str = "pending"
    next_at: float | None = None


@dataclass(slots=True)
class Parcel:
    """A callback ready to go; ``delivery`` is its entry in the log, ``people`` whom it tells of."""

    n: int
    body: bytes = field(repr=False)
    delivery: Delivery = field(repr=False)
    is_forged: bool = False
    people: frozenset[str] = frozenset()


class Outbox:
    """``pack`` makes a callback of updates; ``settle`` hears of each answer (0: there was none).

    Without a ``target`` everything is packed and kept, and nothing leaves.
    """

    def __init__(
        self, target: Target | None, pack: Callable[[Outbox, list[Update]], Parcel],
        settle: Callable[[Outbox, Parcel, int], None], options: Options,
    ) -> None:  # fmt: skip
        self._target, self._pack, self._settle = target, pack, settle
        self._options = options
        self._updates: deque[Update] = deque()
        self._ready: deque[Parcel] = deque()
        self._under_way: dict[int, Parcel] = {}
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_lingering = self._is_closed = False

    def __len__(self) -> int:
        """Return what is not yet under way."""
        return len(self._updates) + len(self._ready)

    @property
    def url(self) -> str:
        """The address, empty for none."""
        there = self._target
        return f"http://{there.host}:{there.port}{there.path}" if there else ""

    def put(self, update: Update) -> None:
        """Send an update soon, with those that come in the next milliseconds."""
        self._updates.append(update)
        if not self._is_lingering:
            self._is_lingering = True
            asyncio.get_running_loop().call_later(LINGER, self._linger_ends)

    def post(self, parcel: Parcel) -> None:
        """Send a callback, for instance once more."""
        self._ready.append(parcel)
        self.pump()

    def pump(self) -> None:
        """Send what can be sent."""
        if self._options.is_paused or self._is_closed:
            return
        size = max(1, self._options.batch)
        while self._updates and not self._is_lingering:
            count = min(size, len(self._updates))
            parcel = self._pack(self, [self._updates.popleft() for _ in range(count)])
            if self._target is not None:
                self._ready.append(parcel)
        while self._idle and (following := self._next()) is not None:
            self._send(self._idle.pop(), following)
        room = MOST_CONNECTIONS - len(self._open) - len(self._tasks)
        for _ in range(min(room, len(self._ready) - len(self._tasks))):
            task = asyncio.get_running_loop().create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Send nothing more."""
        self._is_closed = True
        self._under_way.clear()
        for task in self._tasks:
            task.cancel()
        for connection in tuple(self._open):
            connection.abort()

    def _next(self) -> Parcel | None:
        """Take the first callback that tells of nobody whom one under way tells of: each person's
        updates arrive in order, unless disorder is asked for.
        """
        spoken_of = {who for parcel in self._under_way.values() for who in parcel.people}
        for position, parcel in enumerate(islice(self._ready, LOOK_AHEAD)):
            if spoken_of.isdisjoint(parcel.people):
                del self._ready[position]
                return parcel
        return None

    def _linger_ends(self) -> None:
        self._is_lingering = False
        self.pump()

    async def _connect(self) -> None:
        assert self._target is not None  # noqa: S101 - nothing is ready without one
        there = self._target
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self._answered, self._lost), there.host, there.port
            )
        except OSError:
            while self._ready:
                self._settle(self, self._ready.popleft(), NO_ANSWER)
            return
        self._open.add(connection)
        self._idle.append(connection)
        self.pump()

    def _send(self, connection: Connection, parcel: Parcel) -> None:
        assert self._target is not None  # noqa: S101 - there is a connection to it
        there = replace(self._target, secret=b"forged") if parcel.is_forged else self._target
        now = monotonic()
        self._under_way[parcel.n] = parcel
        connection.send(Shot(parcel.n, there.request(parcel.body), now), now)
        asyncio.get_running_loop().call_later(ANSWER_TIMEOUT, connection.abort_if_older, now + 1e-6)

    def _answered(self, connection: Connection, shot: Shot, status: int) -> None:
        self._idle.append(connection)
        self._done(shot, status)
        self.pump()

    def _lost(self, connection: Connection, shot: Shot | None) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if shot is not None:
            self._done(shot, NO_ANSWER)
        if not self._is_closed:
            self.pump()

    def _done(self, shot: Shot, status: int) -> None:
        parcel = self._under_way.pop(shot.index, None)
        if parcel is not None:
            self._settle(self, parcel, status)
