"""Search in the messages of one number by words, and what its index costs those who store."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import psycopg

from benchmarks import storing
from benchmarks.engines import Engines
from benchmarks.processes import Server, cpu_seconds
from benchmarks.product import Product
from benchmarks.report import Figure, median
from lib.ids import uuid7
from sigma import programs

# As in what people write, the word of rank n comes n times more seldom than the first. ``rare``
# stands in a ten-thousandth, ``past`` in a third of the older half and nowhere since; ``left`` and
# ``right`` in a tenth each, and never together.
RANKS = range(1, 50_001)
WEIGHTS = list(itertools.accumulate(1 / rank for rank in RANKS))
FILL = """
COPY messages (id, tenant_id, workspace_id, platform_message_id, direction, source, type, sender,
               text, timestamp_utc) FROM STDIN
"""
IN_PARTS = """
WITH whole AS (DELETE FROM message_words_pending RETURNING *)
INSERT INTO message_words_pending (tenant_id, workspace_id, message_ids)
SELECT tenant_id, workspace_id, array_agg(one) FROM whole
CROSS JOIN LATERAL unnest(message_ids) WITH ORDINALITY part (one, number)
GROUP BY tenant_id, workspace_id, number / 500
"""
# 1,000,000 of these are four months, or two weeks.
EVERY = {"over four months": 10.5, "in two weeks": 1.2}
QUERIES = {
    "rare": "rare",
    "common": "word1",
    "two words": "word20 word35",
    "phrase": '"my parcel"',
    "absent": "nowhere",
    "beginning": "word123*",
    "frequent once, not lately": "past",
    "two that are never together": "left right",
}
SEARCH = """
query Search($workspace: ID!, $query: String!, $after: String) {
  searchMessages(workspaceId: $workspace, query: $query, first: 20, after: $after) {
    nodes { message { id text timestampUtc sender { displayName } } snippet { text isMatch } }
    pageInfo { hasNextPage endCursor } indexedUntil
  }
}
"""
# What stores, without search; as it is, with nobody who reads the words and with somebody; and with
# an index on the messages themselves.
WITHOUT, NOTED, BEHIND = "no search", "noted for the index", "the index built meanwhile"
DIRECT = "GIN on messages"
SET_UP = {
    WITHOUT: "ALTER TABLE messages DISABLE TRIGGER USER",
    NOTED: "ALTER TABLE messages ENABLE TRIGGER USER",
    BEHIND: "ALTER TABLE messages ENABLE TRIGGER USER",
    DIRECT: "ALTER TABLE messages DISABLE TRIGGER USER; CREATE INDEX messages_direct ON messages "
    "USING gin (to_tsvector('simple', coalesce(text, '')))",
}
TAKE_DOWN = "DROP INDEX IF EXISTS messages_direct; ALTER TABLE messages ENABLE TRIGGER USER"
# As beat lets the maintenance worker do.
READER = """
import os, time
from messaging import search_index
os.nice(5)
print("ready", flush=True)
while True:
    search_index.read_pending()
    time.sleep(4.6)
