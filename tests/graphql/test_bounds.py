"""No document costs much, whatever the table holds: what would is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from messaging import conversation_queries, queries
from messaging.models import Message
from tests.conftest import Cast
from tests.graphql.conftest import START, Gql, write

pytestmark = pytest.mark.django_db

LIST = """query($w: ID!, $first: Int, $type: String, $status: String, $phone: String,
  $until: DateTime) { messages(workspaceId: $w, first: $first, type: $type, status: $status,
  senderPhone: $phone, until: $until) { nodes { text } pageInfo { hasNextPage } } }"""
WALK = """query($w: ID!, $type: String, $first: Int, $after: String, $last: Int, $before: String) {
  messages(workspaceId: $w, type: $type, first: $first, after: $after, last: $last, before: $before)
  { nodes { id type } pageInfo { hasNextPage endCursor hasPreviousPage startCursor } } }"""
COUNT = """query($w: ID!, $type: String, $until: DateTime) {
  messages(workspaceId: $w, first: 1, type: $type, until: $until) { totalCount } }"""


@pytest.fixture(autouse=True)
def _five(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five messages are as many as may be looked through, or counted."""
    monkeypatch.setattr(queries, "MOST_LOOKED_THROUGH", 5)
    for module in (queries, conversation_queries):
        monkeypatch.setattr(module, "MOST_COUNTED", 5)


@pytest.fixture
def eight(acme: Cast, globex: Cast) -> Cast:
    """Eight texts of acme's, the oldest of which is a picture; one of globex's."""
    messages = write(acme, 8)
    Message.objects.filter(pk=messages[0].pk).update(type="image")
    write(globex, 1, type="image")
    return acme


def walk(gql: Gql, cast: Cast, *, backwards: bool = False, **arguments: object) -> list[list[str]]:
    """Follow the cursors of a filtered list; return the types on each page."""
    size, cursor, end, more = (
        ("last", "before", "startCursor", "hasPreviousPage")
        if backwards
        else ("first", "after", "endCursor", "hasNextPage")
    )
    pages: list[list[str]] = []
    arguments |= {"w": str(cast.workspace.id), size: 5}
    while True:
        page = gql(cast, WALK, **arguments).data["messages"]
        pages.append([node["type"] for node in page["nodes"]])
        if not page["pageInfo"][more]:
            return pages
        arguments[cursor] = page["pageInfo"][end]


def test_it_finds_what_is_further_back_on_a_later_page(gql: Gql, eight: Cast, globex: Cast) -> None:
    """A page ends where enough was looked through, however little passed the filter."""
    assert walk(gql, eight, type="image") == [[], ["image"]]
    assert walk(gql, eight, type="text") == [["text"] * 5, ["text"] * 2]
    assert walk(gql, globex, type="image") == [["image"]]


def test_it_finds_what_is_further_on_when_it_goes_back(gql: Gql, eight: Cast) -> None:
    Message.objects.filter(tenant_id=eight.tenant.id).update(type="text")
    newest = Message.objects.filter(tenant_id=eight.tenant.id).order_by("-timestamp_utc").first()
    Message.objects.filter(pk=newest.pk).update(type="image")

    assert walk(gql, eight, backwards=True, type="image") == [[], ["image"]]


def test_it_ends_where_the_last_message_was_the_last_that_it_looked_at(
    gql: Gql, eight: Cast
) -> None:
    Message.objects.filter(type="image").delete()
    old = Message.objects.filter(tenant_id=eight.tenant.id).order_by("timestamp_utc")[:2]
    Message.objects.filter(pk__in=[message.pk for message in old]).delete()

    assert walk(gql, eight, type="image") == [[]]


@pytest.mark.parametrize("filters", [{"status": "failed"}, {"phone": "+27829999999"}])
def test_it_refuses_no_filter_however_many_it_looks_through(
    gql: Gql, eight: Cast, filters: dict[str, str]
) -> None:
    page = gql(eight, LIST, w=str(eight.workspace.id), **filters).data["messages"]

    assert page == {"nodes": [], "pageInfo": {"hasNextPage": True}}


def test_it_takes_the_same_filter_for_a_shorter_time(gql: Gql, eight: Cast) -> None:
    until = (START + timedelta(seconds=1)).isoformat()
    arguments = {"w": str(eight.workspace.id), "type": "image", "until": until}

    page = gql(eight, LIST, **arguments).data["messages"]

    assert len(page["nodes"]) == 1
    assert page["pageInfo"] == {"hasNextPage": False}
    assert gql(eight, COUNT, **arguments).data["messages"]["totalCount"] == 1


def test_it_gives_a_page_that_it_could_fill_and_says_there_may_be_more(
    gql: Gql, eight: Cast
) -> None:
    page = gql(eight, LIST, w=str(eight.workspace.id), type="text", first=5).data["messages"]

    assert len(page["nodes"]) == 5
    assert page["pageInfo"] == {"hasNextPage": True}


@pytest.mark.parametrize("type", [None, "image"])
def test_it_refuses_to_count_too_many(gql: Gql, eight: Cast, type: str | None) -> None:
    answer = gql(eight, COUNT, w=str(eight.workspace.id), type=type)

    assert answer.codes == ["LIMIT_EXCEEDED"]


@pytest.mark.parametrize(
    "field",
    [
        'messages(workspaceId: "WORKSPACE", type: "none")',
        'conversations(workspaceId: "WORKSPACE", first: 1, labelId: "WORKSPACE")',
        'cannedReplies(workspaceId: "WORKSPACE")',
        'conversationNotes(conversationId: "WORKSPACE", first: 100)',
    ],
    ids=["messages", "conversations", "canned replies", "notes"],
)
def test_it_refuses_a_document_of_many_such_lists_before_it_asks_the_database(
    gql: Gql, acme: Cast, django_assert_max_num_queries, field: str
) -> None:
    within = "{ id }" if field.startswith("canned") else "{ nodes { id } }"
    asked = field.replace("WORKSPACE", str(acme.workspace.id))
    aliases = " ".join(f"a{n}: {asked} {within}" for n in range(45))

    with django_assert_max_num_queries(2):  # whose key it is, and that it was used
        answer = gql(acme, f"{{ {aliases} }}")

    assert answer.codes == ["LIMIT_EXCEEDED"]
