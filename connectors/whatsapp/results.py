"""Every update ends in exactly one counted place: processed, quarantined or dead.

What could not be stored is parked in ``webhook_dead``: sealed, with the reason, until it is
replayed or purged. The counts are written in the transaction that stores the rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from connectors.whatsapp import raw
from connectors.whatsapp.models import DeadKind, WebhookDead, WebhookDelivery
from connectors.whatsapp.wire.decoding import NotAnEnvelope
from connectors.whatsapp.wire.isolation import Isolator
from connectors.whatsapp.wire.updates import Path, Update
from lib import bulk
from lib.envelope import CannotOpen, associated_data
from workspaces import keys

SEALED = "webhook_dead.sealed"
# What is cut out of a callback one by one may take this much, and twice its own size.
ROOM_BYTES = 64_000
# What a row costs beside its body.
ROW_BYTES = 500
COUNTS = (
    "callbacks",
    "updates",
    "processed",
    "quarantined",
    "dead",
    "duplicates",
    "unhandled",
    "purged_callbacks",
)
ADD = f"""
INSERT INTO webhook_ledger (tenant_id, {", ".join(COUNTS)})
SELECT tenant_id, {", ".join(COUNTS)} FROM {{rows}}
ON CONFLICT (tenant_id) DO UPDATE SET updated_at = now(),
    {", ".join(f"{c} = webhook_ledger.{c} + excluded.{c}" for c in COUNTS)}
"""  # noqa: S608 - names of ours
ADD_UNHANDLED = """
INSERT INTO webhook_unhandled (tenant_id, field, kind, count)
SELECT tenant_id, field, kind, count FROM {rows}
ON CONFLICT (tenant_id, field, kind) DO UPDATE
SET count = webhook_unhandled.count + excluded.count, last_seen_at = now()
"""


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
class FailedUpdates:
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
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def unhandled(self) -> int:
        """How many updates were kept and counted, but not modelled."""
        return self.kinds.total()


@dataclass(slots=True)
class UpdateGroup:
    """Updates of one callback that share a row, since alone they would take too much room."""

    reason: str
    updates: list[Update] = field(default_factory=list)


@dataclass(slots=True)
class BatchResult:
    """What a batch came to."""

    tallies: defaultdict[UUID, Tally] = field(default_factory=lambda: defaultdict(Tally))
    failures: list[FailedUpdates] = field(default_factory=list)
    _groups: dict[tuple[Callback, DeadKind, str], UpdateGroup] = field(default_factory=dict)

    def fail(self, failure: FailedUpdates) -> None:
        """Count and keep a failure."""
        self.failures.append(failure)
        tally = self.tallies[failure.callback.tenant_id]
        if failure.kind == DeadKind.DEAD:
            tally.dead += failure.updates
        else:
            tally.quarantined += failure.updates

    def park(self, callback: Callback, update: Update, kind: DeadKind, reason: str) -> None:
        """Count and keep one update that is not stored: alone while its callback has room, else
        together with its likes, which count once :meth:`close` is called.
        """
        body = callback.cut(update.path)
        if body is not None:
            self.fail(_failure(callback, [update], kind, reason, body))
            return
        key = callback, kind, _number_of(update)
        self._groups.setdefault(key, UpdateGroup(reason)).updates.append(update)

    def close(self) -> None:
        """Make one failure of each group; every update was looked at."""
        for (callback, kind, _), group in self._groups.items():
            updates, reason = group.updates, group.reason
            if len(updates) > 1:
                reason = f"{len(updates)} updates, the first: {reason}"
            body = callback.isolate(sorted(update.path for update in updates))
            self.fail(_failure(callback, updates, kind, reason, body))
        self._groups.clear()


def _failure(
    callback: Callback, updates: Sequence[Update], kind: DeadKind, reason: str, body: bytes
) -> FailedUpdates:
    first = updates[0]
    return FailedUpdates(
        callback=callback,
        kind=kind,
        reason=reason,
        body=body,
        field=first.field[:64],
        phone_number_id=_number_of(first),
        updates=len(updates),
        positions=tuple(sorted(update.position for update in updates)),
    )


def _number_of(update: Update) -> str:
    return (update.phone_number_id or "")[:64]


def store(result: BatchResult) -> None:
    """Write a batch's failures and counts inside the caller's transaction.

    Call it last: it locks the tenants' rows of the ledger.
    """
    store_failures(result.failures)
    add_counts(result.tallies)


def store_failures(failures: Iterable[FailedUpdates]) -> None:
    """Write failures to ``webhook_dead`` inside the caller's transaction.

    A callback of which nothing could be read lies in Raw already: its row is without a body, and
    needs no key.
    """
    WebhookDead.objects.bulk_create([_row_of(failure) for failure in failures])


def _row_of(failure: FailedUpdates) -> WebhookDead:
    callback = failure.callback
    return WebhookDead(
        tenant_id=callback.tenant_id,
        kind=failure.kind,
        reason=failure.reason,
        field=failure.field,
        phone_number_id=failure.phone_number_id,
        sealed=b"" if failure.body is None else _sealed(callback, failure.body),
        updates=failure.updates,
        positions=list(failure.positions),
        delivery_id=callback.delivery_id,
        received_at=callback.received_at,
    )


def _sealed(callback: Callback, body: bytes) -> bytes:
    cipher = keys.day_cipher(callback.tenant_id, callback.received_at.date())
    return cipher.seal(body, associated_data(callback.tenant_id, SEALED, callback.delivery_id))


def callback_of(row: WebhookDead) -> Callback:
    """Return the callback that holds just the updates of a row, to be processed again.

    Raises:
        lib.envelope.CannotOpen: purged, altered or moved.
    """
    body = _body_of(row) if row.sealed else _raw_body_of(row)
    positions = tuple(row.positions or ())
    return Callback(row.delivery_id, row.received_at, row.tenant_id, body, positions)


def _body_of(row: WebhookDead) -> bytes:
    sealed = bytes(row.sealed)
    associated = associated_data(row.tenant_id, SEALED, row.delivery_id)
    return keys.cipher_of(sealed).open(sealed, associated)


def _raw_body_of(row: WebhookDead) -> bytes:
    delivery = WebhookDelivery.objects.filter(
        id=row.delivery_id, received_at=row.received_at, tenant_id=row.tenant_id
    ).first()
    if delivery is None:
        raise CannotOpen("Raw was purged before this callback was processed.")
    return raw.open_body(bytes(delivery.body), tenant_id=row.tenant_id, delivery_id=row.delivery_id)


def add_counts(tallies: Mapping[UUID, Tally]) -> None:
    """Add counts to the tenants' ledgers inside the caller's transaction."""
    columns = ("tenant_id uuid", *(f"{count} int8" for count in COUNTS))
    rows = [(one, *(getattr(tally, count) for count in COUNTS)) for one, tally in tallies.items()]
    bulk.run(ADD, columns, sorted(rows))
    kinds = sorted(
        (tenant_id, *kind, count)
        for tenant_id, tally in tallies.items()
        for kind, count in tally.kinds.items()
    )
    bulk.run(ADD_UNHANDLED, ("tenant_id uuid", "field text", "kind text", "count int8"), kinds)
