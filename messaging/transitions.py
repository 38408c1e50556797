"""Every step of a message: the only statements that write ``messages.status``.

Which steps there are, what the outbox holds after each and which of them have an event is the table
in :mod:`messaging.states`. A step changes a message only where it is still in a state that it may
be made from, changes its row of the outbox in the same statement, and emits the event, all in the
caller's transaction.

There is one order of locks: messages, by their ids (:mod:`messaging.changing`), and then what the
outbox holds of them. Who claims pending sends (:mod:`messaging.delivery.due`) goes the other way,
and therefore skips whatever is locked: it never waits for anybody. A condition on the outbox stands
where its row is changed, not where its message is locked: only there PostgreSQL looks at the row
as it is once whoever claimed it has committed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from msgspec import json

from lib import bulk, clock
from messaging import changing, notices, references
from messaging.attempts import Attempt
from messaging.notices import StatusChange
from messaging.people import ALL_IDS, SURVIVOR
from messaging.references import Target
from messaging.states import WITHOUT_EVENT, State
from messaging.statuses import OPTED_OUT
from workspaces.events import emit_lazily

logger = logging.getLogger("sigma.whatsapp.sending")

# The place that binds a sealed request to its message: that of the column which held it first.
SEALED_REQUEST = "messages.sealed_request"
# What its template was when a message was queued: of one that was forced nothing else tells.
IS_MARKETING = "content #>> '{template,category}' = 'MARKETING'"
# The messages that rows name.
GIVEN = "{rows} JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.id"
# Whether another message of the number has the platform's id that ``mine`` got.
IS_TAKEN = f"""({references.KNOWN.format(row="m", id="mine.platform_message_id")} IS NOT NULL)"""
# How many messages of dead senders are given up in one transaction.
BATCH = 1_000


class Received(NamedTuple):
    """A message that came from the platform, as a row of ``messages``."""

    id: UUID
    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID | None
    platform_message_id: str
    direction: str
    source: str
    type: str
    sender: str
    text: str | None
    content: bulk.Json
    inner_key: int | None
    reply_to: str | None
    reply_to_key: int | None
    group_id: str | None
    timestamp_utc: datetime
    status: str | None
    sealed_id: bytes
    sealed_values: bytes | None
    delivery_id: int
    delivery_day: date


RECEIVED_COLUMNS = bulk.columns(Received)
RECEIVED_NAMES = ", ".join(Received._fields)
RECEIVE = f"""
INSERT INTO messages ({RECEIVED_NAMES}) SELECT {RECEIVED_NAMES} FROM {{rows}}
WHERE r.inner_key IS NULL OR NOT EXISTS (SELECT FROM messages m WHERE {references.SAME_MESSAGE})
ON CONFLICT (tenant_id, workspace_id, platform_message_id) DO NOTHING RETURNING id
"""  # noqa: S608 - names of ours


def receive(rows: Sequence[Received]) -> set[UUID]:
    """Store messages that came from the platform; return the ids of those that are new."""
    return {row[0] for row in bulk.run(RECEIVE, RECEIVED_COLUMNS, rows)}


class NewSend(NamedTuple):
    """A message to queue, as rows of ``messages`` and of the outbox."""

    id: UUID
    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID | None
    type: str
    text: str | None
    content: bulk.Json
    reply_to: str | None
    timestamp_utc: datetime
    delivery: bulk.Json
    client_reference: str | None
    request_digest: bytes | None
    sealed_values: bytes | None
    template_id: UUID | None
    broadcast_id: UUID | None
    due_at: datetime
    expires_at: datetime | None
    sealed_request: bytes


QUEUE = """
WITH asked AS MATERIALIZED (SELECT * FROM {rows}), fresh AS (
    INSERT INTO messages (
        id, tenant_id, workspace_id, contact_id, direction, source, type, text, content, reply_to,
        timestamp_utc, status, delivery, client_reference, request_digest, sealed_values,
        broadcast_id, expires_at
    )
    SELECT id, tenant_id, workspace_id, contact_id, 'OUTBOUND', 'API', type, text, content,
        reply_to, timestamp_utc, 'queued', delivery, client_reference, request_digest,
        sealed_values, broadcast_id, expires_at
    FROM asked
    ON CONFLICT (tenant_id, workspace_id, client_reference) WHERE client_reference IS NOT NULL
    DO NOTHING
    RETURNING id
)
INSERT INTO outbox (
    message_id, tenant_id, workspace_id, contact_id, template_id, broadcast_id, type, due_at,
    expires_at, sealed_request
)
SELECT asked.id, tenant_id, workspace_id, contact_id, template_id, broadcast_id, type, due_at,
    expires_at, sealed_request
