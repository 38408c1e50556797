"""The index of words that search uses, built behind the storing.

Statements that store messages note which they were, in one row of ``message_words_pending`` for
each (triggers of the database). The clock calls :func:`read_pending` every few seconds: it reads
the words of what was noted into ``message_words``, for a part of the time only, so that storing
goes first. A word stands there behind a short digest of its number and week: each week of each
number has an index of its own inside of one, and search reads the weeks from the newest.
"""

from __future__ import annotations

import time
from base64 import b64encode
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from lib import bulk, words
from lib.cursors import EPOCH
from messaging import sealed_values
from messaging.events import AMENDING, is_typed

# How much is read at a time: rows of one tenant, each of one statement's messages, and messages.
OF_A_TENANT, AT_A_TIME = 100, 1_000
WEEK = timedelta(days=7)
# For so many of the seconds between two calls of the clock (CELERY_BEAT_SCHEDULE).
WORK_SECONDS = 0.4
# One at a time reads: what is noted again while it is in hand is read after it.
KEY = "hashtextextended('words of messages', 0)"
TRY, WAIT = f"SELECT pg_try_advisory_xact_lock({KEY})", f"SELECT pg_advisory_xact_lock({KEY})"
# The first row of each tenant, then the second of each, and so on.
CLAIM = """
SELECT p.tenant_id, p.id, p.message_ids FROM (
    SELECT noted.tenant_id, noted.id,
        sum(messages) OVER (ORDER BY place, noted.id) - messages AS before
    FROM tenants t CROSS JOIN LATERAL (
        SELECT tenant_id, n.id, cardinality(message_ids) AS messages,
            row_number() OVER (ORDER BY n.id) AS place
        FROM (
            SELECT * FROM message_words_pending WHERE tenant_id = t.id ORDER BY id LIMIT %s
        ) n
    ) noted
) few JOIN message_words_pending p ON p.tenant_id = few.tenant_id AND p.id = few.id
WHERE few.before < %s FOR UPDATE OF p SKIP LOCKED
"""
TEXTS = """
SELECT m.tenant_id, m.id, m.workspace_id, m.timestamp_utc, m.type, m.source, m.text
FROM {rows} JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.id
"""
WRITE = """
INSERT INTO message_words (tenant_id, message_id, words)
SELECT r.tenant_id, r.id, r.words::tsvector FROM {rows}
ON CONFLICT (tenant_id, message_id) DO UPDATE SET words = excluded.words
"""
# What was edited or revoked while it was in hand has been noted again.
REMOVE = """
DELETE FROM message_words w USING {rows} WHERE w.tenant_id = r.tenant_id AND w.message_id = r.id
"""
DONE = """
DELETE FROM message_words_pending p USING {rows} WHERE p.tenant_id = r.tenant_id AND p.id = r.id
"""


class _ToRead(NamedTuple):
    tenant_id: UUID
    id: UUID
    workspace_id: UUID
    timestamp_utc: datetime
    type: str
    source: str
    text: str | None


class _Read(NamedTuple):
    tenant_id: UUID
    id: UUID
    words: str


class _Noted(NamedTuple):
    tenant_id: UUID
    id: UUID


class _Done(NamedTuple):
    tenant_id: UUID
    id: int


def searchable(kind: str, source: str, text: str | None) -> str | None:
    """Return what of a message's text is searched: what is sealed is not, and the text of an edit
    is that of the message it changes.
    """
    if text is None or kind in AMENDING:
        return None
    is_sealed = not is_typed(kind, source) and sealed_values.is_placeholder(text)
    return None if is_sealed else text


def week_of(moment: datetime) -> int:
    """Return the number of a time's week."""
    return (moment - EPOCH) // WEEK


def begin_of(week: int) -> datetime:
    """Return when a week begins."""
    return EPOCH + week * WEEK


@lru_cache(maxsize=10_000)
def prefix_of(workspace_id: UUID, week: int) -> str:
    """Return what stands before the words of a number's week. Others may have the same: whose a
    message is, is asked besides.
    """
    digest = blake2b(workspace_id.bytes + week.to_bytes(4, signed=True), digest_size=3)
    return b64encode(digest.digest(), b"-_").decode()


def read_pending(*, seconds: float = WORK_SECONDS) -> int:
    """Read the words of what was noted, for so long; return of how many messages."""
    total, until = 0, time.monotonic() + seconds
    while (count := _step()) is not None:
        total += count
        if time.monotonic() >= until:
            break
    return total


def wait_for_reader() -> None:
    """Let nobody read words until the caller's transaction ends, which removes messages: their
    words may be in hand. Call it before locking rows.
    """
    with bulk.cursor() as own:
        own.execute(WAIT)


def _step() -> int | None:
    """Read some, in one transaction; return of how many messages, ``None`` if nothing is noted or
    somebody else reads.
    """
    with transaction.atomic():
        with bulk.cursor() as own:
            own.execute(TRY)
            if own.fetchone() != (True,):
                return None
            own.execute(CLAIM, [OF_A_TENANT, AT_A_TIME])
            claimed = own.fetchall()
        if not claimed:
            return None
        noted = sorted({_Noted(tenant, one) for tenant, _, ids in claimed for one in ids})
        found = [_ToRead._make(row) for row in bulk.run(TEXTS, bulk.columns(_Noted), noted)]
        read = [_read(row, text) for row in found if (text := searchable(*row[4:])) is not None]
        have = {row.id for row in read}
        without = [one for one in noted if one.id not in have]
        bulk.run(REMOVE, bulk.columns(_Noted), without)
        bulk.run(WRITE, bulk.columns(_Read), sorted(read))
        done = sorted(_Done(tenant, number) for tenant, number, _ in claimed)
        bulk.run(DONE, bulk.columns(_Done), done)
    return len(noted)


def _read(row: _ToRead, text: str) -> _Read:
    prefix = prefix_of(row.workspace_id, week_of(row.timestamp_utc))
    return _Read(row.tenant_id, row.id, words.as_tsvector(words.words_of(text), prefix))
