"""The Cloud API channel at its door: what it asks of Meta, and what it makes of the answers.

Templates too: pages, drafts, and changes whose outcome Meta did not state.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from connectors.whatsapp import graph
from connectors.whatsapp.graph import _versions_logged
from tests.messaging.meta import Meta, Reply
from tests.whatsapp.wires import (
    APP_SECRET,
    NUMBER_ID,
    REQUEST,
    TOKEN,
    WABA_ID,
    answering,
    channel,
    response,
    send_to,
    serving,
)
from workspaces.channel_errors import NotConfigured, OutcomeUnknown, Rejected, Unavailable
from workspaces.channel_facts import (
    AcceptedSend,
    NumberFacts,
    TemplateDraft,
    TemplateFacts,
    TokenFacts,
)

PROOF = hmac.new(APP_SECRET.encode(), TOKEN.encode(), hashlib.sha256).hexdigest()
NUMBER = {
    "id": NUMBER_ID,
    "display_phone_number": "+27 82 000-0001",
    "verified_name": "Acme",
    "status": "CONNECTED",
    "quality_rating": "GREEN",
    "throughput": {"level": "STANDARD"},
    "account_mode": "LIVE",
    "whatsapp_business_manager_messaging_limit": "TIER_2K",
    "is_on_biz_app": True,
    "health_status": {
        "can_send_message": "BLOCKED",
        "entities": [
            {"entity_type": "PHONE_NUMBER", "can_send_message": "AVAILABLE"},
            {
                "entity_type": "WABA",
                "can_send_message": "BLOCKED",
                "errors": [
                    {
                        "error_code": 141006,
                        "error_description": "No payment method, call +1 650 555 1234.",
                        "possible_solution": "Add one.",
                    }
                ],
            },
            {"entity_type": "APP", "additional_info": ["Check the app."]},
        ],
    },
}


def accepted(**message: object) -> bytes:
    contacts = [{"input": "+27820000001", "wa_id": "27820000001"}]
    return response({"contacts": contacts, "messages": [{"id": "wamid.X", **message}]})


def test_it_sends_the_very_bytes_with_the_tenants_own_credentials(settings) -> None:
    seen: list[bytes] = []

    send_to(answering(accepted(), seen), settings)

    head, body = seen[0].split(b"\r\n\r\n")
    assert body == REQUEST
    first = f"POST /v26.0/{NUMBER_ID}/messages?appsecret_proof={PROOF} HTTP/1.1"
    assert head.decode().split("\r\n")[0] == first
    assert f"authorization: Bearer {TOKEN}" in head.decode()
    assert b"content-type: application/json" in head


@pytest.mark.parametrize("state", ["accepted", "held_for_quality_assessment"])
def test_it_returns_what_meta_accepted(settings, state: str) -> None:
    sent = send_to(answering(accepted(message_status=state)), settings)

    assert sent == AcceptedSend("wamid.X", "27820000001", state)


@pytest.mark.parametrize("wa_id", [None, "", "US.1349120865", "x", 3, "1" * 30])
def test_it_takes_no_recipient_for_a_number_that_is_none(settings, wa_id: object) -> None:
    body = {"contacts": [{"wa_id": wa_id}], "messages": [{"id": "wamid.X"}]}

    sent = send_to(answering(response(body)), settings)

    assert sent.recipient == ("3" if wa_id == 3 else None)


def test_it_raises_what_the_table_says(settings) -> None:
    refusal = response({"error": {"code": 131047, "fbtrace_id": "T1"}}, 400)

    with pytest.raises(Rejected) as caught:
        send_to(answering(refusal), settings)
    assert (caught.value.code, caught.value.trace_id) == (131047, "T1")


def test_it_believes_an_error_more_than_the_status(settings) -> None:
    with pytest.raises(Rejected):
        send_to(answering(response({"error": {"code": 131047}}, 200)), settings)


def test_it_follows_no_redirect(settings) -> None:
    seen: list[bytes] = []

    with pytest.raises(Unavailable):
        send_to(answering(response(b"", 307, Location="/elsewhere"), seen), settings)
    assert len(seen) == 1


def test_it_keeps_connections_and_no_cookies(settings) -> None:
    """What Meta sets for one tenant must not come back with another's message."""
    seen: list[bytes] = []
    connections: list[int] = []
    serve = answering(
        response(json.loads(accepted().split(b"\r\n\r\n")[1]), Set_Cookie="a=b"), seen
    )

    async def counting(reader, writer) -> None:
        connections.append(1)
        await serve(reader, writer)

    async def run() -> None:
        async with serving(counting) as port:
            settings.SIGMA_GRAPH_URL = f"http://127.0.0.1:{port}/v26.0"
            for _ in range(3):
                await channel().send(REQUEST)

    asyncio.run(run())

    assert (len(seen), len(connections)) == (3, 1)
    assert not any(b"ookie" in request for request in seen)


