"""Search in a number's messages by words, over GraphQL and REST: complete, in order, one's own."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from datetime import timedelta
from pathlib import Path
from threading import Event
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.db import ProgrammingError, connection, transaction

from lib import words
from messaging import person_erasure, search, search_index
from messaging.models import Contact, Message, MessageWords, PendingWords
from sigma import erasure
from tests.conftest import Cast
from tests.graphql.conftest import START, Gql, gql, key_with, write
from tests.messaging.test_conversations import hear, take_in
from tests.messaging.test_desk import talk
from tests.sending.test_rest import ask
from tests.whatsapp.deliveries import text
from tests.workspaces.test_isolation import run
from workspaces.access import Scope
from workspaces.acting import as_tenant

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

SEARCH = """
query Search($w: ID!, $q: String!, $c: ID, $d: MessageDirection, $since: DateTime,
             $until: DateTime, $first: Int, $after: String) {
  searchMessages(workspaceId: $w, query: $q, conversationId: $c, direction: $d, since: $since,
                 until: $until, first: $first, after: $after) {
    nodes { message { id text } snippet { text isMatch } }
    edges { cursor node { message { id } } }
    pageInfo { hasNextPage hasPreviousPage endCursor } indexedUntil
  }
}
"""
SMALL = {
    "LOOKED_THROUGH": (2, 3),
    "MOST_OF_A_WEEK": 6,
    "MOST_FOUND": 8,
    "MOST_OF_CROWDED": 3,
    "MOST_WAITING": 5,
    "BITE": 3,
}
WORDS = ("order", "parcel", "late", "café", "手机", "thanks")


@pytest.fixture
def find(gql: Gql):
    """Search in a cast's own messages; return the page."""

    def asked(cast: Cast, query: str, **given: object) -> dict:
        place = str(cast.workspace.id)
        return gql(cast, SEARCH, w=place, q=query, **given).data["searchMessages"]

    return asked


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few messages be as many as a million."""
    for name, value in SMALL.items():
        monkeypatch.setattr(search, name, value)


def say(cast: Cast, *texts: str, **columns: object) -> list[Message]:
    """Store messages, each a minute before the next."""
    rows = write(cast, len(texts), **columns)
    for number, (row, said) in enumerate(zip(rows, texts, strict=True)):
        Message.objects.filter(pk=row.pk).update(
            text=said, timestamp_utc=START + timedelta(minutes=number)
        )
    return rows


def texts_of(page: dict) -> list[str]:
    return [node["message"]["text"] for node in page["nodes"]]


def walk(find, cast: Cast, query: str, **given: object) -> list[str]:
    """Return the ids of all that is found, page by page."""
    ids, after = [], None
    while True:
        page = find(cast, query, after=after, **given)
        ids += [node["message"]["id"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            return ids
        assert page["pageInfo"]["endCursor"] != after
        after = page["pageInfo"]["endCursor"]


def test_it_finds_words_newest_first(acme: Cast, globex: Cast, find) -> None:
    say(acme, "Where is my order?", "Your order is late", "ORDER again", "Thank you")
    say(globex, "Their order is a secret")

    page = find(acme, "order", first=2)
    assert texts_of(page) == ["ORDER again", "Your order is late"]
    assert page["nodes"][1]["snippet"] == [
        {"text": "Your ", "isMatch": False},
        {"text": "order", "isMatch": True},
        {"text": " is late", "isMatch": False},
    ]
    assert page["pageInfo"]["hasNextPage"]
    newer = write(acme, 1, text="A new order comes")
    Message.objects.filter(pk=newer[0].pk).update(timestamp_utc=START + timedelta(days=1))
    rest = find(acme, "order", first=2, after=page["pageInfo"]["endCursor"])
    assert texts_of(rest) == ["Where is my order?"]
    assert not rest["pageInfo"]["hasNextPage"]
    assert rest["pageInfo"]["hasPreviousPage"]
    assert texts_of(find(acme, '"my order"')) == ["Where is my order?"]
    assert texts_of(find(acme, "order -late -comes -where")) == ["ORDER again"]
    assert texts_of(find(acme, "secret")) == []


@pytest.mark.parametrize("seed", range(6))
def test_it_finds_exactly_what_a_plain_matcher_finds(
    acme: Cast, globex: Cast, find, small: None, seed: int
) -> None:
    chance = random.Random(seed)
    for cast in (acme, globex):
        rows = write(cast, 40)
        for row in rows:
            row.text = " ".join(chance.choices(WORDS, k=chance.randint(1, 4)))
            row.timestamp_utc = START + timedelta(days=chance.randint(-100, 100))
            row.direction = chance.choice(["INBOUND", "OUTBOUND"])
        Message.objects.bulk_update(rows, ["text", "timestamp_utc", "direction"])
    search_index.read_pending()
    for cast in (acme, globex):  # in between, and their words are not read yet
        write(cast, 3, text="late order")
    for query in ("order", "late parcel", '"order late"', "thanks -order", "par*", "机", "absent"):
        for given in ({}, {"d": "INBOUND"}, {"since": (START - timedelta(days=20)).isoformat()}):
            wanted = [str(row.id) for row in matching(acme, query, **given)]
            for size in (1, 4, 100):
                assert walk(find, acme, query, first=size, **given) == wanted, (query, given)


def matching(
    cast: Cast, query: str, d: str | None = None, since: str | None = None
) -> list[Message]:
    """Return what is to be found, by looking at every message."""
    rows = Message.objects.filter(workspace=cast.workspace).order_by("-timestamp_utc", "-id")
    rows = rows.filter(direction=d) if d else rows
    rows = rows.filter(timestamp_utc__gte=since) if since else rows
    return [row for row in rows if words.parse(query).matches(row.text)]


def test_what_is_not_indexed_yet_is_told(acme: Cast, globex: Cast, find, small: None) -> None:
    say(acme, *["order"] * 12)
    waiting = PendingWords.objects.filter(tenant_id=acme.tenant.id)
    oldest = waiting.order_by("id")[0].created_at
    assert find(acme, "order late")["indexedUntil"] == oldest.isoformat()
    search_index.read_pending()
    assert not PendingWords.objects.exists()
    assert find(acme, "order late")["indexedUntil"] is None
    assert len(walk(find, acme, "order", first=3)) == 12
    assert walk(find, globex, "order") == []


def test_edits_are_found_by_the_new_text_and_revoked_messages_not_at_all(
    acme: Cast, globex: Cast, find, small: None
) -> None:
    at = 1_790_000_000

    said = [{**text(f"wamid.{n}", at=at + n), "text": {"body": f"first {n}"}} for n in range(9)]
    take_in(acme, messages=said)
    take_in(globex, messages=said)
    search_index.read_pending()
    new = {"type": "text", "text": {"body": "second"}}
    edit = {"original_message_id": "wamid.1", "message": new}
    gone = {"original_message_id": "wamid.0"}
    changes = [
        {**text("wamid.edit", at=at + 20), "type": "edit", "edit": edit},
        {**text("wamid.gone", at=at + 21), "type": "revoke", "revoke": gone},
    ]
    take_in(acme, messages=changes)
    assert "second" not in words_of(acme)
    for _ in range(2):  # before and after the words are read
        assert len(words_of(acme)) == 7 + _
        assert len(walk(find, acme, "first")) == 7
        assert texts_of(find(acme, "second")) == ["second"]
        assert len(walk(find, globex, "first")) == 9
        assert walk(find, globex, "second") == []
        search_index.read_pending()


def words_of(cast: Cast) -> list[str]:
    """Return the words of each message in the index."""
    rows = MessageWords.objects.filter(tenant_id=cast.tenant.id)
    return [str(words) for words in rows.values_list("words", flat=True)]


def test_what_is_sealed_is_no_text(acme: Cast, find) -> None:
    write(acme, 1, text="[sealed:0]", type="button")
    (typed,) = write(acme, 1, text="[sealed:0]", type="text")
    for _ in range(2):
        assert walk(find, acme, "sealed") == [str(typed.id)]
        search_index.read_pending()
    assert len(words_of(acme)) == 1


def test_words_go_with_their_message(acme: Cast, globex: Cast) -> None:
    for cast in (acme, globex):
        say(cast, "order", "parcel")
    search_index.read_pending()
    Message.objects.filter(tenant_id=acme.tenant.id).delete()

    assert (len(words_of(acme)), len(words_of(globex))) == (0, 2)


@pytest.mark.django_db(transaction=True)
def test_words_in_hand_are_not_written_behind_a_change_or_an_erasure(
    acme: Cast, globex: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact_id = talk(acme, 1).contact_id
    (theirs,) = write(acme, 1, text="secret", contact_id=contact_id)
    say(globex, "order")
    row = person_erasure.request(
        tenant_id=acme.tenant.id, contact_id=contact_id, by="test", now=START
    )
    in_hand, go_on, plainly = Event(), Event(), words.words_of

    def slowly(said: str) -> list[str]:
        in_hand.set()
        assert go_on.wait(20)
        return plainly(said)

    monkeypatch.setattr(words, "words_of", slowly)
    with ThreadPoolExecutor() as threads:
        try:
            reading = threads.submit(closing, search_index.read_pending)
            assert in_hand.wait(20)
            monkeypatch.setattr(words, "words_of", plainly)
            Message.objects.filter(pk=theirs.pk).update(text="changed")
            assert search_index.read_pending() == 0  # the other one has it in hand
            erasing = threads.submit(closing, lambda: erasure.erase_person(row, now=START))
            with pytest.raises(TimeoutError):
                erasing.result(0.5)
        finally:
            go_on.set()
        reading.result(20)
        erasing.result(20)

    search_index.read_pending()
    assert (len(words_of(acme)), len(words_of(globex))) == (0, 1)


def closing(work: Callable[[], object]) -> None:
    """Work in a thread, whose connection is closed behind it."""
    try:
        work()
    finally:
        connection.close()


def test_one_conversation_can_be_searched(acme: Cast, globex: Cast, find, small: None) -> None:
    first, second, theirs = talk(acme, 1), talk(acme, 2), talk(globex, 1)
    for conversation, count in ((first, 5), (second, 4)):
        write(acme, count, text="my order", contact_id=conversation.contact_id)
    write(acme, 2, text="my order", contact_id=first.contact_id, group_id="a group")
    search_index.read_pending()
    alias = Contact.objects.create(tenant_id=acme.tenant.id, merged_into=first.contact_id)
    write(acme, 1, text="my order", contact_id=alias.id)
    for _ in range(2):
        assert len(walk(find, acme, "order", c=str(first.id), first=2)) == 6
        assert len(walk(find, acme, "order", c=str(second.id), first=2)) == 4
        search_index.read_pending()
    assert walk(find, acme, "order", c=str(second.id), until=START.isoformat()) == []
    for other in (theirs.id, uuid4()):
        status, refused = search_rest(acme, acme, conversation_id=other)
        assert (status, refused["error"]["code"]) == (404, "NOT_FOUND")


def search_rest(caller: Cast | str, place: Cast, **given: object) -> tuple[int, dict]:
    """Search over REST."""
    given = {"workspace_id": place.workspace.id, "q": "order", **given}
    return ask(caller, f"/api/v1/messages/search?{urlencode(given)}", method="get")


def test_rest_does_the_same(acme: Cast, globex: Cast) -> None:
    say(acme, "My order", "Your order", direction="OUTBOUND")
    say(globex, "Their order")

    status, page = search_rest(acme, acme, first=1)
    assert status == 200
    assert [node["message"]["text"] for node in page["nodes"]] == ["Your order"]
    assert page["nodes"][0]["snippet"][1] == {"text": "order", "is_match": True}
    assert page["indexed_until"] is None
    after = page["page_info"]["end_cursor"]
    _, rest = search_rest(acme, acme, first=1, after=after, direction="OUTBOUND")
    assert [node["message"]["text"] for node in rest["nodes"]] == ["My order"]
    assert rest["page_info"]["has_next_page"] is False
    assert search_rest(acme, acme, direction="INBOUND")[1]["nodes"] == []
    assert search_rest(acme, acme, until=START.isoformat())[1]["nodes"] == []
    assert search_rest(globex, acme)[0] == 404
    assert search_rest(key_with(acme.tenant, Scope.MESSAGES_READ), acme)[0] == 200
    assert search_rest(key_with(acme.tenant, Scope.MESSAGES_SEND), acme)[0] == 403


@pytest.mark.parametrize(
    "given",
    [
        {"q": ""},
        {"q": "!?"},
        {"q": "-a"},
        {"q": "a\0"},
        {"q": "x" * 257},
        {"q": "word " * 10_000},
        {"direction": "UP"},
        {"since": "soon"},
        {"until": "2026-13-01T00:00:00Z"},
        {"first": "many"},
        {"after": "x"},
        {"workspace_id": "mine"},
        {"conversation_id": "mine"},
        {"sort": "best"},
    ],
)
def test_rest_says_what_cannot_be_searched(acme: Cast, given: dict) -> None:
    status, refused = search_rest(acme, acme, **given)

    assert (status, refused["error"]["code"]) == (400, "INVALID_INPUT")
    assert refused["error"]["message"]


@pytest.mark.parametrize("query", ["", "?!", "-a -b", "x" * 257, "a " * 10_000, "a\0b", "x*"])
def test_graphql_refuses_what_is_no_query(acme: Cast, gql: Gql, query: str) -> None:
    assert gql(acme, SEARCH, w=str(acme.workspace.id), q=query).codes == ["BAD_USER_INPUT"]


def test_it_needs_a_scope_and_a_workspace(acme: Cast, globex: Cast, gql: Gql) -> None:
    sender = key_with(acme.tenant, Scope.MESSAGES_SEND)
    assert gql(sender, SEARCH, w=str(acme.workspace.id), q="a").codes == ["FORBIDDEN"]
    assert gql(globex, SEARCH, w=str(acme.workspace.id), q="a").codes == ["NOT_FOUND"]


def test_the_index_shows_a_tenant_nothing_of_others(acme: Cast, globex: Cast) -> None:
    mine, _ = (say(cast, "order")[0] for cast in (acme, globex))
    search_index.read_pending()
    week = search_index.week_of(START)
    places = [search_index.prefix_of(cast.workspace.id, week) for cast in (acme, globex)]
    queries = [words.parse("order").as_tsquery(place) for place in places]
    asked = "SELECT id FROM messages_with_words(%s, 10, 10)"

    with as_tenant(acme.tenant.id):
        assert run(asked, queries) == [(mine.id,)]
        assert run("SELECT count(*) FROM message_words") == [(1,)]
        for forbidden in (
            "INSERT INTO message_words_pending (tenant_id) SELECT tenant_id FROM messages",
            "DELETE FROM message_words",
        ):
            with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
                run(forbidden)
    assert run(asked, queries) == []  # nobody's


def test_the_tenants_role_uses_the_index_and_nothing_else(acme: Cast, find, small: None) -> None:
    say(acme, *["order"] * 9)
    search_index.read_pending()
    scans = "SELECT pg_stat_get_xact_numscans(%s::regclass)"
    names = ("message_words_gin", "message_words")
    before = [run(scans, name)[0][0] for name in names]
    assert len(walk(find, acme, "order", first=9)) == 9
    index, table = (run(scans, name)[0][0] for name in names)
    assert index > before[0]
    assert table == before[1]


def test_a_person_is_not_found_by_a_number_that_no_text_has(acme: Cast, find) -> None:
    hear(acme, "wamid.1")
    for _ in range(2):
        assert walk(find, acme, "15550123456") == []
        search_index.read_pending()


DOCUMENT = Path(__file__).parents[2] / "docs/conversations.md"
SECTION = DOCUMENT.read_text(encoding="utf-8").partition("## Search\n")[2].partition("\n## ")[0]


def test_its_documentation_does_what_it_says(acme: Cast, globex: Cast, gql: Gql) -> None:
    for cast in (acme, globex):
        say(cast, "My order has not arrived", "My cancelled order has not arrived")
    (block,) = re.findall(r"```graphql\n(.+?)```", SECTION, re.DOTALL)
    document = block.replace("your-workspace-uuid", str(acme.workspace.id))
    page = gql(acme, document).data["searchMessages"]
    assert texts_of(page) == ["My order has not arrived"]
    assert gql(globex, document).codes == ["NOT_FOUND"]
    (command,) = re.findall(r"```sh\n(.+?)```", SECTION, re.DOTALL)
    given = dict(
        word.split("=", 1) for word in shlex.split(command) if word[:2] in ("wo", "fi", "q=")
    )
    assert (given.pop("workspace_id"), given["first"]) == ("$W", "20")
    _, found = search_rest(acme, acme, **given)
    assert [node["message"]["id"] for node in found["nodes"]] == [page["nodes"][0]["message"]["id"]]


def test_its_documentation_names_the_bounds() -> None:
    for number in (
        words.LONGEST_QUERY,
        words.MOST_TERMS,
        words.MOST_PIECES,
        words.MOST_WORDS,
        words.LONGEST_WORD,
        sum(search.LOOKED_THROUGH),
        search.MOST_WAITING,
    ):
        assert f"{number:,} " in " ".join(SECTION.split())
