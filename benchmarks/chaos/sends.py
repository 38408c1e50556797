"""Sends through the API, beside the callbacks: what is asked for, and what became of it at Meta."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg

from benchmarks.chaos.installation import Installation
from benchmarks.outgoing import verdict
from benchmarks.outgoing.queued import EnqueuedSends, enqueue
from benchmarks.outgoing.verdict import Verdict
from benchmarks.outgoing.writer import FIRST, WRITER

# Made, or made before under the same key.
ACCEPTED = (200, 201)
SETTLE_SECONDS, STILL_SECONDS = 300.0, 2.0
# Whoever had these in hand is dead: nothing has moved for far longer than a send takes.
GIVE_UP = """
UPDATE outbox SET
    lease_until = CASE WHEN lease_until IS NOT NULL THEN clock_timestamp() END,
    due_at = CASE WHEN lease_until IS NULL THEN clock_timestamp() END
"""


def requests(system: Installation, count: int) -> list[bytes]:
    """Make the tenant; return requests for one message to each of so many people, each under a key
    of its own: what gets no answer is asked for again.
    """
    if not count:
        return []
    enqueued = enqueue(WRITER, system.env)
    return list(_requests(urlsplit(system.facts.base_url).netloc, enqueued, count))


def _requests(host: str, enqueued: EnqueuedSends, count: int) -> Iterator[bytes]:
    for number in range(count):
        body = json.dumps(
            {
                "workspace_id": enqueued.workspace_id,
                "recipient_phone": f"+{FIRST + number}",
                "template_name": "welcome_message",
                "language": "en",
                "template_parameters": {"positional": [f"Person {number}"]},
            }
        ).encode()
        head = (
            f"POST /api/v1/messages HTTP/1.1\r\nHost: {host}\r\n"
            f"Authorization: Bearer {enqueued.api_key}\r\nIdempotency-Key: send-{number}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


def settle(system: Installation, *, hurry: bool) -> None:
    """Wait until nothing is pending or under way and every report is in, or it takes too long; in a
    ``hurry`` without waiting for the leases of the dead to end.
    """
    if hurry:
        _until_still(system)
        with psycopg.connect(system.owner_url) as connection:
            connection.execute(GIVE_UP)
    _wait(lambda: not verdict.are_moving(system.owner_url))
    _wait(lambda: not system.meta.is_busy())


def judge(system: Installation, accepted: int) -> Verdict:
    """Compare what callers were promised with Meta's journal and with the table."""
    rows = verdict.rows_of(system.owner_url)
    return verdict.judge(system.meta.journal(), rows, accepted=accepted)


def _until_still(system: Installation) -> None:
    """Wait until Meta has heard nothing for a while."""
    requests, since = -1, time.monotonic()
    while time.monotonic() - since < STILL_SECONDS:
        now = system.meta.requests()
        if now != requests:
            requests, since = now, time.monotonic()
        time.sleep(0.1)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
