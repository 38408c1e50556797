"""Sending over REST: the same service, statuses that programs can act on, one shape of refusals."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from uuid import UUID, uuid4

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from messaging.models import Message, ReadMark
from tests.conftest import Cast
from tests.graphql.conftest import key_with
from tests.sending.conftest import template, wire_of
from workspaces.access import Scope

pytestmark = pytest.mark.django_db

MESSAGES = "/api/v1/messages"


def ask(cast: Cast | str, path: str = MESSAGES, body: object = None, method="post", **headers: str):
    """Ask the REST door with a cast's key (or another); return status and JSON."""
    key = cast if isinstance(cast, str) else cast.api_key
    headers = {"Authorization": f"Bearer {key}", **headers}
    given = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    answer = getattr(Client(), method)(path, headers=headers, **given)
    return answer.status_code, answer.json()


def text_to(cast: Cast, **more: object) -> dict:
    return {
        "workspace_id": str(cast.workspace.id),
        "recipient_phone": "+15550123456",
        "text": "Hi",
        **more,
    }


def test_it_accepts_once_and_answers_again(acme: Cast, heard: Message) -> None:
    key = {"Idempotency-Key": "order-1"}

    status, first = ask(acme, body=text_to(acme), **key)
    again, second = ask(acme, body=text_to(acme, recipient_phone="+1 555 012 3456"), **key)
    other, refusal = ask(acme, body=text_to(acme, text="Ho"), **key)

    assert (status, again, other) == (201, 200, 409)
    assert first == {"message_id": first["message_id"], "status": "queued", "is_repeat": False}
    assert second == {**first, "is_repeat": True}
    assert (refusal["error"]["code"], refusal["error"]["field"]) == (
        "IDEMPOTENCY_CONFLICT",
        "idempotency_key",
    )
    assert Message.objects.filter(direction="OUTBOUND").count() == 1


@pytest.mark.parametrize(
    ("field", "content"),
    [
        ("contacts", [{"name": {"formatted_name": "Ana\0"}}]),
        ("contacts", [{"name": {"formatted_name": "A"}, "phones": [{"phone": "+1\0"}]}]),
        ("interactive", {"body": "a", "buttons": [{"id": "1", "title": "Yes\0"}]}),
        (
            "interactive",
            {
                "body": "a",
                "list": {"button": "b", "sections": [{"rows": [{"id": "\0", "title": "a"}]}]},
            },
        ),
    ],
)
def test_it_takes_nothing_that_cannot_be_stored_however_deep_it_stands(
    acme: Cast, globex: Cast, heard: Message, field: str, content: object
) -> None:
    said = {**text_to(acme), field: content}
    del said["text"]

    status, refusal = ask(acme, body=said)

    assert (status, refusal["error"]["code"]) == (422, "INVALID_INPUT")
    assert refusal["error"]["field"] == field
    assert "NUL character or half of a surrogate pair" in refusal["error"]["message"]
    assert not Message.objects.filter(direction="OUTBOUND").exists()


def test_it_sends_named_parameters_and_a_header(acme: Cast) -> None:
    body = {"type": "BODY", "text": "Hi {{first_name}}, order {{order}} is on its way"}
    header = {"type": "HEADER", "format": "IMAGE"}
    template(
        acme,
        "order_update",
        language="pt_BR",
        category="UTILITY",
        parameter_format="NAMED",
        components=[header, body],
    )
    values = {"named": {"first_name": "Ana", "order": "7"}, "header": {"media": {"id": "12345"}}}

    status, answer = ask(
        acme,
        body={
            "workspace_id": str(acme.workspace.id),
            "recipient_phone": "+5511912345678",
            "template_name": "order_update",
            "template_parameters": values,
        },
    )

    assert status == 201, answer
    assert wire_of(UUID(answer["message_id"]))["template"]["components"] == [
        {"type": "header", "parameters": [{"type": "image", "image": {"id": "12345"}}]},
        {
            "type": "body",
            "parameters": [
                {"type": "text", "text": "Ana", "parameter_name": "first_name"},
                {"type": "text", "text": "7", "parameter_name": "order"},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"colour": "red"}, 400, "INVALID_INPUT", "colour"),
        ({"text": 7}, 400, "INVALID_INPUT", "text"),
        ({"text": None}, 400, "INVALID_INPUT", "text"),
        ({"workspace_id": None}, 400, "INVALID_INPUT", "workspace_id"),
        ({"media": {"kind": "image", "colour": 1}}, 400, "INVALID_INPUT", "media"),
        ({"scheduled_at": "0001-01-01T00:00:00+14:00"}, 400, "INVALID_INPUT", "scheduled_at"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, 400, "INVALID_INPUT", "expires_at"),
        ({"text": "x" * 4097}, 422, "INVALID_INPUT", "text"),
        ({"idempotency_key": "a\0"}, 422, "INVALID_INPUT", "idempotency_key"),
        ({"recipient_phone": "0711558396"}, 422, "INVALID_PHONE", "recipient_phone"),
        ({"workspace_id": str(uuid4())}, 422, "WORKSPACE_NOT_FOUND", "workspace_id"),
        ({"recipient_phone": "+27711558396"}, 422, "WINDOW_CLOSED", "text"),
    ],
)
def test_it_says_what_is_wrong(
    acme: Cast, heard: Message, change: dict, status: int, code: str, field: str
) -> None:
    answered, answer = ask(acme, body=text_to(acme, **change))

    assert answered == status
    assert (answer["error"]["code"], answer["error"]["field"]) == (code, field)
    assert set(answer["error"]) == {
        "code",
        "field",
        "message",
        "platform_code",
        "retryable",
        "others",
    }
    assert "711558396" not in str(answer)