"""
DRAIN = "from messaging import search_index; search_index.read_pending(seconds=100_000)"


@dataclass(frozen=True, slots=True)
class _Cost:
    """Of one round: messages per second, and microseconds of CPU for each."""

    rate: float
    cpu: float


def measure(
    product: Product, engines: Engines, *, messages: int, asks: int, stored: int, rounds: int
) -> list[Figure]:
    """Store with and without an index, in turn; then search in ``messages`` of one number."""
    figures = _storing(product, engines, stored=stored, rounds=rounds)
    for name, every in EVERY.items():
        try:
            _fill(product, messages, every)
            figures += _searching(product, f"search in {messages:,} {name}", asks)
        finally:
            product.empty()
    return figures


def _storing(product: Product, engines: Engines, *, stored: int, rounds: int) -> list[Figure]:
    costs: dict[str, list[_Cost]] = defaultdict(list)
    web, url = product.web()
    worker = product.worker()
    try:
        for seed in range(rounds + 1):
            # Forward and back: the machine is not the same all the time.
            for kind in list(SET_UP)[:: -1 if seed % 2 else 1]:
                spec = replace(product.spec(url, count=stored), seed=seed)
                with _set_up(product, kind) as helpers:
                    trees = [web, worker, *helpers, *engines.servers.values()]
                    before = sum(cpu_seconds(one.pid) for one in trees)
                    rate, _ = storing.store(product, spec)
                    spent = sum(cpu_seconds(one.pid) for one in trees) - before
                product.empty()
                if seed:  # the first round warms up
                    costs[kind].append(_Cost(rate, spent / stored * 1e6))
    finally:
        worker.stop()
        web.stop()
    figures = []
    for kind, found in costs.items():
        rate, cpu = median([one.rate for one in found]), median([one.cpu for one in found])
        note = f"{cpu:.0f} µs of CPU each; rounds: {', '.join(f'{c.rate:.0f}' for c in found)}"
        figures.append(Figure("storing", kind, rate, "/s", note=note))
    ratios = {kind: median([c.rate for c in found]) for kind, found in costs.items()}
    share = ratios[BEHIND] / max(1, ratios[WITHOUT])
    return [*figures, Figure("storing", f"{BEHIND} ÷ {WITHOUT}", share, target=0.95)]


@contextmanager
def _set_up(product: Product, kind: str) -> Iterator[list[Server]]:
    helpers = []
    with psycopg.connect(product.database_url, autocommit=True) as connection:
        connection.execute(SET_UP[kind])
        if kind == BEHIND:
            argv = programs.manage("words", product.env, "shell", "-v", "0", "-c", READER).argv
            log = product.home / "words.log"
            log.write_text("")
            reader = Server(argv, env=product.env, log=log)
            helpers = [reader.wait_until(lambda: "ready" in log.read_text())]
        try:
            yield helpers
        finally:
            for helper in helpers:
                helper.stop()
            connection.execute(TAKE_DOWN)


def _fill(product: Product, messages: int, every: float) -> None:
    facts = product.facts
    with psycopg.connect(product.database_url, autocommit=True) as connection:
        now, whose = datetime.now(UTC), (facts.tenant_id, facts.workspace_id)
        with connection.cursor().copy(FILL) as copy:
            for number in range(messages, 0, -1):
                said = _text(number, is_older=number > messages // 2)
                known = f"{number:064x}", "INBOUND", "LIVE", "text", f"{number % 1000:064x}"
                at = now - timedelta(seconds=number * every)
                copy.write_row((uuid7(), *whose, *known, said, at))
        # Noted in one row, they would be read in one transaction.
        connection.execute(IN_PARTS)
        began = time.monotonic()
        argv = programs.manage("drain", product.env, "shell", "-v", "0", "-c", DRAIN).argv
        subprocess.run(argv, env=product.env, check=True, stdout=subprocess.DEVNULL)
        print(
            f"        {messages / (time.monotonic() - began):,.0f} messages/s indexed", flush=True
        )
        connection.execute("VACUUM ANALYZE messages, message_words")
        print("        " + _sizes(connection), flush=True)


def _text(number: int, *, is_older: bool) -> str:
    words = random.choices(RANKS, cum_weights=WEIGHTS, k=8 + number % 9)
    extra = ["rare"] if number % 10_000 == 77 else []
    extra += ["past"] if is_older and number % 3 == 0 else []
    extra += {1: ["left"], 2: ["right"]}.get(number % 10, [])
    extra += ["my parcel"] if number % 500 == 5 else []
    return " ".join([*(f"word{word}" for word in words), *extra])


def _sizes(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute(
        "SELECT pg_size_pretty(pg_total_relation_size('messages')), "
        "pg_size_pretty(pg_total_relation_size('message_words')), "
        "pg_size_pretty(pg_relation_size('message_words_gin'))"
    ).fetchone()
    return "messages {}, words {}, of which GIN {}".format(*(row or ("", "", "")))


def _searching(product: Product, group: str, asks: int) -> list[Figure]:
    web, url = product.web()
    seconds: dict[str, list[float]] = defaultdict(list)
    hits: dict[str, int] = {}
    try:
        searcher = _Searcher(product, url)
        deep = {
            "rare, page 4": searcher.walk("rare", 3),
            "common, page 40": searcher.walk("word1", 39),
        }
        for turn in range(asks + 5):
            for name, query in QUERIES.items():
                taken, hits[name] = searcher.ask(query)
                seconds[name] += [taken] if turn >= 5 else []
            for name, after in deep.items():
                query = "rare" if name.startswith("rare") else "word1"
                taken, hits[name] = searcher.ask(query, after)
                seconds[name] += [taken] if turn >= 5 else []
    finally:
        web.stop()
    figures = []
    for name, taken in seconds.items():
        taken.sort()
        p95 = taken[int(len(taken) * 0.95)] * 1000
        note = f"p50 {median(taken) * 1000:.1f} ms; {hits[name]} hits"
        figures.append(Figure(group, f"{name}, p95", p95, "ms", 100, at_least=False, note=note))
    return figures


class _Searcher:
    """One keep-alive connection with the demo tenant's API key."""

    def __init__(self, product: Product, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80)
        self._headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {product.facts.api_key}",
        }
        self._workspace = product.facts.workspace_id

    def ask(self, query: str, after: str | None = None) -> tuple[float, int]:
        """Return the seconds that a page took, HTTP included, and how many hits it has."""
        began = time.perf_counter()
        page = self._page(query, after)
        return time.perf_counter() - began, len(page["nodes"])

    def walk(self, query: str, pages: int) -> str | None:
        """Return the cursor behind so many pages."""
        after = None
        for _ in range(pages):
            after = self._page(query, after)["pageInfo"]["endCursor"]
        return after

    def _page(self, query: str, after: str | None) -> dict[str, Any]:
        variables = {"workspace": self._workspace, "query": query, "after": after}
        body = json.dumps({"query": SEARCH, "variables": variables})
        self._connection.request("POST", "/graphql", body, self._headers)
        answer = json.loads(self._connection.getresponse().read())
        assert "errors" not in answer, answer
        page: dict[str, Any] = answer["data"]["searchMessages"]
        return page
