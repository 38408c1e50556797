from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from connectors.simulator.meta.server import RunningSimulator
from tests.simulator.meta.conftest import error

Graph = Callable[..., httpx.Response]
Wait = Callable[..., None]
BODY = {"type": "BODY", "text": "Hello {{1}}, how are you today?"}
DRAFT: dict[str, Any] = {
    "name": "check_in",
    "language": "en",
    "category": "UTILITY",
    "components": [BODY],
}


@pytest.fixture
def path(meta: RunningSimulator) -> str:
    return f"{meta.waba_id}/message_templates"


def test_it_lists_page_by_page(
    meta: RunningSimulator, graph: Graph, http: httpx.Client, path: str
) -> None:
    headers = {"Authorization": f"Bearer {meta.token}"}
    page = graph("GET", path, params={"limit": 5, "fields": "name,status"}).json()
    names = [found["name"] for found in page["data"]]
    while "next" in page["paging"]:
        page = http.get(page["paging"]["next"], headers=headers).json()
        names += [found["name"] for found in page["data"]]
    assert len(names) == len(meta.world.accounts[0].templates) == 12
    assert set(page["data"][0]) == {"id", "name", "status"}


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"name": "welcome_message"}, ["welcome_message", "welcome_message"]),
        ({"name": "welcome_message", "language": "de"}, ["welcome_message"]),
        ({"status": "PAUSED"}, ["paused_offer"]),
        ({"status": '["PAUSED","REJECTED"]'}, ["paused_offer", "rejected_offer"]),
        ({"category": "AUTHENTICATION"}, ["login_code"]),
        ({"quality_score": "RED"}, ["paused_offer"]),
        ({"name_or_content": "spring is here"}, ["spring_offer"]),
    ],
)
def test_it_filters(graph: Graph, path: str, filters: dict[str, str], names: list[str]) -> None:
    page = graph("GET", path, params={**filters, "summary": "total_count"}).json()
    assert [found["name"] for found in page["data"]] == names
    assert page["summary"]["total_count"] == len(names)


def test_an_unknown_field_is_an_error(graph: Graph, path: str) -> None:
    assert error(graph("GET", path, params={"fields": "colour"})) == (
        400,
        100,
        "(#100) Tried accessing nonexistent field (colour)",
    )


def test_a_new_template_is_reviewed(
    meta: RunningSimulator, graph: Graph, path: str, wait_for: Wait
) -> None:
    made = graph("POST", path, json=DRAFT).json()
    assert (made["status"], made["category"]) == ("PENDING", "UTILITY")
    wait_for(lambda: graph("GET", made["id"]).json()["status"] == "APPROVED")
    wait_for(lambda: len(meta.control.deliveries()) == 1)
    (change,) = json.loads(meta.control.deliveries()[0]["body"])["entry"][0]["changes"]
    assert change["field"] == "message_template_status_update"
    assert (change["value"]["event"], change["value"]["message_template_name"]) == (
        "APPROVED",
        "check_in",
    )


def test_a_name_can_ask_for_rejection(graph: Graph, path: str, wait_for: Wait) -> None:
    made = graph("POST", path, json={**DRAFT, "name": "reject_me"}).json()
    wait_for(lambda: graph("GET", made["id"]).json()["status"] == "REJECTED")


@pytest.mark.parametrize(
    ("more", "subcode"),
    [
        ({"name": "Check In"}, None),
        ({"category": "SPAM"}, None),
        ({"language": ""}, None),
        ({"components": []}, 2388043),
        ({"components": [{"type": "BODY", "text": "{{1}} is here"}]}, 2388299),
        ({"components": [{"type": "BODY", "text": "A {{1}} {{2}} b"}]}, 2388293),
        ({"name": "welcome_message"}, 2388024),
    ],
)
def test_it_refuses_bad_drafts(
    graph: Graph, path: str, more: dict[str, Any], subcode: int | None
) -> None:
    found = graph("POST", path, json={**DRAFT, **more}).json()["error"]
    assert (found["code"], found.get("error_subcode")) == (100, subcode)


def test_an_approved_template_is_edited_once_a_day(
    meta: RunningSimulator, graph: Graph, wait_for: Wait
) -> None:
    template_id = meta.world.accounts[0].templates[0].id
    assert graph("POST", template_id, json={"components": [BODY]}).json() == {"success": True}
    wait_for(lambda: graph("GET", template_id).json()["status"] == "APPROVED")
    assert graph("GET", template_id).json()["components"] == [BODY]
    assert error(graph("POST", template_id, json={"components": [BODY]}))[1] == 100
    assert error(graph("POST", template_id, json={"category": "UTILITY"}))[1] == 100
    meta.control.advance(24 * 3600)
    assert graph("POST", template_id, json={"components": [BODY]}).is_success


def test_a_deleted_name_is_blocked_for_30_days(
    meta: RunningSimulator, graph: Graph, path: str
) -> None:
    assert graph("DELETE", path, params={"name": "welcome_message"}).is_success
    assert graph("GET", path, params={"name": "welcome_message"}).json() == {"data": []}
    again = {**DRAFT, "name": "welcome_message"}
    assert graph("POST", path, json=again).json()["error"]["error_subcode"] == 2388023
    meta.control.advance(30 * 24 * 3600)
    assert graph("POST", path, json=again).is_success


def test_one_language_is_deleted_by_its_id(meta: RunningSimulator, graph: Graph, path: str) -> None:
    german = meta.world.accounts[0].templates[1]
    chosen = {"name": german.name, "hsm_id": german.id}
    assert graph("DELETE", path, params=chosen).is_success
    assert graph("GET", german.id).json()["error"]["error_subcode"] == 33
    assert len(graph("GET", path, params={"name": german.name}).json()["data"]) == 1
    assert error(graph("DELETE", path, params=chosen))[1] == 100


def test_others_change_templates_too(meta: RunningSimulator, wait_for: Wait) -> None:
    changes = {"status": "PAUSED", "quality": "RED", "category": "UTILITY"}
    meta.control.change("templates", "login_code", **changes)
    wait_for(lambda: meta.control.state()["callbacks"] >= 1)
    text = "".join(delivery["body"] for delivery in meta.control.deliveries())
    for field in ("status_update", "quality_update"):
        assert f"message_template_{field}" in text
    assert "template_category_update" in text


def test_a_paused_template_is_unpaused(meta: RunningSimulator, graph: Graph) -> None:
    (paused,) = (t for t in meta.world.accounts[0].templates if t.status == "PAUSED")
    assert graph("POST", f"{paused.id}/unpause").json() == {"success": True}
    assert graph("GET", paused.id).json()["status"] == "APPROVED"