def test_it_refuses_strangers_and_what_is_not_json(acme: Cast) -> None:
    plain = Client().post(MESSAGES, "x=1", content_type="text/plain")
    reader = key_with(acme.tenant, Scope.MESSAGES_READ)
    headers = {"Authorization": f"Bearer {acme.api_key}"}

    assert (plain.status_code, plain.json()["error"]["code"]) == (401, "UNAUTHENTICATED")
    assert plain["WWW-Authenticate"] == "Bearer"
    assert ask(reader, body=text_to(acme))[0] == 403
    for body, kind, status in (
        ("x=1", "text/plain", 415),
        ("{", "application/json", 400),
        ("[]", "application/json", 400),
        ('{"text": "\\ud800"}', "application/json", 400),
        (b"\xff", "application/json", 400),
        ("[" * 100_000, "application/json", 400),
        ('{"a": NaN}', "application/json", 400),
        (" " * 200_001, "application/json", 413),
    ):
        answer = Client().post(MESSAGES, body, content_type=kind, headers=headers)
        assert (answer.status_code, "error" in answer.json()) == (status, True)


def test_it_reads_cancels_and_marks(acme: Cast, globex: Cast, heard: Message) -> None:
    message_id = ask(acme, body=text_to(acme))[1]["message_id"]
    mine = f"{MESSAGES}/{message_id}"

    status, found = ask(acme, mine, method="get")
    assert (status, found["status"], found["text"]) == (200, "queued", "Hi")
    assert ask(globex, mine, method="get")[0] == 404
    assert ask(globex, f"{mine}/cancel")[0] == 404
    assert ask(acme, f"{mine}/cancel")[1]["status"] == "cancelled"
    Message.objects.filter(pk=message_id).update(status="sending")
    assert ask(acme, f"{mine}/cancel")[0] == 409
    assert ask(globex, f"{MESSAGES}/{heard.id}/read", {})[0] == 404
    assert ask(acme, f"{MESSAGES}/{heard.id}/read", {"typing": True})[0] == 200
    assert ask(acme, f"{MESSAGES}/{heard.id}/read", {"typo": True})[0] == 400
    assert ReadMark.objects.get().message_id == heard.id


def document() -> dict:
    answer = Client().get("/api/schema", headers={"Accept": "application/json"})
    assert answer.status_code == 200
    return answer.json()


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if "$ref" in node else set()
        return own.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_its_document_is_whole_and_describes_everything() -> None:
    found = document()

    shapes = found["components"]["schemas"]
    assert found["openapi"].startswith("3.1")
    assert references(found) == {f"#/components/schemas/{name}" for name in shapes}
    nameless = [
        (name, field)
        for name, shape in shapes.items()
        for field, words in shape.get("properties", {}).items()
        if not words.get("description")
    ]
    assert nameless == []


@pytest.mark.parametrize("wanted", ["*/*", "text/html", "application/vnd.oai.openapi+json"])
def test_its_document_is_json_whatever_is_accepted(wanted: str) -> None:
    answer = Client().get("/api/schema?format=yaml", headers={"Accept": wanted})

    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


def test_its_document_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = document()
    monkeypatch.delattr(SchemaGenerator, "get_schema")
    assert document() == first


def test_every_path_of_its_document_answers(acme: Cast) -> None:
    for path, operations in document()["paths"].items():
        concrete = re.sub(r"{\w+}", str(uuid4()), path)
        for method, operation in operations.items():
            body = {} if method == "post" else None
            status, answer = ask(acme, concrete, body, method)
            assert str(status) in operation["responses"], (path, HTTPStatus(status))
            assert set(answer) == {"error"} or status == HTTPStatus.OK


def test_its_viewer_needs_no_other_server() -> None:
    page = Client().get("/api/docs")

    found = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert page.status_code == 200
    assert "script-src 'self';" in page["Content-Security-Policy"]
    assert found and all(address.startswith("/") for address in found)
    files = [address for address in found if address.startswith("/static/")]
    assert files and all(finders.find(name.removeprefix("/static/")) for name in files)
    assert Client().get("/api/docs?script=").status_code == 200
