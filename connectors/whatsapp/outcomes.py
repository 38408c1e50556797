"""What became of updates: every one ends in exactly one counted place."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from connectors.models import DeadKind
from connectors.whatsapp.wire.parsing import Isolator, NotAnEnvelope, Path, Update

# What is cut out of a callback one by one may take this much, and twice its own size.
ROOM_BYTES = 64_000
# What a row costs beside its body.
ROW_BYTES = 500


@dataclass(slots=True, eq=False)
class Callback:
    """An opened callback (or some isolated updates of it, when replayed).

    ``positions`` are those that isolated updates had in the whole callback.
    """

    delivery_id: int
    received_at: datetime
    tenant_id: UUID
    body: bytes = field(repr=False)
    positions: tuple[int, ...] = ()
    _cut: int = field(default=0, init=False, repr=False)
    _isolator: Isolator | None = field(default=None, init=False, repr=False)

    def isolate(self, paths: Sequence[Path]) -> bytes:
        """Return a callback body that holds only the updates at ``paths``; it is read once."""
        try:
            self._isolator = self._isolator or Isolator(self.body)
            return self._isolator.isolate(paths)
        except NotAnEnvelope:  # nested right at the limit: what cannot be cut is kept whole
            return self.body

    def cut(self, path: Path) -> bytes | None:
        """Return a body of the update at ``path`` alone; ``None`` once too much was cut out.

        All updates of a value share what stands beside them: a small body could become many large
        ones.
        """
        if self._cut > ROOM_BYTES + 2 * len(self.body):
            return None
        body = self.isolate([path])
        self._cut += ROW_BYTES + len(body)
        return body


@dataclass(frozen=True, slots=True)
class Failure:
    """Updates of a callback that could not be stored; ``reason`` never quotes their content.

    Without a ``body`` it is the whole callback, which stays in Raw. ``positions`` are those of the
    updates in it.
    """

    callback: Callback
    kind: DeadKind
    reason: str
    body: bytes | None
    field: str = ""
    phone_number_id: str = ""
    updates: int = 1
    positions: tuple[int, ...] = ()


@dataclass(slots=True)
class Crowd:
    """Updates of one callback that share a row, since alone they would take too much room."""

    reason: str
    updates: list[Update] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """One tenant's counts. ``duplicates`` and ``unhandled`` are parts of ``processed``.

    ``purged_callbacks`` are those whose Raw was removed (here: filed under their tenants).
    """

    callbacks: int = 0
    updates: int = 0
    processed: int = 0
    duplicates: int = 0
    quarantined: int = 0
    dead: int = 0
    purged_callbacks: int = 0
    unhandled: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def columns(self) -> tuple[int, ...]:
        """The counts in the order of the ledger's columns."""
        return (
            self.callbacks, self.updates, self.processed, self.quarantined, self.dead,
            self.duplicates, self.unhandled.total(), self.purged_callbacks,
        )  # fmt: skip


CrowdKey = tuple[Callback, DeadKind, str]


@dataclass(slots=True)
class Outcome:
    """What a batch came to."""

    tallies: defaultdict[UUID, Tally] = field(default_factory=lambda: defaultdict(Tally))
    failures: list[Failure] = field(default_factory=list)
    _crowds: dict[CrowdKey, Crowd] = field(default_factory=dict)

    def fail(self, failure: Failure) -> None:
        """Count and keep a failure."""
        self.failures.append(failure)
        tally = self.tallies[failure.callback.tenant_id]
        if failure.kind == DeadKind.DEAD:
            tally.dead += failure.updates
        else:
            tally.quarantined += failure.updates

    def set_aside(self, callback: Callback, update: Update, kind: DeadKind, reason: str) -> None:
        """Count and keep one update: alone while its callback has room, else with its likes, which
        count once they are :meth:`gathered <gather>`.
        """
        body = callback.cut(update.path)
        if body is not None:
            self.fail(_failure(callback, [update], kind, reason, body))
            return
        key = callback, kind, _number(update)
        self._crowds.setdefault(key, Crowd(reason)).updates.append(update)

    def gather(self) -> None:
        """Make one failure of each crowd; every update was looked at."""
        for (callback, kind, _), crowd in self._crowds.items():
            updates, reason = crowd.updates, crowd.reason
            if len(updates) > 1:
                reason = f"{len(updates)} updates, the first: {reason}"
            body = callback.isolate(sorted(update.path for update in updates))
            self.fail(_failure(callback, updates, kind, reason, body))
        self._crowds.clear()


def _failure(
    callback: Callback, updates: Sequence[Update], kind: DeadKind, reason: str, body: bytes
) -> Failure:
    first, positions = updates[0], sorted(update.position for update in updates)
    return Failure(
        callback, kind, reason, body, first.field[:64], _number(first), len(updates),
        tuple(positions),
    )  # fmt: skip


def _number(update: Update) -> str:
    return (update.phone_number_id or "")[:64]
