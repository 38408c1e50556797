"""What became of every row, as a CSV file that spreadsheets can open without harm."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from lib.envelope import CannotOpen
from lib.sql import columns_of, select
from messaging.broadcasts.recipients import Sealer
from messaging.conversation_queries import messages_by_id
from messaging.models import Broadcast
from messaging.related import Related
from messaging.sealed_values import NEEDS_RAW_READ, is_placeholder
from messaging.statuses import ARRIVED
from workspaces.acting import as_tenant

PAGE = 1_000
TIMES = ("queued_at", "accepted_at", "sent_at", "delivered_at", "read_at", "failed_at")
BEFORE = (
    "line",
    "reference",
    "phone",
    "user_id",
    "state",
    "code",
    "reason",
    "message_id",
    "status",
)
HEADER = (*BEFORE, *TIMES, "error_code", "error")
# A cell that begins so is a formula to a spreadsheet (OWASP, "CSV Injection").
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
PURGED = "(purged)"
SHOWN = 3


class RefusedRow(NamedTuple):
    """A row that was left out, and why."""

    position: int
    reference: str
    code: str
    reason: str


class _Refused(NamedTuple):
    position: int
    sealed_reference: bytes | None
    code: str
    reason: str


class _Outcome(NamedTuple):
    position: int
    sealed_reference: bytes | None
    sealed: bytes | None
    state: str
    code: str
    reason: str
    message_id: UUID | None
    status: str | None
    delivery: str | None


REFUSED = f"""
SELECT {columns_of(_Refused)} FROM broadcast_recipients
WHERE tenant_id = %s AND broadcast_id = %s AND state = 'REFUSED' ORDER BY position LIMIT %s
"""  # noqa: S608 - names of ours
ROWS = """
SELECT r.position, r.sealed_reference, r.sealed, r.state, r.code, r.reason, r.message_id,
    m.status, m.delivery::text
FROM broadcast_recipients r
LEFT JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.message_id
WHERE r.tenant_id = %s AND r.broadcast_id = %s AND r.position > %s ORDER BY r.position LIMIT %s
"""


def refused_rows(broadcast: Broadcast, *, limit: int) -> list[RefusedRow]:
    """Return the first rows that were left out."""
    sealer = Sealer(broadcast.tenant_id, broadcast.id)
    return [
        RefusedRow(position, sealer.open_reference(position, sealed), code, reason)
        for position, sealed, code, reason in select(
            _Refused, REFUSED, [broadcast.tenant_id, broadcast.id, limit]
        )
    ]


def as_csv(broadcast: Broadcast, *, in_full: bool) -> Iterator[bytes]:
    """Yield the file in pieces, a page of rows in a transaction of its own at a time.

    Numbers and user ids are masked unless they are wanted ``in_full``; so are errors that hold one.
    """
    sealer, last = Sealer(broadcast.tenant_id, broadcast.id), -1
    yield _written([HEADER])
    while True:
        with as_tenant(broadcast.tenant_id):
            page = select(_Outcome, ROWS, [broadcast.tenant_id, broadcast.id, last, PAGE])
            if in_full:
                page = _with_errors(broadcast.tenant_id, page)
        yield _written(_cells(row, sealer, in_full) for row in page)
        if len(page) < PAGE:
            return
        last = page[-1].position


def _with_errors(tenant_id: UUID, page: Sequence[_Outcome]) -> list[_Outcome]:
    """Return rows with the errors of their messages as they came."""
    ids = {row.message_id for row in page if row.message_id and is_placeholder(_error_of(row)[1])}
    messages = messages_by_id(tenant_id=tenant_id, ids=ids)
    related = Related(tenant_id, messages)
    told = {one.id: related.delivery_of(one, with_numbers=True) for one in messages}
    opened = {message_id: json.dumps(delivery) for message_id, delivery in told.items()}
    return [
        row._replace(delivery=opened[row.message_id]) if row.message_id in opened else row
        for row in page
    ]


def _error_of(row: _Outcome) -> tuple[object, str]:
    """Return code and sentence of what went wrong."""
    delivery = json.loads(row.delivery) if row.delivery else {}
    errors = () if row.status in ARRIVED else delivery.get("errors") or ()
    error: dict[str, Any] = next(iter(errors), {})
    said = error.get("details") or error.get("message") or error.get("title") or ""
    return error.get("code", ""), said


def _written(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue().encode()


def _cells(row: _Outcome, sealer: Sealer, in_full: bool) -> list[str]:
    delivery = json.loads(row.delivery) if row.delivery else {}
    code, said = _error_of(row)
    if not in_full and is_placeholder(said):
        said = NEEDS_RAW_READ
    reference = sealer.open_reference(row.position, row.sealed_reference)
    before = [str(row.position), _harmless(reference)]
    state = (row.state, row.code, row.reason, row.message_id or "", row.status or "")
    after = (*state, *(delivery.get(name, "") for name in TIMES), code, said)
    return [*before, *_person(row, sealer, in_full), *(_harmless(str(cell)) for cell in after)]


def _person(row: _Outcome, sealer: Sealer, in_full: bool) -> tuple[str, str]:
    """Return number and user id. The number is digits behind a plus, whoever wrote it."""
    if row.sealed is None:
        return PURGED, PURGED
    try:
        person = sealer.open(row.position, bytes(row.sealed))
    except CannotOpen:
        return "", ""
    phone = f"+{person.phone}" if person.phone else ""
    return (phone, person.user_id) if in_full else (_masked(phone), _masked(person.user_id))


def _masked(identity: str) -> str:
    """Return the country of a number or user id, and an X for everything else."""
    return identity[:SHOWN] + "X" * len(identity[SHOWN:])


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell
