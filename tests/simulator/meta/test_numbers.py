from __future__ import annotations

from collections.abc import Callable

import httpx

from connectors.simulator.meta.server import RunningSimulator
from tests.simulator.meta.conftest import Post, Receiver, error

Graph = Callable[..., httpx.Response]
FIELDS = (
    "id,display_phone_number,verified_name,status,quality_rating,throughput{level},account_mode,"
    "whatsapp_business_manager_messaging_limit,health_status,is_on_biz_app,webhook_configuration"
)


def test_an_account_lists_its_numbers(meta: RunningSimulator, graph: Graph) -> None:
    (listed,) = graph("GET", f"{meta.waba_id}/phone_numbers", params={"fields": FIELDS}).json()[
        "data"
    ]
    assert listed == graph("GET", meta.phone_number_id, params={"fields": FIELDS}).json()
    assert (listed["status"], listed["throughput"]) == ("CONNECTED", {"level": "STANDARD"})
    assert listed["whatsapp_business_manager_messaging_limit"] == "TIER_UNLIMITED"
    assert listed["health_status"]["can_send_message"] == "AVAILABLE"


def test_what_stands_in_the_way_is_in_the_health(meta: RunningSimulator, graph: Graph) -> None:
    meta.control.change("numbers", meta.phone_number_id, status="DISCONNECTED")
    asked = {"fields": "health_status"}
    health = graph("GET", meta.phone_number_id, params=asked).json()["health_status"]
    assert health["can_send_message"] == "BLOCKED"
    assert health["entities"][0]["errors"][0]["possible_solution"]


def test_a_number_is_verified_and_registered(
    meta: RunningSimulator, graph: Graph, post: Post
) -> None:
    number = meta.phone_number_id
    meta.control.change(
        "numbers", number, status="UNVERIFIED", code_verification_status="NOT_VERIFIED"
    )
    registration = {"messaging_product": "whatsapp", "pin": "123456"}
    assert error(graph("POST", f"{number}/register", json=registration))[1] == 133006
    asked = {"code_method": "SMS", "language": "en"}
    assert graph("POST", f"{number}/request_code", json=asked).is_success
    assert error(graph("POST", f"{number}/verify_code", json={"code": "000000"}))[1] == 136025
    assert graph("POST", f"{number}/verify_code", json={"code": "123-456"}).is_success
    assert error(graph("POST", f"{number}/request_code", json=asked))[1] == 136024
    wrong = {**registration, "pin": "654321"}
    assert error(graph("POST", f"{number}/register", json=wrong))[1] == 133005
    assert graph("POST", f"{number}/register", json=registration).is_success
    assert post().is_success


def test_a_number_registers_ten_times_in_three_days(meta: RunningSimulator, graph: Graph) -> None:
    path, body = f"{meta.phone_number_id}/register", {"pin": "123456"}
    assert all(graph("POST", path, json=body).is_success for _ in range(10))
    assert error(graph("POST", path, json=body))[1] == 133016
    meta.control.advance(72 * 3600)
    assert graph("POST", path, json=body).is_success


def test_a_deregistered_number_sends_nothing(
    meta: RunningSimulator, graph: Graph, post: Post
) -> None:
    assert graph("POST", f"{meta.phone_number_id}/deregister").is_success
    assert error(post())[1] == 133010


def test_a_profile_is_kept(meta: RunningSimulator, graph: Graph) -> None:
    path = f"{meta.phone_number_id}/whatsapp_business_profile"
    profile = {
        "messaging_product": "whatsapp",
        "about": "Analytics",
        "websites": ["https://a.example"],
    }
    assert graph("POST", path, json=profile).is_success
    asked = {"fields": "about,websites"}
    (found,) = graph("GET", path, params=asked).json()["data"]
    assert found == {"about": "Analytics", "websites": ["https://a.example"]}


def test_a_number_can_have_an_address_of_its_own(
    meta: RunningSimulator, graph: Graph, receiver: Receiver
) -> None:
    own = {"override_callback_uri": receiver.url, "verify_token": "simulated-verify-token"}
    assert graph("POST", meta.phone_number_id, json={"webhook_configuration": own}).is_success
    asked = {"fields": "webhook_configuration"}
    found = graph("GET", meta.phone_number_id, params=asked).json()["webhook_configuration"]
    assert found == {"phone_number": receiver.url}


def test_an_account_says_what_it_is(meta: RunningSimulator, graph: Graph) -> None:
    asked = {"fields": "name,whatsapp_business_manager_messaging_limit,owner_business_info"}
    found = graph("GET", meta.waba_id, params=asked).json()
    assert (found["id"], found["owner_business_info"]["name"]) == (meta.waba_id, "SIGMA Analytics")


def test_changes_of_a_number_are_told(
    meta: RunningSimulator, wait_for: Callable[..., None]
) -> None:
    meta.control.change("numbers", meta.phone_number_id, throughput="HIGH")
    meta.control.change("accounts", meta.waba_id, messaging_limit="TIER_250")
    wait_for(lambda: meta.control.state()["callbacks"] >= 1)
    wait_for(lambda: meta.control.state()["waiting"] == 0)
    told = "".join(delivery["body"] for delivery in meta.control.deliveries())
    assert "THROUGHPUT_UPGRADE" in told
    assert "business_capability_update" in told


def test_a_short_link_is_made_changed_listed_and_deleted(
    meta: RunningSimulator, graph: Graph
) -> None:
    edge = f"{meta.phone_number_id}/message_qrdls"
    made = graph("POST", edge, json={"prefilled_message": "Hi", "generate_qr_image": "SVG"}).json()
    assert made["deep_link_url"].endswith(made["code"])
    assert made["qr_image_url"]

    graph("POST", edge, json={"prefilled_message": "Hey", "code": made["code"]})
    graph("POST", f"{edge}/{made['code']}", params={"prefilled_message": "Hello"})

    (listed,) = graph("GET", edge).json()["data"]
    assert graph("GET", f"{edge}/{made['code']}").json()["data"] == [listed]
    assert listed["prefilled_message"] == "Hello"
    assert graph("DELETE", f"{edge}/{made['code']}").json() == {"success": True}
    assert error(graph("GET", f"{edge}/{made['code']}"))[1] == 100
    assert error(graph("POST", edge, json={"prefilled_message": "x" * 141}))[1] == 100


def test_there_are_four_ice_breakers_at_most(meta: RunningSimulator, graph: Graph) -> None:
    edge = f"{meta.phone_number_id}/conversational_automation"
    assert graph("POST", edge, json={"prompts": ["Where are you?"] * 4}).is_success
    assert error(graph("POST", edge, json={"prompts": ["Where are you?"] * 5}))[1] == 100
    asked = {"fields": "conversational_automation"}
    found = graph("GET", meta.phone_number_id, params=asked).json()["conversational_automation"]
    assert len(found["prompts"]) == 4


def test_a_number_without_a_line_of_business_says_so(meta: RunningSimulator, graph: Graph) -> None:
    path = f"{meta.phone_number_id}/whatsapp_business_profile"
    (found,) = graph("GET", path, params={"fields": "vertical"}).json()["data"]
    assert found == {"vertical": "UNDEFINED"}
