"""``manage.py read_inner_keys``: let messages of before be found under their other id."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand
from django.db import transaction

from lib import bulk, reports
from lib.envelope import CannotOpen, associated_data
from messaging import changing, references
from workspaces import keys
from workspaces.identity import digester

# Each batch is a range of the primary key, and a transaction of its own.
FIND = """
SELECT tenant_id, id, workspace_id, sealed_id, inner_key FROM messages
WHERE (tenant_id, id) > (%b, %b) ORDER BY tenant_id, id LIMIT %b
"""
WRITE = changing.statement(
    carry="r.inner_key",
    found="""{rows} JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.id
    WHERE m.inner_key IS NULL""",
    assign="inner_key = mine.inner_key",
)
FIRST = UUID(int=0), UUID(int=0)


class Command(BaseCommand):
    """Read the keys inside the ids of messages that were stored before keys were read."""

    help = "Read the keys inside message ids that were stored before; may be repeated and stopped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the size of a batch."""
        parser.add_argument("--batch", type=int, default=2000, help="messages per transaction")
        reports.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Go through the table once."""
        seen, read, last = 0, 0, FIRST
        while rows := _next(last, options["batch"]):
            read += _read([row for row in rows if row[3] is not None and row[4] is None])
            seen, last = seen + len(rows), rows[-1][:2]
        words = f"{seen:,} messages seen, {read:,} keys read."
        report = {"seen": seen, "read": read}
        reports.write(self.stdout, report, words, json=options["json"])


def _next(last: tuple[UUID, UUID], batch: int) -> list[tuple[Any, ...]]:
    with bulk.cursor() as own:
        own.execute(FIND, [*last, batch])
        return own.fetchall()


@transaction.atomic
def _read(rows: Sequence[tuple[Any, ...]]) -> int:
    """Write the keys of those whose id can still be opened; return how many."""
    keys.preload(sealed for *_, sealed, _ in rows)
    found = []
    for tenant_id, message_id, workspace_id, sealed, _ in rows:
        place = associated_data(tenant_id, references.SEALED_ID, message_id)
        try:
            wamid = keys.cipher_of(sealed).open(sealed, place).decode()
            key = references.key_of(wamid, digester(tenant_id), workspace_id)
        except (CannotOpen, keys.TenantHasNoKeys):
            continue
        if key is not None:
            found.append((tenant_id, message_id, key))
    bulk.run(WRITE, ("tenant_id uuid", "id uuid", "inner_key int8"), found)
    return len(found)