def test_it_takes_no_proxy_from_the_environment(settings, monkeypatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")

    assert send_to(answering(accepted()), settings).platform_message_id == "wamid.X"


def test_it_closes_its_connections_with_the_loop(settings) -> None:
    before = len(graph._transports)

    send_to(answering(accepted()), settings)

    assert len(graph._transports) == before


@pytest.mark.parametrize("typing", [True, False])
def test_it_marks_a_message_as_read(settings, typing: bool) -> None:
    seen: list[bytes] = []

    async def run() -> None:
        async with serving(answering(response({"success": True}), seen)) as port:
            settings.SIGMA_GRAPH_URL = f"http://127.0.0.1:{port}/v26.0"
            await channel().mark_read("wamid.IN", typing=typing)

    asyncio.run(run())

    body = json.loads(seen[0].split(b"\r\n\r\n")[1])
    assert body == {
        "messaging_product": "whatsapp",
        "status": "read",
        "message_id": "wamid.IN",
        **({"typing_indicator": {"type": "text"}} if typing else {}),
    }


def test_it_says_once_that_meta_answers_as_another_version(settings, caplog) -> None:
    _versions_logged.clear()
    content = accepted().replace(b"\r\n", b"\r\nfacebook-api-version: v24.0\r\n", 1)
    with caplog.at_level(logging.WARNING, "sigma.whatsapp.graph"):
        for _ in range(2):
            send_to(answering(content), settings)

    assert [(r.asked, r.answered) for r in caplog.records if r.name == "sigma.whatsapp.graph"] == [
        ("v26.0", "v24.0")
    ]


def test_it_describes_a_number(meta: Meta) -> None:
    meta.replies[f"/v26.0/{NUMBER_ID}"] = Reply(NUMBER)
    meta.replies[f"/v26.0/{WABA_ID}"] = Reply({"owner_business_info": {"id": "55"}})

    facts = channel().number()

    assert facts == NumberFacts(
        number="27820000001",
        verified_name="Acme",
        status="CONNECTED",
        quality_rating="GREEN",
        messaging_limit="TIER_2K",
        throughput_level="STANDARD",
        account_mode="LIVE",
        is_on_business_app=True,
        portfolio_id="55",
        can_send="BLOCKED",
        problem="WABA 141006: No payment method, call •••. Add one. APP: Check the app.",
    )
    assert "health_status" in meta.asked[0].query["fields"][0]
    assert meta.asked[0].query["appsecret_proof"] == [PROOF]
    assert "27820000001" not in repr(facts)


def test_it_counts_by_the_account_where_the_portfolio_is_not_told(meta: Meta) -> None:
    meta.replies[f"/v26.0/{NUMBER_ID}"] = Reply({"id": NUMBER_ID})
    meta.replies[f"/v26.0/{WABA_ID}"] = Reply({"error": {"code": 200}}, 403)

    assert channel().number() == NumberFacts(portfolio_id=WABA_ID)
    assert channel(account_id="").number() == NumberFacts()


def test_it_asks_again_for_less_where_a_version_lacks_a_field(meta: Meta) -> None:
    meta.replies[f"/v26.0/{NUMBER_ID}"] = Reply({"error": {"code": 100}}, 400)

    with pytest.raises(Rejected):
        channel().number()
    assert [len(asked.query["fields"][0]) > 100 for asked in meta.asked] == [True, False]


def debugged(**data: object) -> Reply:
    scopes = ["whatsapp_business_messaging", "whatsapp_business_management"]
    return Reply({"data": {"is_valid": True, "expires_at": 0, "scopes": scopes, **data}})


def test_it_inspects_its_own_token(meta: Meta) -> None:
    granted = [{"scope": "whatsapp_business_messaging", "target_ids": [WABA_ID, 7]}]
    meta.replies["/v26.0/debug_token"] = debugged(granular_scopes=granted, expires_at=1795000000)

    facts = channel().token()

    assert facts == TokenFacts(
        is_valid=True,
        expires_at=datetime.fromtimestamp(1795000000, UTC),
        scopes=("whatsapp_business_messaging", "whatsapp_business_management"),
        account_ids=(WABA_ID, "7"),
    )
    (asked,) = meta.asked
    assert asked.query["input_token"] == [TOKEN]
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("reply", "is_valid", "problem"),
    [
        (debugged(), True, ""),
        (debugged(scopes=["whatsapp_business_management"]), True, "whatsapp_business_messaging"),
        (
            debugged(
                granular_scopes=[{"scope": "whatsapp_business_management", "target_ids": ["7"]}]
            ),
            True,
            f"not granted the account {WABA_ID}",
        ),
        (debugged(is_valid=False, error={"message": "Session has expired"}), False, "expired"),
        (Reply({"error": {"code": 190, "message": "Expired"}}, 401), False, "expired or invalid"),
        (Reply({}), False, "not valid"),
    ],
)
def test_it_says_what_is_wrong_with_a_token(meta: Meta, reply, is_valid, problem) -> None:
    meta.replies["/v26.0/debug_token"] = reply

    facts = channel().token()

    assert facts.is_valid is is_valid
    assert problem in facts.problem and bool(facts.problem) is bool(problem)


