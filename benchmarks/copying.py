"""The least that processing can be: open, parse, digest, seal, and COPY. No claim, no dedupe, no
contacts, no ledger. Prints messages per second.

``benchmarks.storing`` runs it by ``manage.py shell``: the rest of this package does without Django.
"""

from __future__ import annotations

import time
from typing import Any

import psycopg
from django.db import connection

from connectors.whatsapp import raw
from connectors.whatsapp.wire.parsing import parse
from messaging import inbound, transitions
from messaging.events import Incoming, MessageEvent
from messaging.people import People
from messaging.transitions import Received
from workspaces.models import Transport, Workspace

CHUNK = 500
READ = "SELECT id, received_at, tenant_id, body FROM webhook_deliveries ORDER BY id"
COPY = f"COPY copied_made ({transitions.RECEIVED_NAMES}) FROM STDIN (FORMAT binary)"
TYPES = [column.split(" ", 1)[1] for column in transitions.RECEIVED_COLUMNS]


def main() -> None:
    """Copy the messages of all stored callbacks into a table like theirs, a commit per chunk."""
    connection.ensure_connection()
    own: psycopg.Connection[Any] = connection.connection
    own.execute("DROP TABLE IF EXISTS copied_made")
    own.execute("CREATE TABLE copied_made (LIKE messages INCLUDING ALL)")
    workspace = Workspace.objects.get(transport=Transport.CLOUD_API)
    cursor = psycopg.Cursor(own)
    callbacks = cursor.execute(READ).fetchall()
    started = time.perf_counter()
    for first in range(0, len(callbacks), CHUNK):
        rows = _rows(callbacks[first : first + CHUNK], workspace)  # may ask the database for keys
        with cursor.copy(COPY) as sink:
            sink.set_types(TYPES)
            for row in rows:
                sink.write_row(row)
    seconds = time.perf_counter() - started
    own.execute("DROP TABLE copied_made")
    print(len(callbacks) / seconds)


def _rows(callbacks: list[Any], workspace: Workspace) -> list[Received]:
    people, batch = People(), []
    for delivery_id, received_at, tenant_id, sealed in callbacks:
        body = raw.open_body(sealed, tenant_id=tenant_id, delivery_id=delivery_id)
        for update in parse(body, received_at):
            for event in update.events:
                if isinstance(event, MessageEvent):
                    batch.append(Incoming(tenant_id, workspace.pk, delivery_id, received_at, event))
    return [inbound._values(row) for row in inbound._by_kind(batch, people).messages]
