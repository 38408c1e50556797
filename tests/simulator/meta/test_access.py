from __future__ import annotations

import hmac
from collections.abc import Callable

import httpx
import pytest

from connectors.simulator.meta.server import RunningSimulator
from tests.simulator.meta.conftest import error

Graph = Callable[..., httpx.Response]
APP, APP_SECRET = "702290129340398", "simulated-app-secret"


def proof(token: str) -> str:
    return hmac.digest(APP_SECRET.encode(), token.encode(), "sha256").hex()


@pytest.mark.parametrize("version", ["v21.0", "v26.0", "v99.1"])
def test_it_answers_under_any_version(
    meta: RunningSimulator, http: httpx.Client, version: str
) -> None:
    url = f"{meta.origin}/{version}/{meta.phone_number_id}"
    answer = http.get(url, headers={"Authorization": f"Bearer {meta.token}"})
    assert answer.json()["verified_name"] == "SIGMA Analytics"
    assert answer.headers["facebook-api-version"] == version
    assert answer.headers["x-fb-trace-id"]


@pytest.mark.parametrize("token", ["", "unknown", f"{APP}|wrong"])
def test_it_refuses_unknown_tokens(meta: RunningSimulator, graph: Graph, token: str) -> None:
    status, code, _ = error(graph("GET", meta.phone_number_id, token=token))
    assert (status, code) == (401, 190)


def test_a_token_expires_on_the_virtual_clock(meta: RunningSimulator, graph: Graph) -> None:
    meta.control.change("tokens", "short", expires_in=3600)
    assert graph("GET", meta.phone_number_id, token="short").status_code == 200
    meta.control.advance(3601)
    refused = graph("GET", meta.phone_number_id, token="short")
    assert refused.json()["error"]["error_subcode"] == 463
    described = graph("GET", "debug_token", params={"input_token": "short"}).json()["data"]
    assert described["is_valid"] is False


def test_it_refuses_a_revoked_token(meta: RunningSimulator, graph: Graph) -> None:
    meta.control.change("tokens", meta.token, is_revoked=True)
    refused = graph("GET", meta.phone_number_id).json()["error"]
    assert (refused["code"], refused["error_subcode"]) == (190, 467)
    assert refused["message"].startswith("Error validating access token")


def test_it_checks_a_proof_that_is_given(meta: RunningSimulator, graph: Graph) -> None:
    good, bad = proof(meta.token), proof("another")
    number = meta.phone_number_id
    assert graph("GET", number, params={"appsecret_proof": good}).status_code == 200
    assert error(graph("GET", number, params={"appsecret_proof": bad}))[:2] == (400, 100)


def test_it_demands_a_proof_if_the_app_does(meta: RunningSimulator, graph: Graph) -> None:
    meta.control.change("apps", APP, requires_proof=True)
    _, code, message = error(graph("GET", meta.phone_number_id))
    assert (code, message) == (
        100,
        "(#100) API calls from the server require an appsecret_proof argument",
    )


def test_it_refuses_what_the_token_has_no_permission_for(
    meta: RunningSimulator, graph: Graph
) -> None:
    meta.control.change("tokens", meta.token, scopes=["whatsapp_business_messaging"])
    assert error(graph("GET", f"{meta.waba_id}/message_templates"))[:2] == (403, 200)
    meta.control.change("tokens", meta.token, scopes=["whatsapp_business_management"])
    assert error(graph("POST", f"{meta.phone_number_id}/messages", json={}))[:2] == (403, 10)


@pytest.mark.parametrize("path", ["999", "999/messages", "106540352242922/nothing"])
def test_an_unknown_object_is_a_400_with_subcode_33(graph: Graph, path: str) -> None:
    answer = graph("GET", path)
    found = answer.json()["error"]
    assert (answer.status_code, found["code"], found["error_subcode"]) == (400, 100, 33)


def test_what_a_token_was_not_granted_does_not_exist_for_it(
    meta: RunningSimulator, graph: Graph
) -> None:
    meta.control.change("tokens", "stranger", accounts=["1"])
    assert graph("GET", meta.waba_id, token="stranger").json()["error"]["error_subcode"] == 33


def test_it_describes_a_token(meta: RunningSimulator, graph: Graph) -> None:
    for bearer in (meta.token, f"{APP}|{APP_SECRET}"):
        asked = graph("GET", "debug_token", params={"input_token": meta.token}, token=bearer)
        data = asked.json()["data"]
        assert (data["app_id"], data["is_valid"], data["expires_at"]) == (APP, True, 0)
        assert data["granular_scopes"][0]["target_ids"] == [meta.waba_id]
    unknown = graph("GET", "debug_token", params={"input_token": "x"}).json()["data"]
    assert (unknown["is_valid"], unknown["error"]["code"]) == (False, 190)


def test_what_is_refused_at_the_door_is_in_the_journal(
    meta: RunningSimulator, graph: Graph
) -> None:
    path = f"{meta.phone_number_id}/messages"
    graph("POST", path, token="unknown", json={})
    graph("POST", path, content=b"{")
    assert [entry["code"] for entry in meta.control.journal()] == [190, 100]