FROM asked JOIN fresh ON fresh.id = asked.id
RETURNING message_id
"""


def queue(rows: Sequence[NewSend]) -> set[UUID]:
    """Store messages, due at their times; return the ids of those whose key nobody had
    taken. Whoever takes the same key at this moment is waited for: sort the rows by it.
    """
    return {row[0] for row in bulk.run(QUEUE, bulk.columns(NewSend), rows)}


class _Attempted(NamedTuple):
    """An attempt that is marked for some seconds."""

    tenant_id: UUID
    id: UUID
    attempt: bulk.Small
    seconds: float


MARK = changing.locking(
    found=f"{GIVEN} WHERE m.status = 'queued'",
    carry="r.attempt, r.seconds",
    then=f""", leased AS (
    UPDATE outbox o SET due_at = NULL,
        lease_until = clock_timestamp() + make_interval(secs => mine.seconds)
    FROM mine WHERE o.tenant_id = mine.tenant_id AND o.message_id = mine.id
      AND o.attempts = mine.attempt AND o.due_at IS NOT NULL
    RETURNING o.tenant_id, o.message_id, o.attempts
)
UPDATE messages m SET status = 'sending', attempts = leased.attempts
FROM leased WHERE m.tenant_id = leased.tenant_id AND m.id = leased.message_id
RETURNING m.id, m.tenant_id, m.contact_id, m.attempts, m.{IS_MARKETING}
""",  # noqa: S608 - names of ours
)
# Each LATERAL … LIMIT is a look-up in an index, whatever the planner knows.
UNWANTED = f"""
SELECT r.id FROM {{rows}}
CROSS JOIN LATERAL (SELECT {SURVIVOR.format(tenant_id="r.tenant_id", contact_id="r.contact_id")}
    AS id OFFSET 0) person
CROSS JOIN LATERAL (
    SELECT FROM opt_outs o
    WHERE o.tenant_id = r.tenant_id AND o.contact_id = person.id AND o.lifted_at IS NULL LIMIT 1
) stop
"""  # noqa: S608 - names of ours


def mark(attempts: Iterable[Attempt], *, seconds: float) -> set[UUID]:
    """Move reserved messages from ``queued`` to ``sending``, with a lease, in the caller's
    transaction; return those that were still reserved by this attempt.

    Marketing to whoever has had enough is left out, and due at once: the next claim refuses it
    (:mod:`messaging.delivery.due`). Whoever recorded that may have found the message locked, by
    somebody that we waited for: so this is asked once the messages are ours, in a statement that
    sees what was committed till then. What is recorded after it finds them being sent.
    """
    rows = [_Attempted(one.tenant_id, one.message_id, one.number, seconds) for one in attempts]
    marked = bulk.run(MARK, bulk.columns(_Attempted), sorted(rows))
    marketing = [row[:3] for row in marked if row[2] and row[4]]
    columns = ("id uuid", "tenant_id uuid", "contact_id uuid")
    unwanted = {row[0] for row in bulk.run(UNWANTED, columns, marketing)}
    if unwanted:
        now = clock.now()
        _release(_Released(row[1], row[0], row[3], now) for row in marked if row[0] in unwanted)
    return {row[0] for row in marked} - unwanted


class _Released(NamedTuple):
    """An attempt that is given back."""

    tenant_id: UUID
    id: UUID
    attempt: bulk.Small
    due_at: datetime


# Its sender knows that it has not left. What became ``unknown`` meanwhile stays so: its tenant was
# told, and may have written to the person again.
RELEASE = changing.locking(
    found=f"""{GIVEN}
    WHERE m.status = 'queued' OR (m.status = 'sending' AND m.attempts = r.attempt)""",
    carry="r.attempt, r.due_at, m.status",
    then=""", released AS (
    UPDATE outbox o SET due_at = mine.due_at, lease_until = NULL
    FROM mine WHERE o.tenant_id = mine.tenant_id AND o.message_id = mine.id
      AND o.attempts = mine.attempt AND (o.due_at IS NOT NULL OR o.lease_until IS NOT NULL)
    RETURNING o.tenant_id, o.message_id, mine.status
)
UPDATE messages m SET status = 'queued'
FROM released WHERE m.tenant_id = released.tenant_id AND m.id = released.message_id
  AND released.status = 'sending'
