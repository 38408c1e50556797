"""Accounts and apps: who subscribes, what an address must answer first, and whose uploads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from connectors.simulator.meta.seeds import business
from connectors.simulator.meta.server import RunningSimulator
from connectors.simulator.meta.world import Subscription, World, joined
from tests.simulator.meta.conftest import VERIFY_TOKEN, Receiver, error

Graph = Callable[..., httpx.Response]
Ask = Callable[..., httpx.Response]
ACME, GLOBEX = "01", "02"
NOT_THE_CHALLENGE = "The URL couldn't be validated. Response does not match challenge."


def two() -> World:
    """Return the world of two businesses, whose apps see nothing of one another."""
    worlds = [
        business(app_secret=n, access_token=f"token-{n}", waba_id=f"9{n}", phone_number_id=f"1{n}")
        for n in (ACME, GLOBEX)
    ]
    return joined(*worlds)


@pytest.fixture(scope="module")
def both() -> Iterator[RunningSimulator]:
    """A simulator of two businesses."""
    with RunningSimulator(two()) as running:
        yield running


@pytest.fixture
def ask(both: RunningSimulator, http: httpx.Client) -> Ask:
    """Ask as one of the two businesses."""
    both.control.reset()

    def do(who: str, method: str, path: str, **more: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer token-{who}"}
        return http.request(method, f"{both.url}/{path}", headers=headers, **more)  # type: ignore[arg-type]

    return do


def app_of(both: RunningSimulator, who: str) -> str:
    """Return the id of a business's app."""
    return both.state.registry.tokens[f"token-{who}"].app_id


def subscribed(ask: Ask, who: str) -> list[str]:
    """Return the apps that get the callbacks of a business's account."""
    entries = ask(who, "GET", f"9{who}/subscribed_apps").json()["data"]
    return [entry["whatsapp_business_api_data"]["id"] for entry in entries]


def test_an_app_unsubscribes_itself_and_nobody_else(both: RunningSimulator, ask: Ask) -> None:
    partner = Subscription(app_id=app_of(both, GLOBEX))
    both.state.registry.accounts[f"9{ACME}"].subscriptions.append(partner)
    assert ask(ACME, "DELETE", f"9{ACME}/subscribed_apps").json() == {"success": True}

    assert subscribed(ask, ACME) == [partner.app_id]
    assert subscribed(ask, GLOBEX) == [app_of(both, GLOBEX)]
    assert error(ask(ACME, "DELETE", f"9{GLOBEX}/subscribed_apps"))[:2] == (400, 100)
    assert subscribed(ask, GLOBEX) == [app_of(both, GLOBEX)]


def test_an_app_that_subscribes_twice_is_subscribed_once(both: RunningSimulator, ask: Ask) -> None:
    ask(ACME, "DELETE", f"9{ACME}/subscribed_apps")
    for _ in range(2):
        assert ask(ACME, "POST", f"9{ACME}/subscribed_apps").is_success

    assert subscribed(ask, ACME) == [app_of(both, ACME)]


def test_an_app_knows_itself_alone(both: RunningSimulator, ask: Ask) -> None:
    own, other = app_of(both, ACME), app_of(both, GLOBEX)

    assert ask(ACME, "GET", own).json()["id"] == own
    assert error(ask(ACME, "GET", other))[:2] == (400, 100)
    assert error(ask(ACME, "GET", f"{other}/subscriptions"))[:2] == (400, 100)


def test_a_token_is_described_to_its_own_app_only(ask: Ask) -> None:
    asked = {"input_token": f"token-{GLOBEX}"}

    assert error(ask(ACME, "GET", "debug_token", params=asked))[:2] == (400, 100)
    described = ask(GLOBEX, "GET", "debug_token", params=asked).json()["data"]
    assert described["granular_scopes"][0]["target_ids"] == [f"9{GLOBEX}"]
    refused = error(ask(ACME, "GET", "debug_token"))
    assert refused == (400, 100, "(#100) The parameter input_token is required")


def test_a_file_of_another_business_does_not_exist(ask: Ask) -> None:
    form = {"messaging_product": "whatsapp", "type": "image/png"}
    files = {"file": ("a.png", b"png", "image/png")}
    made = ask(ACME, "POST", f"1{ACME}/media", data=form, files=files).json()["id"]

    assert ask(ACME, "GET", made).json()["file_size"] == 3
    assert ask(GLOBEX, "GET", made).json()["error"]["error_subcode"] == 33
    assert ask(GLOBEX, "DELETE", made).json()["error"]["error_subcode"] == 33
    assert ask(ACME, "GET", made).is_success
    wrong = ask(ACME, "GET", made, params={"phone_number_id": f"1{GLOBEX}"})
    assert wrong.json()["error"]["error_subcode"] == 33


@pytest.mark.parametrize(
    ("form", "details"),
    [
        ({"type": "image/png"}, "The parameter messaging_product is required."),
        ({"messaging_product": "sms"}, "The parameter messaging_product is required."),
    ],
)
def test_an_upload_says_what_it_is_for(ask: Ask, form: dict[str, str], details: str) -> None:
    files = {"file": ("a.png", b"png", "image/png")}
    refused = ask(ACME, "POST", f"1{ACME}/media", data=form, files=files)

    assert error(refused) == (400, 100, details)


