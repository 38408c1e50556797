"""What hangs on a contact follows it into the contact that it was merged into.

Opt-outs, blocks, conversations and who counts against a limit follow at once, in the transaction
that learns of it. Messages may be many: they keep the alias, which every reader resolves
(``people.ALL_IDS``), until :func:`settle` has rewritten them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction
from psycopg import sql

from lib import bulk
from messaging import address_book, blocks, conversations, locks, optouts
from messaging.models import Contact, Message
from messaging.people import People
from workspaces.models import Workspace

# Tenant, the contact that was merged, and the one it is now.
Merged = tuple[UUID, UUID, UUID]
COLUMNS = ("tenant_id uuid", "id uuid", "winner_id uuid")
# Whom a portfolio wrote to under both names counts once, until the later of the two times is past.
COUNT_ONCE = """
WITH gone AS (
    DELETE FROM portfolio_recipients p USING {rows}
    WHERE p.tenant_id = r.tenant_id AND p.contact_id = r.id
    RETURNING p.tenant_id, p.portfolio_id, r.winner_id, p.opened_at
)
INSERT INTO portfolio_recipients AS p (tenant_id, portfolio_id, contact_id, opened_at)
SELECT tenant_id, portfolio_id, winner_id, max(opened_at) FROM gone GROUP BY 1, 2, 3
ON CONFLICT (tenant_id, portfolio_id, contact_id)
DO UPDATE SET opened_at = greatest(p.opened_at, excluded.opened_at)
"""
# Rows that somebody has in hand are left for the next time.
SETTLE = sql.SQL("""
WITH bite AS (
    SELECT tenant_id, id FROM messages
    WHERE tenant_id = %s AND workspace_id = %s AND contact_id = %s
    LIMIT %s FOR UPDATE SKIP LOCKED
), done AS (
    UPDATE messages m SET contact_id = %s
    FROM bite WHERE m.tenant_id = bite.tenant_id AND m.id = bite.id RETURNING 1
)
SELECT count(*) FROM done
""")
BATCH = 1_000
MOST_AT_A_TIME = 100


def follow(people: People) -> None:
    """Carry over what hangs on contacts that were merged, in the caller's transaction."""
    join((tenant_id, loser.id, winner.survivor.id) for tenant_id, loser, winner in people.merged)


def pass_on(people: People) -> None:
    """Let the stops of those whose number was given to somebody new go with it, in the caller's
    transaction; after what they say in the same batch is recorded.
    """
    optouts.pass_on(
        (tenant_id, holder.survivor.id, contact.survivor.id)
        for tenant_id, holder, contact in people.passed_on
        if contact.survivor.is_new
    )


def join(merged: Iterable[Merged]) -> None:
    """Carry over what hangs on contacts that were merged; a second time finds nothing."""
    rows = sorted(merged)
    optouts.join(rows)
    blocks.join(rows)
    address_book.join(rows)
    bulk.run(COUNT_ONCE, COLUMNS, rows)
    conversations.join(rows)


def settle(*, now: datetime) -> int:
    """Give messages the contact that theirs was merged into; return how many aliases are settled.

    Each bite is a transaction of its own. What a send or a sender had in hand at the merge is
    joined once more.
    """
    aliases = Contact.objects.filter(merged_into__isnull=False, settled_at=None).order_by("id")
    return sum(_settle(alias, now) for alias in aliases[:MOST_AT_A_TIME])


def _settle(alias: Contact, now: datetime) -> bool:
    assert alias.merged_into is not None  # noqa: S101 - asked for
    with transaction.atomic():
        locks.go_alone([alias.tenant_id])
        join([(alias.tenant_id, alias.id, alias.merged_into)])
    workspaces = Workspace.objects.filter(tenant_id=alias.tenant_id).values_list("id", flat=True)
    for workspace_id in workspaces:
        whose = [alias.tenant_id, workspace_id, alias.id]
        bulk.repeat(SETTLE, [*whose, BATCH, alias.merged_into], batch=BATCH)
    if Message.objects.filter(
        tenant_id=alias.tenant_id, workspace_id__in=workspaces, contact_id=alias.id
    ).exists():
        return False
    Contact.objects.filter(tenant_id=alias.tenant_id, pk=alias.pk).update(settled_at=now)
    return True
