"""A page of ten messages by GraphQL, at the start and deep inside a workspace."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg

from benchmarks.product import Product
from benchmarks.report import Figure, median
from lib.cursors import Cursor, encode

FILL = """
INSERT INTO messages (id, tenant_id, workspace_id, platform_message_id, direction, source, type,
                      sender, text, timestamp_utc)
SELECT gen_random_uuid(), %(tenant)s, %(workspace)s, encode(sha256(n::text::bytea), 'hex'),
       'INBOUND', 'LIVE', 'text', encode(sha256((n %% 1000)::text::bytea), 'hex'),
       'Message number ' || n, now() - n * interval '1 second'
FROM generate_series(1, %(count)s) AS n
"""
AT = """
SELECT timestamp_utc, id FROM messages WHERE workspace_id = %s
ORDER BY timestamp_utc DESC, id DESC OFFSET %s LIMIT 1
"""
PAGE = """
query Page($workspace: ID!, $after: String) {
  messages(workspaceId: $workspace platform: WHATS_APP first: 10 after: $after
           orderBy: { timestamp: DESC }) {
    nodes { id text sender { displayName platformUserId } timestampUtc }
    pageInfo { endCursor }
  }
}
"""


def measure(product: Product, *, messages: int, pages: int) -> list[Figure]:
    """Read ``pages`` pages at each depth, in turn."""
    depths = (0, 10_000, int(messages * 0.9))
    facts = product.facts
    with psycopg.connect(product.database_url, autocommit=True) as connection:
        names = {"tenant": facts.tenant_id, "workspace": facts.workspace_id, "count": messages}
        connection.execute(FILL, names)
        connection.execute("VACUUM ANALYZE messages")
        cursors = [_cursor(connection, facts.workspace_id, depth) for depth in depths]
    web, url = product.web()
    try:
        reader = Reader(product, url)
        seconds: dict[int, list[float]] = {depth: [] for depth in depths}
        for turn in range(pages + 20):
            for depth, cursor in zip(depths, cursors, strict=True):
                taken = reader.page(cursor)
                if turn >= 20:  # the first ones fill caches
                    seconds[depth].append(taken)
    finally:
        web.stop()
        product.empty()
    return _figures(messages, seconds)


def _cursor(connection: psycopg.Connection, workspace_id: str, depth: int) -> str | None:
    if not depth:
        return None
    row = connection.execute(AT, (workspace_id, depth)).fetchone()
    assert row is not None
    return encode(Cursor(row[0], UUID(str(row[1]))))


class Reader:
    """One keep-alive connection with the demo tenant's API key."""

    def __init__(self, product: Product, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname == "127.0.0.1"
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80)
        self._headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {product.facts.api_key}",
        }
        self._workspace = product.facts.workspace_id

    def page(self, after: str | None) -> float:
        """Read one page and return the seconds it took, HTTP included."""
        started = time.perf_counter()
        answer = self._ask(after)
        seconds = time.perf_counter() - started
        assert len(answer["data"]["messages"]["nodes"]) == 10, answer
        return seconds

    def first_page(self) -> None:
        """Read the newest messages, however many there are."""
        assert "errors" not in self._ask(None)

    def _ask(self, after: str | None) -> dict[str, Any]:
        variables = {"workspace": self._workspace, "after": after}
        body = json.dumps({"query": PAGE, "variables": variables})
        self._connection.request("POST", "/graphql", body, self._headers)
        answer: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return answer


def _figures(messages: int, seconds: dict[int, list[float]]) -> list[Figure]:
    group = f"page of 10 of {messages:,}"
    figures = []
    for depth, taken in seconds.items():
        p99 = sorted(taken)[int(len(taken) * 0.99)] * 1000
        name = f"GraphQL over HTTP at depth {depth:,}, p50"
        figures.append(Figure(group, name, median(taken) * 1000, "ms", note=f"p99 {p99:.1f} ms"))
    first, *_, deepest = (median(taken) for taken in seconds.values())
    figures.append(Figure(group, "deepest ÷ first", deepest / first, "×", 1.5, at_least=False))
    return figures
