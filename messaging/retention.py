"""Forget what sending needed to know for a day."""

from __future__ import annotations

from datetime import datetime

from psycopg import sql

from lib import bulk
from messaging.delivery.tiers import WINDOW

BATCH = 10_000
# Served by portfolio_recipients_window, whose first columns have few values (PostgreSQL 18 skips).
FORGET = sql.SQL("""
WITH gone AS (
    DELETE FROM portfolio_recipients WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM portfolio_recipients WHERE opened_at <= %s LIMIT %s
    )) AND opened_at <= %s RETURNING 1
)
SELECT count(*) FROM gone
""")


def forget_recipients(*, now: datetime) -> int:
    """Delete those who count against no messaging limit any more; return how many."""
    before = now - WINDOW
    return bulk.repeat(FORGET, [before, BATCH, before], batch=BATCH)[0]