""",
)


def release(attempts: Iterable[Attempt], *, now: datetime) -> None:
    """Give back messages that these attempts did not send; they are due at once."""
    _release(_Released(one.tenant_id, one.message_id, one.number, now) for one in attempts)


def _release(rows: Iterable[_Released]) -> None:
    bulk.run(RELEASE, bulk.columns(_Released), sorted(rows))


class Acceptance(NamedTuple):
    """What the platform took, and in which attempt; ``accepted_at`` is in ISO 8601."""

    tenant_id: UUID
    id: UUID
    attempt: bulk.Small
    status: str
    accepted_at: str
    platform_message_id: str | None
    inner_key: int | None
    sealed_id: bytes | None
    day: date


# An answer may come after the end of its lease; that the platform took the message settles it all
# the same. The platform's id might be taken: by a copy of the message that came another way.
ACCEPT = changing.locking(
    found=f"""{GIVEN}
    WHERE m.attempts = r.attempt AND m.status IN ('sending', 'unknown')
      AND m.platform_message_id IS NULL""",
    carry="r.status, r.accepted_at, r.platform_message_id, r.inner_key, r.sealed_id, r.day",
    then=f""", gone AS (
    DELETE FROM outbox o USING mine WHERE o.tenant_id = mine.tenant_id AND o.message_id = mine.id
)
UPDATE messages m SET status = mine.status,
    delivery = (m.delivery - 'last_error') || jsonb_build_object('accepted_at', mine.accepted_at),
    delivery_day = mine.day, sealed_id = mine.sealed_id, inner_key = mine.inner_key,
    platform_message_id = CASE WHEN {IS_TAKEN} THEN NULL ELSE mine.platform_message_id END
FROM mine WHERE m.tenant_id = mine.tenant_id AND m.id = mine.id
RETURNING m.id, m.tenant_id, m.workspace_id, m.status,
    m.platform_message_id, m.inner_key, m.contact_id