def test_it_takes_no_answer_for_no_answer(meta: Meta) -> None:
    meta.replies["/v26.0/debug_token"] = Reply(b"", 503)

    with pytest.raises(Unavailable):
        channel().token()


@pytest.mark.parametrize("waba_id", ["", "../me", "9?x"])
def test_it_needs_a_waba_id_for_templates(settings, waba_id: str) -> None:
    with pytest.raises(NotConfigured):
        channel(account_id=waba_id).fetch_templates()


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
        "hello",
        category="UTILITY",
        sub_category="X",
        parameter_format="named",
        components=[BODY, 3],
        quality_score={"score": "GREEN", "date": 1},
        rejected_reason="NONE",
        previous_category="MARKETING",
        message_send_ttl_seconds=600,
    )
    answer(lambda _: httpx.Response(200, json={"data": [whole, {"id": "8"}, None, 3]}))

    assert list(channel().fetch_templates()) == [
        TemplateFacts(
            "7",
            "hello",
            "en_US",
            "APPROVED",
            category="UTILITY",
            sub_category="X",
            parameter_format="NAMED",
            components=(BODY,),
            quality="GREEN",
            rejected_reason="NONE",
            previous_category="MARKETING",
            ttl_seconds=600,
        )
    ]


def test_it_creates_a_template(answer, asked) -> None:
    created = {"id": "7", "status": "PENDING", "category": "MARKETING"}
    answer(lambda _: httpx.Response(200, json=created))

    facts = channel().create_template(DRAFT)

    assert (facts.platform_template_id, facts.status, facts.category) == (
        "7",
        "PENDING",
        "MARKETING",
    )
    assert (asked[0].method, asked[0].url.path) == ("POST", EDGE)
    assert json.loads(asked[0].content) == {
        "name": "hello",
        "language": "en_US",
        "category": "UTILITY",
        "parameter_format": "POSITIONAL",
        "components": [BODY],
        "message_send_ttl_seconds": 600,
    }


def test_it_replaces_the_components_of_a_template(answer, asked) -> None:
    answer(lambda _: httpx.Response(200, json={"success": True}))

    channel().edit_template("7", DRAFT)

    assert (asked[0].method, asked[0].url.path) == ("POST", "/v26.0/7")
    assert json.loads(asked[0].content) == {
        "components": [BODY],
        "message_send_ttl_seconds": 600,
    }


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
