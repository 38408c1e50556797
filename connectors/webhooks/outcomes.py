"""What became of updates: every one ends in exactly one counted place."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from connectors.cloud_api.parsing import Isolator, NotAnEnvelope, Path
from connectors.models import DeadKind


@dataclass(slots=True, eq=False)
class Callback:
    """An opened callback (or one isolated update of it, when replayed)."""

    delivery_id: int
    received_at: datetime
    tenant_id: UUID
    body: bytes = field(repr=False)
    _isolator: Isolator | None = field(default=None, init=False, repr=False)

    def isolate(self, paths: Sequence[Path]) -> bytes:
        """Return a callback body that holds only the updates at ``paths``; it is read once."""
        try:
            self._isolator = self._isolator or Isolator(self.body)
            return self._isolator.isolate(paths)
        except NotAnEnvelope:  # nested right at the limit: what cannot be cut is kept whole
            return self.body


@dataclass(frozen=True, slots=True)
class Failure:
    """An update (or a body) that could not be stored; ``reason`` never quotes its content."""

    callback: Callback
    kind: DeadKind
    reason: str
    body: bytes
    field: str = ""
    phone_number_id: str = ""


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


@dataclass(slots=True)
class Outcome:
    """What a batch came to."""

    tallies: defaultdict[UUID, Tally] = field(default_factory=lambda: defaultdict(Tally))
    failures: list[Failure] = field(default_factory=list)

    def fail(self, failure: Failure) -> None:
        """Count and keep a failure."""
        self.failures.append(failure)
        tally = self.tallies[failure.callback.tenant_id]
        if failure.kind == DeadKind.DEAD:
            tally.dead += 1
        else:
            tally.quarantined += 1