""",  # noqa: S608 - names of ours
)


def accept(rows: Sequence[Acceptance], *, now: datetime) -> list[Target]:
    """Write down what the platform took; return those it was news of, where they have an id of the
    platform.
    """
    taken = bulk.run(ACCEPT, bulk.columns(Acceptance), rows)
    _emit((_change(row) for row in taken), now=now)
    return [Target(*row[1:3], *row[4:]) for row in taken if row[4] is not None]


class Ended(NamedTuple):
    """An attempt that the platform did not accept: the state that follows, the ``error`` in the
    shape of those of receipts, and when the message is due again, if it is.
    """

    tenant_id: UUID
    id: UUID
    attempt: int
    status: str
    at: datetime
    error: Mapping[str, object] | None
    due_at: datetime | None


class _EndedRow(NamedTuple):
    tenant_id: UUID
    id: UUID
    attempt: bulk.Small
    status: str
    facts: bulk.Json
    due_at: datetime | None


END = changing.locking(
    found=f"{GIVEN} WHERE m.attempts = r.attempt AND m.status = 'sending'",
    carry="r.status, r.facts, r.due_at",
    then=""", again AS (
    UPDATE outbox o SET lease_until = NULL, due_at = mine.due_at
    FROM mine
    WHERE o.tenant_id = mine.tenant_id AND o.message_id = mine.id AND mine.status = 'queued'
), gone AS (
    DELETE FROM outbox o USING mine
    WHERE o.tenant_id = mine.tenant_id AND o.message_id = mine.id AND mine.status <> 'queued'
)
UPDATE messages m SET status = mine.status, delivery = m.delivery || mine.facts
FROM mine WHERE m.tenant_id = mine.tenant_id AND m.id = mine.id
RETURNING m.id, m.tenant_id, m.workspace_id, m.status
""",
)


def end_attempts(rows: Iterable[Ended], *, now: datetime) -> set[UUID]:
    """Write down attempts that the platform did not accept; return those it was news of."""
    ended = {row.id: row for row in rows}
    values = [_EndedRow(*row[:4], _encoded(_facts(row)), row.due_at) for row in ended.values()]
    moved = bulk.run(END, bulk.columns(_EndedRow), values)
    _emit((_change(row, _codes(ended[row[0]].error)) for row in moved), now=now)
    return {row[0] for row in moved}


def _facts(row: Ended) -> dict[str, object]:
    facts: dict[str, object] = {}
    if row.status != State.QUEUED:
        facts[f"{row.status}_at"] = row.at.isoformat()
    if row.error is not None:
        is_last = row.status == State.FAILED
        facts |= {"errors": [row.error]} if is_last else {"last_error": row.error}
    return facts


def _codes(error: Mapping[str, object] | None) -> list[object]:
    return [] if error is None else [error.get("code")]


def _leaving(
    status: State, *, found: str, assign: str, carry: str = "", skip: bool = False, still: str = ""
) -> str:
    """Return the statement of a step that takes messages out of the outbox; ``still`` is a further
    condition on the row there, the rest is that of :func:`messaging.changing.locking`.
    """
    return changing.locking(
        found=found,
        carry=carry,
        skip=skip,
        then=f""", gone AS (
    DELETE FROM outbox o USING mine
    WHERE o.tenant_id = mine.tenant_id AND o.message_id = mine.id {still}
    RETURNING o.attempts, mine.*
)
UPDATE messages m SET status = '{status}', attempts = gone.attempts, {assign}
FROM gone WHERE m.tenant_id = gone.tenant_id AND m.id = gone.id
RETURNING m.id, m.tenant_id, m.workspace_id, m.status
""",  # noqa: S608 - texts of ours
    )


class _Failed(NamedTuple):
    tenant_id: UUID
    id: UUID
    facts: bulk.Json


# Its claimer has locked the row of the outbox, and waits for nobody: a message that somebody else
# has locked is looked at again at the next claim.
FAIL = _leaving(
    State.FAILED,
    found=f"{GIVEN} WHERE m.status = 'queued'",
    carry="r.facts",
    assign="delivery = m.delivery || gone.facts",
    skip=True,
)


def fail(errors: Mapping[tuple[UUID, UUID], Mapping[str, object]], *, now: datetime) -> set[UUID]:
    """Give up queued messages (tenant and id) that the caller claims, each for its error; return
    which it was.
    """
    rows = [
        _Failed(*one, _encoded({"failed_at": now.isoformat(), "errors": [error]}))
        for one, error in errors.items()
    ]
    failed = bulk.run(FAIL, bulk.columns(_Failed), rows)
    _emit((_change(row, _codes(errors[row[1], row[0]])) for row in failed), now=now)
    return {row[0] for row in failed}


# By the database's clock, which gave the lease.
EXPIRE = _leaving(
    State.UNKNOWN,
    found="""(
        SELECT tenant_id, message_id FROM outbox WHERE lease_until < clock_timestamp()
        ORDER BY lease_until LIMIT %(batch)s
    ) late JOIN messages m ON m.tenant_id = late.tenant_id AND m.id = late.message_id
    WHERE m.status = 'sending'""",
    assign="delivery = m.delivery || jsonb_build_object('unknown_at', %(at)s::text)",
    skip=True,
    still="AND o.lease_until < clock_timestamp()",
)


def expire(*, now: datetime) -> int:
    """Move what was being sent when its lease ended to ``unknown``; return how many there were.

    Its sender died: nobody knows whether it left, so nobody sends it again.
    """
    with transaction.atomic():
        expired = _run(EXPIRE, {"at": now.isoformat(), "batch": BATCH}, now=now)
    if expired:
        logger.warning("whatsapp sends without an outcome", extra={"messages": expired})
    return expired


# Whoever is sending a message has changed its status already: then these find nothing.
_CANCELLED_AT = "delivery = m.delivery || jsonb_build_object('cancelled_at', %(at)s::text)"
CANCEL = _leaving(
    State.CANCELLED,
    found="""messages m WHERE m.tenant_id = %(tenant)s AND m.id = %(message)s
    AND m.source = 'API' AND m.status = 'queued'""",
    assign=_CANCELLED_AT,
)


def cancel(*, tenant_id: UUID, message_id: UUID, now: datetime) -> bool:
    """Cancel a message if it is still queued; return whether it was."""
    facts = {"tenant": tenant_id, "message": message_id, "at": now.isoformat()}
    return _run(CANCEL, facts, now=now) > 0


CANCEL_BROADCAST = _leaving(
    State.CANCELLED,
    found="""outbox q JOIN messages m ON m.tenant_id = q.tenant_id AND m.id = q.message_id
    WHERE q.tenant_id = %(tenant)s AND q.broadcast_id = %(broadcast)s AND m.status = 'queued'""",
    assign=_CANCELLED_AT,
)


def cancel_broadcast(*, tenant_id: UUID, broadcast_id: UUID, now: datetime) -> int:
    """Cancel all queued messages of a broadcast, suspended or not; return how many there were."""
    facts = {"tenant": tenant_id, "broadcast": broadcast_id, "at": now.isoformat()}
    return _run(CANCEL_BROADCAST, facts, now=now)


class _Person(NamedTuple):
    tenant_id: UUID
    contact_id: UUID


# Served by messages_of_a_conversation: OFFSET 0 keeps the planner to that, who would rather read
# the whole table for what is so rare.
CANCEL_MARKETING = _leaving(
    State.CANCELLED,
    found=f"""{{rows}} JOIN workspaces w ON w.tenant_id = r.tenant_id
    CROSS JOIN LATERAL (
        {ALL_IDS.format(tenant_id="r.tenant_id", contact_id="r.contact_id")}
    ) person (id)
    CROSS JOIN LATERAL (
        SELECT q.id FROM messages q
        WHERE q.tenant_id = w.tenant_id AND q.workspace_id = w.id AND q.contact_id = person.id
          AND q.status = 'queued' AND q.direction = 'OUTBOUND'
          AND q.{IS_MARKETING} OFFSET 0
    ) waiting
    JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = waiting.id AND m.status = 'queued'""",  # noqa: S608 - names of ours
    assign=f"""delivery = m.delivery || jsonb_build_object(
      'cancelled_at', now(), 'errors', jsonb_build_array(jsonb_build_object(
        'code', {OPTED_OUT}, 'title', 'The person wants no marketing any more.')))""",
    skip=True,
)


def cancel_marketing(people: Collection[tuple[UUID, UUID]]) -> int:
    """Cancel queued marketing templates to people (tenant and contact) who want none any more;
    return how many there were.

    The caller has locked their opt-outs, and waits for no message. One that somebody else has in
    hand is not ``cancelled``: it is refused when it is due (:mod:`messaging.delivery.due`) or, if
    it was claimed, given back when it is marked (:func:`mark`), and ends as ``failed``, with the
    same code; a scheduled one only at its time.
    """
    rows = bulk.run(CANCEL_MARKETING, bulk.columns(_Person), sorted(people))
    _emit((_change(row, [OPTED_OUT]) for row in rows), now=clock.now())
    return len(rows)


class Settled(NamedTuple):
    """A message that the platform has, as it turned out: its id there, the day of the report."""

    tenant_id: UUID
    id: UUID
    platform_message_id: str
    inner_key: int | None
    sealed_id: bytes
    day: date


# From "accepted" on the reports carry it forward. What we said of a failure of ours was wrong.
SETTLE = f"""
WITH mine AS MATERIALIZED (
    SELECT r.*, o.attempts
    FROM {{rows}} LEFT JOIN outbox o ON o.tenant_id = r.tenant_id AND o.message_id = r.id
), settled AS (
    UPDATE messages m SET status = 'accepted', platform_message_id = mine.platform_message_id,
        inner_key = mine.inner_key, sealed_id = mine.sealed_id, delivery_day = mine.day,
        attempts = coalesce(mine.attempts, m.attempts),
        delivery = m.delivery - ARRAY[
            'last_error', 'errors', 'errors_sealed_in', 'failed_at', 'cancelled_at'
        ]
    FROM mine WHERE m.tenant_id = mine.tenant_id AND m.id = mine.id AND NOT {IS_TAKEN}
    RETURNING m.id, m.tenant_id, m.workspace_id, m.status, m.platform_message_id
), gone AS (
    DELETE FROM outbox o USING settled
    WHERE o.tenant_id = settled.tenant_id AND o.message_id = settled.id
)
SELECT * FROM settled
"""  # noqa: S608 - names of ours


def settle(rows: Sequence[Settled], *, now: datetime) -> list[Target]:
    """Give messages that the caller has locked their ids at the platform, which they did not have;
    return those that got one.
    """
    settled = bulk.run(SETTLE, bulk.columns(Settled), rows)
    _emit((_change(row) for row in settled), now=now)
    return [Target(row[1], row[2], row[4]) for row in settled]


class Advance(NamedTuple):
    """What receipts make of a message that the platform has."""

    id: UUID
    tenant_id: UUID
    workspace_id: UUID
    before: str | None
    after: str | None
    delivery: Mapping[str, Any]

    @property
    def codes(self) -> list[object]:
        """The platform's codes, where it failed."""
        errors = self.delivery.get("errors") if self.after == State.FAILED else None
        return [error.get("code") for error in errors or ()]


