"""Templates through the channel: paging, drafts, and changes whose outcome nobody told."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from connectors.whatsapp import graph
from tests.whatsapp.wires import WABA_ID, channel
from workspaces.channel_errors import OutcomeUnknown, Rejected, Unavailable
from workspaces.channel_facts import TemplateDraft, TemplateFacts

EDGE = f"/v26.0/{WABA_ID}/message_templates"
BODY: dict[str, object] = {"type": "BODY", "text": "Hello {{1}}"}
DRAFT = TemplateDraft("hello", "en_US", "UTILITY", (BODY,), ttl_seconds=600)
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def asked(settings, monkeypatch: pytest.MonkeyPatch) -> list[httpx.Request]:
    """Every request; ``answer`` decides what comes back."""
    settings.SIGMA_GRAPH_URL = "https://graph.facebook.com/v26.0"
    return []


@pytest.fixture
def answer(asked, monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Let Meta answer by a function."""

    def use(reply: Answer) -> None:
        def handle(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            return reply(request)

        client = httpx.Client(transport=httpx.MockTransport(handle), headers=graph.HEADERS)
        monkeypatch.setattr(graph, "blocking", lambda: client)

    return use


def node(name: str, **more: object) -> dict[str, object]:
    return {"id": "7", "name": name, "language": "en_US", "status": "APPROVED", **more}


def page(names: list[str], after: str = "") -> httpx.Response:
    paging = {"cursors": {"before": "b", "after": after or "end"}}
    if after:
        paging["next"] = f"https://evil.example/?access_token=x&after={after}"
    return httpx.Response(200, json={"data": [node(name) for name in names], "paging": paging})


def test_it_lists_page_after_page_by_cursor_alone(answer, asked) -> None:
    pages = {"": page(["a", "b"], "c1"), "c1": page(["c"])}
    answer(lambda request: pages[request.url.params.get("after", "")])

    assert [facts.name for facts in channel().fetch_templates()] == ["a", "b", "c"]
    assert [request.url.host for request in asked] == ["graph.facebook.com"] * 2
    assert {request.url.path for request in asked} == {EDGE}


def test_it_lists_one_name(answer, asked) -> None:
    answer(lambda _: page(["hello", "hello_again"]))

    assert [facts.name for facts in channel().fetch_templates(name="hello")] == ["hello"]
    assert asked[0].url.params["name"] == "hello"


def test_it_ends_where_metas_list_does_not(answer, asked) -> None:
    answer(lambda _: page(["a"], "c1"))

    with pytest.raises(Unavailable):
        list(channel().fetch_templates())
    assert len(asked) == 2


def test_it_reads_what_meta_says_of_a_template(answer) -> None:
    whole = node(
        "hello", category="UTILITY", sub_category="X", parameter_format="named",
        components=[BODY, 3], quality_score={"score": "GREEN", "date": 1}, rejected_reason="NONE",
        previous_category="MARKETING", message_send_ttl_seconds=600,
    )  # fmt: skip
    answer(lambda _: httpx.Response(200, json={"data": [whole, {"id": "8"}, None, 3]}))

    assert list(channel().fetch_templates()) == [
        TemplateFacts(
            "7", "hello", "en_US", "APPROVED", category="UTILITY", sub_category="X",
            parameter_format="NAMED", components=(BODY,), quality="GREEN", rejected_reason="NONE",
            previous_category="MARKETING", ttl_seconds=600,
        )
    ]  # fmt: skip


def test_it_creates_a_template(answer, asked) -> None:
    created = {"id": "7", "status": "PENDING", "category": "MARKETING"}
    answer(lambda _: httpx.Response(200, json=created))

    facts = channel().create_template(DRAFT)

    assert (facts.platform_template_id, facts.status, facts.category) == (
        "7", "PENDING", "MARKETING",
    )  # fmt: skip
    assert (asked[0].method, asked[0].url.path) == ("POST", EDGE)
    assert json.loads(asked[0].content) == {
        "name": "hello", "language": "en_US", "category": "UTILITY",
        "parameter_format": "POSITIONAL", "components": [BODY], "message_send_ttl_seconds": 600,
    }  # fmt: skip


def test_it_replaces_the_components_of_a_template(answer, asked) -> None:
    answer(lambda _: httpx.Response(200, json={"success": True}))

    channel().edit_template("7", DRAFT)

    assert (asked[0].method, asked[0].url.path) == ("POST", "/v26.0/7")
    assert json.loads(asked[0].content) == {
        "components": [BODY], "message_send_ttl_seconds": 600,
    }  # fmt: skip


@pytest.mark.parametrize("one", [None, "7"])
def test_it_deletes_a_template_or_one_of_its_languages(answer, asked, one: str | None) -> None:
    answer(lambda _: httpx.Response(200, json={"success": True}))

    channel().delete_template("hello", platform_template_id=one)

    query = parse_qs(urlsplit(str(asked[0].url)).query)
    query.pop("appsecret_proof")
    assert query == {"name": ["hello"], **({"hsm_id": ["7"]} if one else {})}
    assert (asked[0].method, asked[0].url.path) == ("DELETE", EDGE)


def _reset(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset")


def _unreachable(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (_reset, OutcomeUnknown),
        (_unreachable, Unavailable),
        (lambda _: httpx.Response(502), OutcomeUnknown),
        (lambda _: httpx.Response(200, content=b"{"), OutcomeUnknown),
        (lambda _: httpx.Response(200, content=b" " * 9_000_000), OutcomeUnknown),
        (lambda _: httpx.Response(400, json={"error": {"code": 100}}), Rejected),
        (lambda _: httpx.Response(200, json={"success": False}), Rejected),
    ],
)
def test_it_tells_a_change_that_failed_from_one_nobody_told(answer, reply, expected) -> None:
    answer(reply)

    with pytest.raises(expected):
        channel().edit_template("7", DRAFT)


@pytest.mark.parametrize("reply", [_reset, _unreachable, lambda _: httpx.Response(500)])
def test_it_may_always_ask_again(answer, reply) -> None:
    answer(reply)

    with pytest.raises(Unavailable):
        list(channel().fetch_templates())
