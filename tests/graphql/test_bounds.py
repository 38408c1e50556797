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
COUNT = """query($w: ID!, $type: String, $until: DateTime) {
  messages(workspaceId: $w, first: 1, type: $type, until: $until) { totalCount } }"""


@pytest.fixture(autouse=True)
def _five(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five messages are as many as may be looked through."""
    for module in (queries, conversation_queries):
        monkeypatch.setattr(module, "MOST_LOOKED_THROUGH", 5)


@pytest.fixture
def eight(acme: Cast, globex: Cast) -> Cast:
    """Eight texts of acme's, the oldest of which is a picture; one of globex's."""
    messages = write(acme, 8)
    Message.objects.filter(pk=messages[0].pk).update(type="image")
    write(globex, 1, type="image")
    return acme


@pytest.mark.parametrize(
    "filters", [{"type": "image"}, {"status": "failed"}, {"phone": "+27829999999"}]
)
def test_it_refuses_a_filter_that_would_look_through_too_many(
    gql: Gql, eight: Cast, globex: Cast, filters: dict[str, str]
) -> None:
    answer = gql(eight, LIST, w=str(eight.workspace.id), **filters)

    assert answer.codes == ["LIMIT_EXCEEDED"]
    assert "narrow the time with since and until" in answer.body["errors"][0]["message"]
    gql(globex, LIST, w=str(globex.workspace.id), **filters).data  # noqa: B018


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


def test_it_refuses_a_document_of_many_such_filters_before_it_asks_the_database(
    gql: Gql, acme: Cast, django_assert_max_num_queries
) -> None:
    aliases = " ".join(
        f'a{n}: messages(workspaceId: "{acme.workspace.id}", type: "none") {{ nodes {{ id }} }}'
        for n in range(45)
    )

    with django_assert_max_num_queries(2):  # whose key it is, and that it was used
        answer = gql(acme, f"{{ {aliases} }}")

    assert answer.codes == ["LIMIT_EXCEEDED"]
