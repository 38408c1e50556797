"""Callbacks: updates wait for others, are packed and signed as Meta does it, and are sent over few
keep-alive connections, again until the address answers 200.

Envelope: https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from time import monotonic
from typing import NamedTuple

import msgspec

from connectors.simulator.meta.clock import Agenda, Clock
from connectors.simulator.meta.world import Json, SimulatorOptions
from connectors.simulator.wire import CallbackTarget, Connection, Shot, target

# Meta publishes seven days; the delays between are its secret.
GIVES_UP_AFTER = 7 * 24 * 3600.0
LONGEST_DELAY = 12 * 3600.0
KEPT = 2_000
COLLECT_SECONDS = 0.005
MAX_CONNECTIONS = 16
# How many waiting callbacks are looked at for one that may go.
LOOK_AHEAD = 256
# Meta does not publish how long it waits; 10 s is what peers assume.
ANSWER_TIMEOUT = 10.0
NO_ANSWER = 0


class MetaUpdate(NamedTuple):
    """One update: an ``item`` of the list ``section`` of its number's value, or, without a section,
    the value itself. ``time`` (Unix seconds) is for those without a number.
    """

    waba_id: str
    field: str
    item: Json
    section: str = ""
    metadata: Json | None = None
    contact: Json | None = None
    time: int = 0

    @property
    def summary(self) -> str:
        """What it is in few words, for the log of deliveries."""
        what = self.item.get("status") or self.item.get("type") or self.item.get("event") or ""
        return f"{self.field} {what}".strip()

    @property
    def person(self) -> str:
        """The person it is about, empty for none."""
        names = ("from", "from_user_id", "recipient_id", "recipient_user_id")
        return next((str(self.item[name]) for name in names if self.item.get(name)), "")


def envelope(updates: Iterable[MetaUpdate]) -> Json:
    """Return the document of one callback: an entry per account, a change per number and list."""
    entries: dict[str, Json] = {}
    changes: dict[tuple[str, str, str, str], Json] = {}
    for position, update in enumerate(updates):
        entry = entries.setdefault(update.waba_id, {"id": update.waba_id, "changes": []})
        if update.time:
            entry["time"] = update.time
        number = str((update.metadata or {}).get("phone_number_id", position))
        key = (update.waba_id, update.field, update.section, number)
        value = changes.get(key)
        if value is None:
            value = changes[key] = _value(update)
            listed = entry["changes"]
            assert isinstance(listed, list)  # noqa: S101 - made above
            listed.append({"value": value, "field": update.field})
        if update.section:
            _put(value, update)
    return {"object": "whatsapp_business_account", "entry": list(entries.values())}


def encode(document: Json) -> bytes:
    """Return the bytes as Meta writes them; the signature is made over exactly these.

    No spaces; characters beyond ASCII and slashes are escaped.
    """
    return json.dumps(document, separators=(",", ":")).replace("/", "\\/").encode()


def _value(update: MetaUpdate) -> Json:
    if not update.section:
        return update.item
    return {"messaging_product": "whatsapp", "metadata": update.metadata}


def _put(value: Json, update: MetaUpdate) -> None:
    if update.contact is not None:
        contacts = value.setdefault("contacts", [])
        if isinstance(contacts, list) and update.contact not in contacts:
            contacts.append(update.contact)
    items = value.setdefault(update.section, [])
    if isinstance(items, list):
        items.append(update.item)


class Emitter:
    """Everything that leaves for the callback addresses."""

    def __init__(self, clock: Clock, agenda: Agenda, options: SimulatorOptions) -> None:
        self.options = options
        self.log: deque[CallbackDelivery] = deque(maxlen=KEPT)
        self.count = self.lost = self.updates = 0
        self._clock, self._agenda = clock, agenda
        self._outboxes: dict[tuple[str, str], Outbox] = {}

    def emit(self, update: MetaUpdate, key: str, destinations: Iterable[tuple[str, str]]) -> None:
        """Send an update to addresses with the secrets to sign with.

        ``key`` names the update: with the same seed the same ones are lost, repeated, held back.
        """
        for url, secret in destinations:
            if self._happens("loss", key, self.options.loss):
                self.lost += 1
                continue
            copies = 2 if self._happens("duplicate", key, self.options.duplicates) else 1
            for copy in range(copies):
                self._send(update, f"{key}:{copy}", url, secret)

    def flush(self) -> None:
        """Go on after the options changed."""
        for outbox in self._outboxes.values():
            outbox.pump()

    def waiting(self) -> int:
        """Return how many updates and callbacks are not yet under way."""
        return sum(len(outbox) for outbox in self._outboxes.values())

    def clear(self) -> None:
        """Forget the log and whatever was still to be sent."""
        self.close()
        self.log.clear()
        self.count = self.lost = self.updates = 0

    def close(self) -> None:
        """Drop every connection."""
        for outbox in self._outboxes.values():
            outbox.close()
        self._outboxes.clear()

    def _happens(self, what: str, key: str, share: float) -> bool:
        if share <= 0:
            return False
        text = f"{self.options.seed}:{what}:{key}".encode()
        chance = int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") / 2**32
        return chance * 100 < share

    def _send(self, update: MetaUpdate, key: str, url: str, secret: str) -> None:
        outbox = self._outboxes.get((url, secret))
        if outbox is None:
            where = target(url, secret.encode()) if url else None
            outbox = Outbox(where, self._pack, self._settle, self.options)
            self._outboxes[url, secret] = outbox
        self.updates += 1
        if self._happens("disorder", key, self.options.disorder):
            # Held back for longer than the statuses that follow take.
            later = self._clock.now() + 1.5 * max(self.options.status_delays_ms) / 1000
            self._agenda.at(later, lambda: outbox.put(update))
        else:
            outbox.put(update)

    def _pack(self, outbox: Outbox, updates: list[MetaUpdate]) -> PendingCallback:
        self.count += 1
        body = encode(envelope(updates))
        delivery = CallbackDelivery(
            n=self.count,
            time=self._clock.now(),
            url=outbox.url,
            body=body.decode(),
            updates=[update.summary for update in updates],
            state="pending" if outbox.url else "unaddressed",
        )
        self.log.append(delivery)
        is_forged = self._happens("signature", str(self.count), self.options.bad_signatures)
        people = frozenset(update.person for update in updates) - {""}
        return PendingCallback(delivery.n, body, delivery, is_forged, people)

    def _settle(self, outbox: Outbox, callback: PendingCallback, status: int) -> None:
        delivery = callback.delivery
        delivery.attempts += 1
        delivery.status, delivery.next_at = status, None
        now = self._clock.now()
        if status == 200:
            delivery.state = "delivered"
        elif now - delivery.time >= GIVES_UP_AFTER:
            delivery.state = "given_up"
        else:
            # What failed for its forged signature is sent again with a good one.
            callback.is_forged = False
            delivery.state = "waiting"
            delivery.next_at = now + min(4.0 ** (delivery.attempts - 1), LONGEST_DELAY)
            self._agenda.at(delivery.next_at, lambda: outbox.post(callback))


class CallbackDelivery(msgspec.Struct, kw_only=True):
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
class PendingCallback:
    """A callback ready to go; ``delivery`` is its entry in the log. It is about ``people``."""

    n: int
    body: bytes = field(repr=False)
    delivery: CallbackDelivery = field(repr=False)
    is_forged: bool = False
    people: frozenset[str] = frozenset()


class Outbox:
    """One callback address. ``pack`` makes a callback of updates; ``settle`` is called with each
    answer's status (0: there was none).

    Without a ``target`` everything is packed and kept, and nothing leaves.
    """

    def __init__(
        self,
        target: CallbackTarget | None,
        pack: Callable[[Outbox, list[MetaUpdate]], PendingCallback],
        settle: Callable[[Outbox, PendingCallback, int], None],
        options: SimulatorOptions,
    ) -> None:
        self._target, self._pack, self._settle = target, pack, settle
        self._options = options
        self._updates: deque[MetaUpdate] = deque()
        self._ready: deque[PendingCallback] = deque()
        self._in_flight: dict[int, PendingCallback] = {}
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_collecting = self._is_closed = False

    def __len__(self) -> int:
        """Return what is not yet under way."""
        return len(self._updates) + len(self._ready)

    @property
    def url(self) -> str:
        """The address, empty for none."""
        there = self._target
        return f"http://{there.host}:{there.port}{there.path}" if there else ""

    def put(self, update: MetaUpdate) -> None:
        """Send an update soon, with those that come in the next milliseconds."""
        self._updates.append(update)
        if not self._is_collecting:
            self._is_collecting = True
            asyncio.get_running_loop().call_later(COLLECT_SECONDS, self._collected)

    def post(self, callback: PendingCallback) -> None:
        """Send a callback, for instance once more."""
        self._ready.append(callback)
        self.pump()

    def pump(self) -> None:
        """Send what can be sent."""
        if self._options.is_paused or self._is_closed:
            return
        size = max(1, self._options.batch)
        while self._updates and not self._is_collecting:
            count = min(size, len(self._updates))
            callback = self._pack(self, [self._updates.popleft() for _ in range(count)])
            if self._target is not None:
                self._ready.append(callback)
        while self._idle and (following := self._next()) is not None:
            self._send(self._idle.pop(), following)
        room = MAX_CONNECTIONS - len(self._open) - len(self._tasks)
        for _ in range(min(room, len(self._ready) - len(self._tasks))):
            task = asyncio.get_running_loop().create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Send nothing more."""
        self._is_closed = True
        self._in_flight.clear()
        for task in self._tasks:
            task.cancel()
        for connection in tuple(self._open):
            connection.abort()

    def _next(self) -> PendingCallback | None:
        """Take the first callback that is about nobody whom one in flight is about: each person's
        updates arrive in order, unless disorder is asked for.
        """
        busy_people = {who for callback in self._in_flight.values() for who in callback.people}
        for position, callback in enumerate(islice(self._ready, LOOK_AHEAD)):
            if busy_people.isdisjoint(callback.people):
                del self._ready[position]
                return callback
        return None

    def _collected(self) -> None:
        self._is_collecting = False
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

    def _send(self, connection: Connection, callback: PendingCallback) -> None:
        assert self._target is not None  # noqa: S101 - there is a connection to it
        there = replace(self._target, secret=b"forged") if callback.is_forged else self._target
        now = monotonic()
        self._in_flight[callback.n] = callback
        connection.send(Shot(callback.n, there.request(callback.body), now), now)
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
        callback = self._in_flight.pop(shot.index, None)
        if callback is not None:
            self._settle(self, callback, status)
