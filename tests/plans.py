"""How PostgreSQL finds the rows that the product's statements name, where there are many."""

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection
from psycopg.pq import TransactionStatus

from lib import bulk
from workspaces.acting import APPLICATION_ROLE

ROOT = Path(__file__).parents[1]
# Nothing may read one of these from its beginning, or look in it for a row of whatever tenant.
LARGE = (
    "broadcast_recipients",
    "contact_blocks",
    "contact_identities",
    "contacts",
    "conversation_notes",
    "conversations",
    "event_deliveries",
    "media",
    "message_statuses",
    "message_words",
    "message_words_pending",
    "messages",
    "opt_outs",
    "outbox",
    "outgoing_events",
    "portfolio_recipients",
    "read_marks",
    "webhook_deliveries",
    "webhook_pending",
)
# What is due, or old, of all tenants is found by its time; the messages of a number by the number.
OF_ALL_TENANTS = frozenset(
    {
        "contact_blocks_due",
        "messages_newest_first",
        "event_deliveries_dead_age",
        "event_deliveries_delivered",
        "outbox_leased",
        "outgoing_events_age",
        "read_marks_due",
    }
)
QUERY = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
LARGE_ONE = re.compile(rf"\b({'|'.join(LARGE)})\b")
SLOW = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_bitmapscan")
SLOW_OFF = "SELECT " + ", ".join(f"set_config('{name}', 'off', true)" for name in SLOW)
COLUMNS_OF_INDEX = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass"
# The planner multiplies what a page is said to hold with the pages that there are.
PRETEND = """
UPDATE pg_class SET reltuples = %s, relpages = %s
WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
  AND regexp_replace(relname, '^webhook_deliveries_.*', 'webhook_deliveries') = ANY (%s)
"""
FORGET = """
DELETE FROM pg_statistic USING pg_class c WHERE c.oid = starelid
  AND regexp_replace(c.relname, '^webhook_deliveries_.*', 'webhook_deliveries') = ANY (%s)
"""
EMPTY = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
AND relname = ANY (%s) AND pg_relation_size(oid) = 0
"""


class Plans:
    """What is ``wrong`` with the plans of statements, by statement; ``seen`` are all of them."""

    def __init__(self) -> None:
        self.wrong: dict[str, list[str]] = {}
        self.seen: set[str] = set()

    def look_at(self, cursor: psycopg.Cursor[Any], query: Any, parameters: Any) -> None:
        """Explain a statement that is about to run, unless it was seen."""
        text = query if isinstance(query, str) else query.as_string(cursor)
        is_broken = cursor.connection.info.transaction_status == TransactionStatus.INERROR
        if text in self.seen or is_broken or not QUERY.match(text) or not LARGE_ONE.search(text):
            return
        with type(cursor)(cursor.connection) as own:
            own.adapters.register_dumper(bulk.Array, bulk.ArrayDumper)
            empty = {name for (name,) in own.execute(EMPTY, [list(LARGE)])}
            if wrong := _steps(own, text, parameters, empty):
                # The database may have counted the rows by itself meanwhile: pretend again.
                _pretend_beside()
                wrong = _steps(own, text, parameters, empty)
        if wrong:
            self.wrong[text] = wrong
        if not empty.intersection(LARGE_ONE.findall(text)):
            self.seen.add(text)


def _steps(own: psycopg.Cursor[Any], text: str, parameters: Any, empty: set[str]) -> list[str]:
    """Return what is wrong with the plan of a statement: as it is, and where the role that serves
    reads all of a tenant's rows and the owner does not. Policies go before each condition that
    might give something away, which to PostgreSQL is one with ``coalesce`` or a sub-select in it:
    such a one is no condition of an index.
    """
    plans = []
    with own.connection.transaction(force_rollback=True):
        own.execute(SLOW_OFF)
        (role,) = own.execute("SELECT current_setting('role')").fetchone() or ("none",)
        for planned_for in ("none", APPLICATION_ROLE if role == "none" else role):
            own.execute("SELECT set_config('role', %s, true)", [planned_for])
            ((plan,),) = own.execute(f"EXPLAIN (FORMAT JSON) {text}", parameters)
            plans.append(plan[0]["Plan"])
    by_less = Counter(_by_tenant_alone(own, plans[1])) - Counter(_by_tenant_alone(own, plans[0]))
    wrong = _wrong(plans[role != "none"], is_limited=False)
    found = [*wrong, *((t, f"all of a tenant's {t}") for t in by_less)]
    return [step for table, step in found if table not in empty]  # of these every plan is as good


def _by_tenant_alone(own: psycopg.Cursor[Any], plan: dict[str, Any]) -> Iterator[str]:
    """Yield the large tables of which all rows of a tenant, or of a number, are read."""
    if plan.get("Relation Name") in LARGE and (index := plan.get("Index Name")):
        named = set(re.findall(r"(?<![.\w])\w+\b(?!\.)", plan.get("Index Cond", "")))
        columns = {name for (name,) in own.execute(COLUMNS_OF_INDEX, [index])}
        if not named & (columns - {"tenant_id", "workspace_id"}):
            yield plan["Relation Name"]
    for inner in plan.get("Plans", ()):
        yield from _by_tenant_alone(own, inner)


@contextmanager
def looked_at() -> Iterator[Plans]:
    """Look at the plans of the statements that the product runs inside, on whatever connection, as
    if there were a million rows on each page.
    """
    plans, execute = Plans(), psycopg.Cursor.execute
    within = threading.local()

    def explaining(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        if not getattr(within, "is_explaining", False) and not _is_of_a_test():
            within.is_explaining = True
            try:
                plans.look_at(self, query, params)
            finally:
                within.is_explaining = False
        return execute(self, query, params, **options)

    _pretend(1_000_000, 1)
    psycopg.Cursor.execute = explaining  # type: ignore[method-assign]
    try:
        yield plans
    finally:
        psycopg.Cursor.execute = execute  # type: ignore[method-assign]
        _pretend(-1, 0)  # not known, as after CREATE TABLE


def _pretend(rows: int, pages: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(PRETEND, [rows, pages, list(LARGE)])


def _pretend_beside() -> None:
    """Forget what the database counted, on a connection of its own."""
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as beside:
        beside.cursor_factory = psycopg.Cursor
        beside.execute(FORGET, [list(LARGE)])
        beside.execute(PRETEND, [1_000_000, 1, list(LARGE)])


def _is_of_a_test() -> bool:
    """Whether a test asks, and not the product."""
    frame = sys._getframe(2)
    while frame is not None:
        place = Path(frame.f_code.co_filename)
        if place.is_relative_to(ROOT) and ".venv" not in place.parts:
            return place.is_relative_to(ROOT / "tests")
        frame = frame.f_back  # type: ignore[assignment]
    return True


def _wrong(
    plan: dict[str, Any], *, is_limited: bool, joined: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the steps that find rows of a large table in another way than by their tenant, which
    the join above (``joined``: its filter) may compare where a row was found by its id.
    """
    kind = str(plan["Node Type"])
    table = re.sub(r"^webhook_deliveries_.*", "webhook_deliveries", plan.get("Relation Name", ""))
    is_read = table in LARGE and kind not in ("ModifyTable", "Tid Scan")
    if is_read:
        index = str(plan.get("Index Name", ""))
        condition = " ".join(str(plan.get(part, "")) for part in ("Index Cond", "Filter")).strip()
        is_first_of_index = is_limited and index and "id" not in condition
        by_id = "(id =" in condition and f"{plan.get('Alias')}.tenant_id" in joined
        by_tenant = "tenant_id" in condition or by_id
        if not (by_tenant or index in OF_ALL_TENANTS or is_first_of_index):
            yield table, f"{kind} of {table} {index} {condition}"
    for inner in plan.get("Plans", ()):
        yield from _wrong(
            inner, is_limited=is_limited or kind == "Limit", joined=plan.get("Join Filter", "")
        )