def test_an_upload_is_a_form_with_a_file(ask: Ask) -> None:
    path, form = f"1{ACME}/media", {"messaging_product": "whatsapp"}
    without = ask(ACME, "POST", path, data=form, files={"other": ("a", b"x")})

    assert error(without)[1:] == (100, "The parameter file is required.")
    assert error(ask(ACME, "POST", path, json=form))[1:] == (100, "A multipart form is required.")


@pytest.fixture
def app(meta: RunningSimulator) -> str:
    """The id of the one app."""
    return meta.world.apps[0].id


def test_an_app_is_subscribed_once_its_address_answered(
    meta: RunningSimulator, graph: Graph, receiver: Receiver, app: str
) -> None:
    path = f"{app}/subscriptions"
    assert graph("GET", path).json() == {"data": []}

    wanted = {"object": "whatsapp_business_account", "callback_url": receiver.url}
    assert graph("POST", path, json={**wanted, "verify_token": VERIFY_TOKEN}).is_success

    (entry,) = graph("GET", path).json()["data"]
    assert (entry["callback_url"], entry["active"]) == (receiver.url, True)
    assert len(receiver.challenges) == 1
    assert meta.state.registry.apps[app].verify_token == VERIFY_TOKEN


def test_an_address_that_fails_the_challenge_changes_nothing(
    graph: Graph, receiver: Receiver, app: str
) -> None:
    wanted = {"object": "whatsapp_business_account", "callback_url": receiver.url}
    refused = graph("POST", f"{app}/subscriptions", json={**wanted, "verify_token": "another"})

    found = refused.json()["error"]
    assert (refused.status_code, found["code"], found["error_subcode"]) == (400, 100, 2200)
    assert (
        found["error_data"]["details"] == f"{NOT_THE_CHALLENGE} It answered 403, not with the "
        "challenge."
    )
    assert graph("GET", f"{app}/subscriptions").json() == {"data": []}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/hook", "No answer (ConnectError)."),
        ("http://192.0.2.1/hook", ""),
    ],
)
def test_it_asks_no_address_that_is_not_on_this_machine(
    graph: Graph, app: str, url: str, reason: str
) -> None:
    wanted = {"object": "whatsapp_business_account", "callback_url": url}
    refused = error(graph("POST", f"{app}/subscriptions", json=wanted))

    assert refused[:2] == (400, 100)
    assert refused[2].startswith(NOT_THE_CHALLENGE)
    assert reason in refused[2]


def test_an_app_subscribes_to_accounts_only(graph: Graph, receiver: Receiver, app: str) -> None:
    refused = graph("POST", f"{app}/subscriptions", json={"object": "page"})

    assert error(refused)[:2] == (400, 100)
    assert receiver.challenges == []


def test_an_account_can_have_an_address_of_its_own_and_lose_it(
    meta: RunningSimulator, graph: Graph, receiver: Receiver
) -> None:
    path = f"{meta.waba_id}/subscribed_apps"
    own = {"override_callback_uri": receiver.url, "verify_token": VERIFY_TOKEN}
    assert graph("POST", path, json=own).is_success
    (entry,) = graph("GET", path).json()["data"]
    assert entry["override_callback_uri"] == receiver.url
    asked = {"fields": "webhook_configuration"}
    found = graph("GET", meta.phone_number_id, params=asked).json()["webhook_configuration"]
    assert found == {"whatsapp_business_account": receiver.url}

    assert graph("POST", path).is_success
    (entry,) = graph("GET", path).json()["data"]
    assert "override_callback_uri" not in entry


@pytest.mark.parametrize("place", ["query", "body", "oauth"])
def test_a_token_may_stand_in_other_places(
    meta: RunningSimulator, http: httpx.Client, place: str
) -> None:
    url, given = f"{meta.url}/{meta.phone_number_id}/deregister", {"access_token": meta.token}
    answer = {
        "query": lambda: http.post(url, params=given),
        "body": lambda: http.post(url, json=given),
        "oauth": lambda: http.post(url, headers={"Authorization": f"OAuth {meta.token}"}),
    }[place]()

    assert answer.is_success, answer.text


def test_a_basic_authorization_is_none(meta: RunningSimulator, http: httpx.Client) -> None:
    headers = {"Authorization": f"Basic {meta.token}"}
    refused = error(http.get(f"{meta.url}/{meta.phone_number_id}", headers=headers))

    assert refused[:2] == (401, 190)
    assert "An access token is required" in refused[2]


def test_an_app_that_was_deleted_takes_its_tokens_along(
    meta: RunningSimulator, graph: Graph, app: str
) -> None:
    del meta.state.registry.apps[app]

    refused = error(graph("GET", meta.phone_number_id))

    assert refused[:2] == (401, 190)
    assert "Application has been deleted" in refused[2]


def test_a_page_begins_where_the_cursor_says_and_no_other_text_is_one(
    meta: RunningSimulator, graph: Graph
) -> None:
    path = f"{meta.waba_id}/message_templates"
    first = graph("GET", path, params={"limit": 11}).json()
    after = first["paging"]["cursors"]["after"]
    last = graph("GET", path, params={"limit": 11, "after": after}).json()

    assert (len(first["data"]), len(last["data"])) == (11, 1)
    assert "next" in first["paging"]
    assert "next" not in last["paging"]
    exact = graph("GET", path, params={"limit": 12}).json()
    assert "next" not in exact["paging"]
    assert len(graph("GET", path, params={"limit": 0}).json()["data"]) == 1
    for wrong in ({"after": "!"}, {"after": "eA"}, {"limit": "many"}, {"limit": -1}):
        assert error(graph("GET", path, params=wrong))[:2] == (400, 100)
