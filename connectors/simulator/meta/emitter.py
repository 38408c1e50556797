"""Deliver callbacks: signed, several updates in one, again until somebody answers 200."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable

from connectors.simulator.meta.callbacks import Update, encode, envelope
from connectors.simulator.meta.clock import Agenda, Clock
from connectors.simulator.meta.outbox import Delivery, Outbox, Parcel
from connectors.simulator.meta.world import Options
from connectors.simulator.wire import target

# Meta publishes seven days; the delays between are its secret.
GIVES_UP_AFTER = 7 * 24 * 3600.0
LONGEST_DELAY = 12 * 3600.0
KEPT = 2_000


class Emitter:
    """Everything that leaves for the callback addresses."""

    def __init__(self, clock: Clock, agenda: Agenda, options: Options) -> None:
        self.options = options
        self.log: deque[Delivery] = deque(maxlen=KEPT)
        self.count = self.lost = self.updates = 0
        self._clock, self._agenda = clock, agenda
        self._outboxes: dict[tuple[str, str], Outbox] = {}

    def emit(self, update: Update, key: str, destinations: Iterable[tuple[str, str]]) -> None:
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

    def _send(self, update: Update, key: str, url: str, secret: str) -> None:
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

    def _pack(self, outbox: Outbox, updates: list[Update]) -> Parcel:
        self.count += 1
        body = encode(envelope(updates))
        delivery = Delivery(
            n=self.count, time=self._clock.now(), url=outbox.url, body=body.decode(),
            updates=[update.summary for update in updates],
            state="pending" if outbox.url else "unaddressed",
        )  # fmt: skip
        self.log.append(delivery)
        is_forged = self._happens("signature", str(self.count), self.options.bad_signatures)
        people = frozenset(update.person for update in updates) - {""}
        return Parcel(delivery.n, body, delivery, is_forged, people)

    def _settle(self, outbox: Outbox, parcel: Parcel, status: int) -> None:
        delivery = parcel.delivery
        delivery.attempts += 1
        delivery.status, delivery.next_at = status, None
        now = self._clock.now()
        if status == 200:
            delivery.state = "delivered"
        elif now - delivery.time >= GIVES_UP_AFTER:
            delivery.state = "given_up"
        else:
            # What failed for its forged signature is sent again with a good one.
            parcel.is_forged = False
            delivery.state = "waiting"
            delivery.next_at = now + min(4.0 ** (delivery.attempts - 1), LONGEST_DELAY)
            self._agenda.at(delivery.next_at, lambda: outbox.post(parcel))
