"""Requests of the wrong shape, documents that ask for too much, and bugs of ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import OperationalError, connection
from django.test import Client

from messaging import queries
from sigma.graphql.documents import Documents
from sigma.schema import schema
from tests.conftest import Cast
from tests.graphql.conftest import Gql, write
from workspaces.acting import as_tenant, is_timeout
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db


def send(cast: Cast, body: bytes | str, content_type: str = "application/json"):
    """Send these bytes."""
    return Client().post("/graphql", body, content_type, headers={"X-API-Key": cast.api_key})


@pytest.mark.parametrize(
    "body",
    [
        " ",
        "null",
        "[]",
        '"x"',
        "{}",
        '{"query": 1}',
        '{"query": "{ __typename }", "variables": []}',
        '{"query": "{ __typename }", "operationName": 1}',
        '{"query": "\\ud800"}',
        '[{"query": "{a}"}]',
        b'{"query": "\xff"}',
        "[" * 50_000,
        '{"variables": ' + '{"a":' * 30_000,
        '{"query": ""',
    ],
)
def test_it_refuses_what_is_no_request(acme: Cast, body: bytes | str) -> None:
    answer = send(acme, body)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


def test_it_refuses_other_content_types(acme: Cast) -> None:
    for content_type in ("text/plain", "application/graphql", "multipart/form-data; boundary=x"):
        assert send(acme, '{"query": "{ __typename }"}', content_type).status_code == 415


def test_it_refuses_a_body_that_is_too_large(acme: Cast) -> None:
    assert send(acme, '{"query": "%s"}' % ("#" * 200_000)).status_code == 413


@pytest.mark.parametrize("method", ["get", "put", "delete", "options", "patch"])
def test_it_takes_posts_only(method: str) -> None:
    answer = getattr(Client(), method)("/graphql", headers={"Accept": "application/json"})

    assert answer.status_code == 405
    assert answer["Allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("", "GRAPHQL_PARSE_FAILED"),
        ("{" * 3_000, "GRAPHQL_PARSE_FAILED"),
        ("{ a" * 600 + "}" * 600, "GRAPHQL_PARSE_FAILED"),
        ("{ __typename " + " __typename" * 3_000 + "}", "GRAPHQL_PARSE_FAILED"),
        ("#" * 30_000 + "\n{ __typename }", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ messages { nodes { id } } }", "GRAPHQL_VALIDATION_FAILED"),
        ("query { ...A } fragment A on Query { ...A }", "GRAPHQL_VALIDATION_FAILED"),
        (
            'mutation { createWorkspace(input: {name: "x"}) { success } }',
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("query A { __typename } query B { __typename }", "BAD_REQUEST"),
        ("fragment A on Query { __typename }", "GRAPHQL_VALIDATION_FAILED"),
    ],
)
def test_it_refuses_what_is_no_document_of_the_schema(
    gql: Gql, acme: Cast, query: str, code: str
) -> None:
    answer = gql(acme, query)

    assert answer.status == 400
    assert set(answer.codes) == {code}


def test_it_runs_the_operation_that_is_named(gql: Gql, acme: Cast) -> None:
    document = "query A { tenant { slug } } query B { tenant { name } }"

    assert gql(acme, document, "B").data == {"tenant": {"name": "Acme"}}


def test_it_refuses_a_document_that_is_too_deep(gql: Gql, acme: Cast, settings) -> None:
    settings.SIGMA_GRAPHQL_MAX_DEPTH = 3
    shallow = "query($w: ID!) { messages(workspaceId: $w) { nodes { id } } }"
    deep = "query($w: ID!) { messages(workspaceId: $w) { edges { ...E } } }"
    deep += " fragment E on MessageEdge { ... on MessageEdge { node { id } } }"
    variables = {"w": str(acme.workspace.id)}

    assert gql(acme, shallow, **variables).status == 200
    assert gql(acme, deep, **variables).codes == ["LIMIT_EXCEEDED"]


MESSAGES = "messages(workspaceId: $w, first:"


def many(field: str, times: int) -> str:
    """Ask for a field over and over."""
    return " ".join(f"a{number}: {field}" for number in range(times))


@pytest.mark.parametrize(
    "query",
    [
        f"query($w: ID!) {{ {MESSAGES} 100) {{ nodes {{ ...M }} edges {{ node {{ ...M }} }} }} }}",
        f"query($w: ID!, $n: Int = 100) {{ {MESSAGES} $n) {{ ...C ...C }} }}",
        f"query($w: ID!, $many: Int) {{ {MESSAGES} $many) {{ ...C b: nodes {{ ...M }} }} }}",
        f"query($w: ID!) {{ {many(MESSAGES + ' 0) { totalCount }', 20)} }}",
        f"{{ {many('__schema { types { name } }', 5)} }}",
        f"{{ {many('ledger { accepted }', 20)} }}",
    ],
)
def test_it_refuses_a_document_that_asks_for_too_much(gql: Gql, acme: Cast, query: str) -> None:
    if "...C" in query:
        query += " fragment C on MessageConnection { nodes { ...M } }"
    if "...M" in query:
        query += " fragment M on Message { raw sender { displayName } contact { id } media { id }"
        query += " workspace { id } statuses { status } delivery { sentAt } }"

    answer = gql(acme, query, w=str(acme.workspace.id), many=100)

    assert answer.codes == ["LIMIT_EXCEEDED"]


def test_it_measures_spreads_of_spreads_in_no_time(gql: Gql, acme: Cast) -> None:
    fragments = [f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(60)]
    document = "{ ...F0 } " + " ".join(fragments) + " fragment F60 on Query { tenant { slug } }"

    assert gql(acme, document).codes == ["LIMIT_EXCEEDED"]


def test_it_allows_the_introspection_of_graphiql(gql: Gql, acme: Cast) -> None:
    from graphql import get_introspection_query

    document = get_introspection_query(input_value_deprecation=True, schema_description=True)

    assert gql(acme, document).data["__schema"]["queryType"] == {"name": "Query", "kind": "OBJECT"}


def test_it_hides_what_went_wrong_inside(
    gql: Gql, acme: Cast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(queries, "read_page", fail)
    document = "query($w: ID!) { messages(workspaceId: $w) { nodes { id } } tenant { slug } }"

    with caplog.at_level(logging.ERROR):
        answer = gql(acme, document, w=str(acme.workspace.id))

    assert answer.codes == ["INTERNAL"]
    assert "hunter2" not in str(answer.body)
    assert answer.body["data"] == {"messages": None, "tenant": {"slug": "acme"}}
    assert answer.body["errors"][0]["message"].split()[-1].rstrip(".") in caplog.text


def test_it_undoes_a_mutation_in_which_a_bug_struck(
    gql: Gql, acme: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(schema.graphql_schema.get_type("DateTime"), "serialize", fail)
    document = f"""
    mutation {{ createWorkspace(input: {{tenantId: "{acme.tenant.id}", name: "x",
      platform: WHATS_APP, externalId: "12345"}}) {{ success workspace {{ createdAt }} }} }}
    """

    answer = gql(acme, document)

    assert answer.codes == ["INTERNAL"]
    assert answer.body["data"] is None
    assert not Workspace.objects.filter(external_id="12345").exists()


@contextmanager
def held(table: str) -> Iterator[None]:
    """Hold a table from another connection."""
    with connection.get_new_connection(connection.get_connection_params()) as other:
        other.execute(f"LOCK TABLE {table}")
        yield


@pytest.mark.django_db(transaction=True)
def test_it_ends_a_request_that_takes_too_long(
    gql: Gql, acme: Cast, globex: Cast, settings
) -> None:
    settings.SIGMA_GRAPHQL_TIMEOUT_MS = 100
    document = """query($w: ID!) {
      messages(workspaceId: $w) { nodes { id } } tenant { slug } workspaces { id } }"""

    with held("messages"):
        late = gql(acme, document, w=str(acme.workspace.id))
        other = gql(globex, "{ tenant { slug } }")

    assert set(late.codes) == {"LIMIT_EXCEEDED"}
    assert late.body["data"]["messages"] is None
    assert "too long" in late.body["errors"][0]["message"]
    assert other.data["tenant"]["slug"] == "globex"


@pytest.mark.django_db(transaction=True)
def test_it_undoes_a_mutation_that_takes_too_long(
    gql: Gql, acme: Cast, globex: Cast, settings
) -> None:
    settings.SIGMA_GRAPHQL_TIMEOUT_MS = 100
    document = f"""
    mutation {{ createWorkspace(input: {{tenantId: "{acme.tenant.id}", name: "x",
      platform: WHATS_APP, externalId: "12345"}}) {{ success }} }}
    """

    with held("workspaces"):
        late = gql(acme, document)

    assert (late.codes, late.body["data"]) == (["LIMIT_EXCEEDED"], None)
    assert not Workspace.objects.filter(external_id="12345").exists()


def test_it_prepares_a_document_once() -> None:
    documents = Documents(schema.graphql_schema)

    assert documents.prepare("{ __typename }") is documents.prepare("{ __typename }")
    assert documents.prepare("{ x }") is documents.prepare("{ x }")


def test_it_forgets_the_documents_that_nobody_used() -> None:
    documents = Documents(schema.graphql_schema, capacity=40)
    first = documents.prepare("{ a1: __typename }")
    documents.prepare("{ a2: __typename }")
    documents.prepare("{ a1: __typename }")
    documents.prepare("{ a3: __typename }")

    assert documents.prepare("{ a1: __typename }") is first


def test_it_answers_with_the_same_page_with_and_without_the_slash(gql: Gql, acme: Cast) -> None:
    write(acme, 1)

    answer = Client().post(
        "/graphql/",
        {"query": "{ tenant { slug } }"},
        "application/json",
        headers={"X-API-Key": acme.api_key},
    )

    assert answer.json() == {"data": {"tenant": {"slug": "acme"}}}


@pytest.mark.django_db(transaction=True)
def test_it_has_one_deadline_for_all_statements_of_a_document(acme: Cast, globex: Cast) -> None:
    """Each of them alone would be in time."""
    done = 0
    with pytest.raises(OperationalError) as late, as_tenant(acme.tenant.id, timeout_ms=400):
        for _ in range(6):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.15)")
            done += 1

    assert is_timeout(late.value)
    assert done < 3
    with as_tenant(globex.tenant.id, timeout_ms=400), connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("400ms",)
