"""The list of a broadcast: read, checked row by row, sealed, each person once.

A list is taken whole or not at all, in one transaction, unless the caller wants the rows that can
be taken. Repeated people are no mistake: the first row stands, and the others are reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from lib import bulk, clock
from messaging.broadcasts import csvfile
from messaging.broadcasts.recipients import Addressee, Sealer
from messaging.broadcasts.refusals import BroadcastErrorCode, UnableToBroadcast
from messaging.broadcasts.rows import ListedPerson, RowProblem
from messaging.broadcasts.states import Verb, locked, move
from messaging.models import Broadcast, BroadcastRecipient, BroadcastState
from workspaces.identity import Digester, digester

CHUNK = 1_000
MOST_LISTED = 100
MOST_ADDED = 1_000

COLUMNS = (
    "tenant_id uuid",
    "broadcast_id uuid",
    "position int4",
    "digest text",
    "sealed bytea",
    "sealed_reference bytea",
)
INSERT = """
INSERT INTO broadcast_recipients (
    tenant_id, broadcast_id, position, digest, sealed, sealed_reference
) SELECT * FROM {rows} ON CONFLICT (tenant_id, broadcast_id, digest) DO NOTHING RETURNING position
"""
FIRST = """
SELECT r.position, first.position FROM {rows}
JOIN broadcast_recipients first
  ON first.tenant_id = r.tenant_id AND first.broadcast_id = r.broadcast_id
 AND first.digest = r.digest
ORDER BY r.position
"""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A row whose person stands in the list already, at the position ``first``."""

    position: int
    first: int


@dataclass(slots=True)
class ListReport:
    """What became of the rows; of duplicates and problems the first hundred, and all counted.

    ``total`` is how many people the list has now.
    """

    added: int = 0
    total: int = 0
    duplicate_count: int = 0
    problem_count: int = 0
    duplicates: list[Duplicate] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)

    def note_problem(self, problem: RowProblem) -> None:
        """Count it, and list it while there is room."""
        self.problem_count += 1
        if len(self.problems) < MOST_LISTED:
            self.problems.append(problem)

    def note_duplicates(self, found: Sequence[Duplicate]) -> None:
        """Count them, and list them while there is room."""
        self.duplicate_count += len(found)
        self.duplicates.extend(found[: MOST_LISTED - len(self.duplicates)])


class UnusableRows(UnableToBroadcast):
    """Rows of a list cannot be taken; ``report`` says which. Nothing was stored."""

    def __init__(self, report: ListReport) -> None:
        count = report.problem_count
        rows = "1 row cannot" if count == 1 else f"{count} rows cannot"
        super().__init__(
            BroadcastErrorCode.INVALID_ROWS,
            "recipients",
            f"{rows} be taken. Row {report.problems[0].position}: {report.problems[0].message}",
        )
        self.report = report


def replace(
    *, tenant_id: UUID, broadcast_id: UUID, content: bytes, skip_invalid: bool = False
) -> ListReport:
    """Make a CSV file the list of a broadcast, in the place of what it had.

    Raises:
        UnusableRows: rows that cannot be taken, and ``skip_invalid`` is not set.
        UnableToBroadcast: no such broadcast, not in this state, too many rows, no header.
    """
    _check_size(content)
    with transaction.atomic():
        broadcast = locked(tenant_id=tenant_id, broadcast_id=broadcast_id, verb=Verb.FILL)
        BroadcastRecipient.objects.filter(tenant_id=tenant_id, broadcast_id=broadcast_id).delete()
        try:
            return _store(broadcast, csvfile.read(content), skip_invalid=skip_invalid)
        except csvfile.UnusableList as error:
            raise UnableToBroadcast(
                BroadcastErrorCode.UNUSABLE_LIST, "recipients", str(error)
            ) from None


def next_position(*, tenant_id: UUID, broadcast_id: UUID) -> int:
    """Return the place that the next added row would have."""
    rows = BroadcastRecipient.objects.filter(tenant_id=tenant_id, broadcast_id=broadcast_id)
    return int(rows.aggregate(last=Max("position"))["last"] or 0) + 1