class _Advanced(NamedTuple):
    tenant_id: UUID
    id: UUID
    status: str | None
    delivery: bulk.Json


ADVANCE = """
UPDATE messages m SET status = r.status, delivery = r.delivery
FROM {rows} WHERE m.tenant_id = r.tenant_id AND m.id = r.id
"""


def advance(rows: Collection[Advance], *, now: datetime) -> None:
    """Carry messages forward that the caller has locked."""
    values = [_Advanced(one.tenant_id, one.id, one.after, _encoded(one.delivery)) for one in rows]
    bulk.run(ADVANCE, bulk.columns(_Advanced), values)
    moved = (one for one in rows if one.after != one.before)
    _emit(
        (StatusChange(m.id, m.tenant_id, m.workspace_id, str(m.after), m.codes) for m in moved),
        now=now,
    )


def _run(statement: str, facts: Mapping[str, Any], *, now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, facts)
        changes = [_change(row) for row in cursor.fetchall()]
    _emit(changes, now=now)
    return len(changes)


def _change(row: Sequence[Any], error_codes: Sequence[object] = ()) -> StatusChange:
    """Return the step of a row that begins with its message's ids and its new status."""
    return StatusChange(row[0], row[1], row[2], row[3], error_codes)


def _emit(changes: Iterable[StatusChange], *, now: datetime) -> None:
    """Emit the events of steps that have one."""
    moved = [one for one in changes if one.status not in WITHOUT_EVENT]
    tenants = {one.tenant_id for one in moved}
    emit_lazily(tenants, lambda: notices.moved(moved, now=now))


def _encoded(value: object) -> str:
    return json.encode(value).decode()
