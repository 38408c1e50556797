"""Pages of messages: complete, in order, and as cheap at any depth."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from lib import cursors
from messaging import queries
from messaging.models import Message
from tests.conftest import Cast
from tests.graphql.conftest import START, Gql, gql, write
from workspaces.acting import as_tenant

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

PAGE = """
query Page($workspace: ID!, $first: Int, $after: String, $last: Int, $before: String,
           $order: SortDirection!) {
  messages(workspaceId: $workspace, first: $first, after: $after, last: $last, before: $before,
           orderBy: {timestamp: $order}) {
    nodes { text }
    edges { cursor node { text } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""
FULL = """
query Page($workspace: ID!, $first: Int) {
  messages(workspaceId: $workspace, first: $first) {
    nodes {
      id text sender { displayName } contact { username } workspace { name } media { mimeType }
      statuses { status } delivery { readAt } wamid raw
    }
  }
}
"""


@pytest.fixture
def page(gql: Gql, acme: Cast):
    """Ask for one page of acme's workspace."""

    def ask(order: str = "DESC", **window: object) -> dict:
        answer = gql(acme, PAGE, workspace=str(acme.workspace.id), order=order, **window)
        return answer.data["messages"]

    return ask


def texts(page: dict) -> list[int]:
    return [int(node["text"]) for node in page["nodes"]]


@pytest.mark.parametrize("order", ["ASC", "DESC"])
@pytest.mark.parametrize("size", [1, 3, 7, 10])
def test_it_walks_forward_over_everything_once(page, acme: Cast, order: str, size: int) -> None:
    ids = [m.text for m in sorted(write(acme, 10), key=lambda m: (m.timestamp_utc, m.id))]
    seen, after = [], None
    while True:
        part = page(order, first=size, after=after)
        seen += texts(part)
        after = part["pageInfo"]["endCursor"]
        if not part["pageInfo"]["hasNextPage"]:
            break

    assert seen == [int(text) for text in (ids if order == "ASC" else reversed(ids))]


@pytest.mark.parametrize("order", ["ASC", "DESC"])
def test_it_walks_back_the_same_way(page, acme: Cast, order: str) -> None:
    write(acme, 10)
    forward = texts(page(order, first=10))
    seen, before = [], None
    while True:
        part = page(order, last=3, before=before)
        seen = texts(part) + seen
        before = part["pageInfo"]["startCursor"]
        if not part["pageInfo"]["hasPreviousPage"]:
            break

    assert seen == forward


def test_it_gives_edges_the_cursors_of_their_nodes(page, acme: Cast) -> None:
    write(acme, 6)
    part = page(first=4)

    assert [edge["node"] for edge in part["edges"]] == part["nodes"]
    assert texts(page(first=10, after=part["edges"][1]["cursor"])) == texts(page(first=10))[2:]
    assert part["pageInfo"]["endCursor"] == part["edges"][-1]["cursor"]


def test_it_gives_twenty_unless_asked(page, acme: Cast) -> None:
    write(acme, 25)

    assert len(page()["nodes"]) == 20


@pytest.mark.parametrize("size", [101, -1, 2_000_000_000])
def test_it_refuses_a_page_that_is_too_large(gql: Gql, acme: Cast, size: int) -> None:
    document = "query($w: ID!, $n: Int) { messages(workspaceId: $w, first: $n) { totalCount } }"

    answer = gql(acme, document, w=str(acme.workspace.id), n=size)

    assert answer.codes in (["BAD_USER_INPUT"], ["LIMIT_EXCEEDED"])


@pytest.mark.parametrize(
    "cursor", ["", "x", "AAAA", "A" * 34, "é" * 34, "/" * 34, "eyJpZCI6MX0=", "A" * 5000]
)
def test_it_refuses_what_is_no_cursor(gql: Gql, acme: Cast, cursor: str) -> None:
    document = (
        "query($w: ID!, $c: String) { messages(workspaceId: $w, after: $c) { nodes { id } } }"
    )

    answer = gql(acme, document, w=str(acme.workspace.id), c=cursor)

    assert answer.codes == ["BAD_USER_INPUT"]


def test_it_accepts_only_its_own_spelling_of_a_cursor() -> None:
    text = cursors.encode(cursors.Cursor(START, UUID(int=7)))

    for other in (text + "=", text[:-1] + chr(ord(text[-1]) + 1), " " + text, text[:-4]):
        with pytest.raises(cursors.InvalidCursor):
            cursors.decode(other)


@pytest.mark.parametrize(
    "moment", [START, START.replace(microsecond=999_999), START.replace(year=1)]
)
def test_it_decodes_what_it_encoded(moment: datetime) -> None:
    cursor = cursors.Cursor(moment, UUID(int=2**127 + 1))

    assert cursors.decode(cursors.encode(cursor)) == cursor


def test_it_refuses_both_directions_at_once(gql: Gql, acme: Cast) -> None:
    document = "query($w: ID!) { messages(workspaceId: $w, first: 1, last: 1) { nodes { id } } }"

    assert gql(acme, document, w=str(acme.workspace.id)).codes == ["BAD_USER_INPUT"]


def test_it_asks_the_database_as_often_for_one_message_as_for_many(gql: Gql, acme: Cast) -> None:
    write(acme, 40, sealed_id=b"\x01" + bytes(60), delivery_id=1, delivery_day=START.date())
    gql(acme, FULL, workspace=str(acme.workspace.id))  # notes when the key was used
    counts = []
    for first in (1, 2, 40):
        with CaptureQueriesContext(connection) as captured:
            gql(acme, FULL, workspace=str(acme.workspace.id), first=first)
        counts.append(len(captured))

    assert counts[1] == counts[2] == counts[0]


def test_it_asks_twice_for_a_plain_page(gql: Gql, acme: Cast) -> None:
    write(acme, 5)
    document = "query($w: ID!) { messages(workspaceId: $w) { nodes { id text timestampUtc } } }"
    gql(acme, document, w=str(acme.workspace.id))

    with CaptureQueriesContext(connection) as captured:
        gql(acme, document, w=str(acme.workspace.id))

    tables = [sql for query in captured if (sql := query["sql"].strip()).startswith("SELECT")]
    ours = [sql for sql in tables if "set_config" not in sql and "current_setting" not in sql]
    assert len(ours) == 2  # the key, the messages
    assert len(tables) - len(ours) == 3  # to act as the tenant and, within a transaction, to stop


def test_it_counts_only_where_asked(gql: Gql, acme: Cast) -> None:
    write(acme, 5)
    document = "query($w: ID!) { messages(workspaceId: $w, first: 2) { totalCount nodes { id } } }"

    assert gql(acme, document, w=str(acme.workspace.id)).data["messages"]["totalCount"] == 5


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
def test_it_reads_a_page_as_a_range_of_the_index(
    acme: Cast, newest_first: bool, backwards: bool
) -> None:
    middle = write(acme, 400)[200]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE messages")
    cursor_ = cursors.Cursor(middle.timestamp_utc, middle.id)
    window = queries.Window(
        limit=10, cursor=cursor_, newest_first=newest_first, backwards=backwards
    )

    with as_tenant(acme.tenant.id), CaptureQueriesContext(connection) as captured:
        wanted = queries.MessageFilter(tenant_id=acme.tenant.id, workspace_id=acme.workspace.id)
        page = queries.read_page(wanted, window)
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN " + captured[0]["sql"])
            plan = "\n".join(line for (line,) in cursor.fetchall())

    assert len(page.messages) == 10
    condition = next(line for line in plan.splitlines() if "Index Cond" in line)
    assert "ROW(timestamp_utc, id)" in condition
    assert "messages_newest_first" in plan
    assert "Sort" not in plan
    assert Message.objects.count() == 400


def test_who_asks_in_sql_for_a_number_reads_a_range_of_the_index_too(
    acme: Cast, globex: Cast
) -> None:
    """The statement of docs/api.md, which names no tenant."""
    for cast in (acme, globex):
        write(cast, 400)

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE messages")
        cursor.execute(
            "EXPLAIN SELECT id, platform_message_id, sender, text, timestamp_utc FROM messages "
            "WHERE workspace_id = %s AND platform = 5 ORDER BY timestamp_utc DESC LIMIT 10",
            [acme.workspace.id],
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "messages_newest_first" in plan
    assert "Sort" not in plan