def append(
    *, tenant_id: UUID, broadcast_id: UUID, rows: Sequence[ListedPerson | RowProblem]
) -> ListReport:
    """Add rows, numbered from 1, behind those that the list has.

    Raises:
        UnusableRows: a row cannot be taken; none was stored.
        UnableToBroadcast: no such broadcast, not in this state, too many rows.
    """
    if not 1 <= len(rows) <= MOST_ADDED:
        raise UnableToBroadcast(
            BroadcastErrorCode.INVALID_INPUT,
            "recipients",
            f"1 to {MOST_ADDED} recipients are expected at a time, {len(rows)} came.",
        )
    with transaction.atomic():
        broadcast = locked(tenant_id=tenant_id, broadcast_id=broadcast_id, verb=Verb.FILL)
        before = next_position(tenant_id=tenant_id, broadcast_id=broadcast_id) - 1
        return _store(broadcast, rows, before=before)


def _check_size(content: bytes) -> None:
    most = settings.SIGMA_BROADCAST_MAX_BYTES
    if len(content) > most:
        raise UnableToBroadcast(
            BroadcastErrorCode.TOO_MANY_RECIPIENTS,
            "recipients",
            f"A list of at most {most:,} bytes is expected, {len(content):,} came.",
        )


def _store(
    broadcast: Broadcast,
    rows: Iterable[ListedPerson | RowProblem],
    *,
    skip_invalid: bool = False,
    before: int = 0,
) -> ListReport:
    report, writer = ListReport(), _Writer(broadcast, before)
    whose = {"tenant_id": broadcast.tenant_id, "broadcast_id": broadcast.id}
    present = BroadcastRecipient.objects.filter(**whose).count()
    most = settings.SIGMA_BROADCAST_MAX_RECIPIENTS
    for chunk in _chunks(_good(rows, report)):
        if skip_invalid or not report.problem_count:
            writer.write(chunk, report)
        if present + report.added > most:
            raise UnableToBroadcast(
                BroadcastErrorCode.TOO_MANY_RECIPIENTS,
                "recipients",
                f"A list of at most {most:,} people is expected; this one has more.",
            )
    if report.problem_count and not skip_invalid:
        raise UnusableRows(report)
    report.total = present + report.added
    _begin_anew(broadcast)
    return report


def _begin_anew(broadcast: Broadcast) -> None:
    """A refused list that changed is a new one; what was found in the old one is past."""
    broadcast.checked_to = 0
    if broadcast.state == BroadcastState.REFUSED:
        move(broadcast, BroadcastState.DRAFT, now=clock.now())


def _good(rows: Iterable[ListedPerson | RowProblem], report: ListReport) -> Iterator[ListedPerson]:
    for row in rows:
        if isinstance(row, RowProblem):
            report.note_problem(row)
        else:
            yield row


def _chunks(rows: Iterator[ListedPerson]) -> Iterator[list[ListedPerson]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


class _Writer:
    """Seals and stores chunks of rows of one broadcast."""

    def __init__(self, broadcast: Broadcast, before: int) -> None:
        self._ids = (broadcast.tenant_id, broadcast.id)
        self._before = before
        self._sealer = Sealer(*self._ids)
        self._digest = digester(broadcast.tenant_id)

    def write(self, rows: list[ListedPerson], report: ListReport) -> None:
        values = {self._before + row.position: self._values(row) for row in rows}
        stored = {position for (position,) in bulk.run(INSERT, COLUMNS, list(values.values()))}
        report.added += len(stored)
        repeated = [value[:4] for position, value in values.items() if position not in stored]
        found = bulk.run(FIRST, COLUMNS[:4], repeated)
        report.note_duplicates([Duplicate(row - self._before, first) for row, first in found])

    def _values(self, row: ListedPerson) -> tuple[UUID, UUID, int, str, bytes, bytes | None]:
        position = self._before + row.position
        addressee = Addressee(row.phone, row.user_id, row.parameters)
        sealed = self._sealer.seal(position, addressee)
        reference = self._sealer.seal_reference(position, row.reference)
        return (*self._ids, position, digest_of(self._digest, row), sealed, reference)


def digest_of(digest: Digester, row: ListedPerson) -> str:
    """Return the digest that stands for a person, however the number is spelled."""
    if row.phone:
        return digest.phone(row.same_person)
    return digest.parent(row.user_id) if row.is_parent else digest.user(row.user_id)
