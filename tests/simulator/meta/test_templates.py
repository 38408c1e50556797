from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from connectors.simulator.meta import templates
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
        ({"name": "x" * 513}, None),
        ({"parameter_format": "LOOSE"}, None),
        ({"components": "Hello"}, None),
        ({"components": [BODY, "footer"]}, None),
        ({"components": [BODY, {"type": "SMELL"}]}, None),
        ({"components": [BODY, BODY]}, None),
        ({"components": [{"type": "BODY"}]}, 2388043),
        ({"components": [{"type": "BODY", "text": "x" * 1025}]}, 2388040),
        ({"components": [{"type": "BODY", "text": "This is {{1}}"}]}, 2388299),
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


@pytest.mark.parametrize(
    "more",
    [
        {"name": "x" * 512},
        {"category": "utility", "parameter_format": "named"},
        {"components": [{"type": "BODY", "text": "x" * 1024}]},
        {"components": [{"type": "BODY", "text": "Hello dear {{1}}, hello!"}]},
        # Of authentication templates Meta writes the text itself.
        {"category": "AUTHENTICATION", "components": [{"type": "BODY"}]},
    ],
)
def test_it_takes_drafts_just_within_the_limits(
    graph: Graph, path: str, more: dict[str, Any]
) -> None:
    made = graph("POST", path, json={**DRAFT, **more})
    assert made.is_success, made.text


def test_an_account_has_so_many_templates(
    graph: Graph, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "MOST_TEMPLATES", 13)
    assert graph("POST", path, json=DRAFT).is_success
    refused = graph("POST", path, json={**DRAFT, "name": "one_more"}).json()["error"]
    assert (refused["code"], refused["error_subcode"]) == (100, 2388019)
    assert graph("GET", path, params={"name": "one_more"}).json() == {"data": []}


@pytest.mark.parametrize("status", ["PENDING", "DISABLED"])
def test_some_templates_are_not_edited(meta: RunningSimulator, graph: Graph, status: str) -> None:
    template = meta.state.registry.world.accounts[0].templates[0]
    template.status = status
    refused = error(graph("POST", template.id, json={"components": [BODY]}))
    assert refused[1:] == (100, f"A template that is {status} cannot be edited.")


def test_an_approved_template_is_edited_ten_times_in_thirty_days(
    meta: RunningSimulator, graph: Graph
) -> None:
    template = meta.state.registry.world.accounts[0].templates[0]

    def edit() -> httpx.Response:
        template.status = "APPROVED"
        answer = graph("POST", template.id, json={"components": [BODY]})
        meta.control.advance(24 * 3600)
        return answer

    assert all(edit().is_success for _ in range(10))
    assert edit().json()["error"]["error_subcode"] == 2388028
    meta.control.advance(19 * 24 * 3600)
    assert edit().is_success


def test_a_rejected_template_may_change_its_category(
    meta: RunningSimulator, graph: Graph, wait_for: Wait
) -> None:
    (found,) = (t for t in meta.world.accounts[0].templates if t.status == "REJECTED")
    assert graph("POST", found.id, json={"category": "UTILITY"}).is_success
    after = graph("GET", found.id, params={"fields": "category,components"}).json()
    assert (after["category"], after["components"]) == ("UTILITY", found.components)


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


@pytest.mark.parametrize(
    "chosen", [{}, {"name": "nothing"}, {"hsm_ids": '["1","2"]'}, {"hsm_ids": "["}]
)
def test_what_is_not_there_is_not_deleted(
    meta: RunningSimulator, graph: Graph, path: str, chosen: dict[str, str]
) -> None:
    assert error(graph("DELETE", path, params=chosen))[:2] == (400, 100)
    assert len(graph("GET", path).json()["data"]) == 12


def test_several_are_deleted_at_once_or_none(
    meta: RunningSimulator, graph: Graph, path: str
) -> None:
    first, second, third, *_ = (found.id for found in meta.world.accounts[0].templates)
    assert error(graph("DELETE", path, params={"hsm_ids": f"{first},unknown"}))[1] == 100
    assert graph("DELETE", path, params={"hsm_ids": f"{first},{second}"}).is_success
    left = [found["id"] for found in graph("GET", path).json()["data"]]
    assert (len(left), left[0]) == (10, third)


def test_a_disabled_template_stays(meta: RunningSimulator, graph: Graph, path: str) -> None:
    meta.control.change("templates", "login_code", status="DISABLED")
    refused = error(graph("DELETE", path, params={"name": "login_code"}))
    assert refused[1:] == (100, "A disabled template cannot be deleted.")


def test_only_the_name_of_an_approved_template_is_blocked(
    graph: Graph, path: str, meta: RunningSimulator
) -> None:
    assert graph("DELETE", path, params={"name": "rejected_offer"}).is_success
    assert graph("POST", path, json={**DRAFT, "name": "rejected_offer"}).is_success


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
    again = graph("POST", f"{paused.id}/unpause").json()
    assert again == {"success": False, "reason": "The template is not paused."}
