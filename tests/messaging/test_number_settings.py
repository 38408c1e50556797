"""A tenant's number through the doors: GraphQL and the admin."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client

from messaging import number_sync, numbers
from messaging.delivery import pauses
from messaging.delivery.pauses import Pause
from messaging.models import NumberState, SendingPause
from tests.conftest import Cast
from tests.graphql.conftest import Answer, key_with
from workspaces.access import Scope
from workspaces.identity import digester
from workspaces.models import Membership, Role, TokenCheck

pytestmark = pytest.mark.django_db

READ = """
query ($id: ID!) { businessNumber(workspaceId: $id) {
  workspaceId number status qualityRating messagingLimit limit messagesPerSecond canSend problem
  pauses { code reason until isForTenant } token { isValid problem } testRecipients syncedAt
} }
"""
SYNC = """
mutation ($id: ID!) { syncBusinessNumber(input: {workspaceId: $id}) {
  success businessNumber { status } errors { code field message }
} }
"""
RESUME = """
mutation ($id: ID!) { resumeSending(input: {workspaceId: $id}) {
  success businessNumber { canSend pauses { code } } errors { code field message }
} }
"""
TEST = """
mutation ($id: ID!, $phones: [String!]!) {
  setTestRecipients(input: {workspaceId: $id, phones: $phones}) {
    success businessNumber { testRecipients } errors { code field message }
  }
}
"""


def ask(caller: Cast | str, query: str, of: Cast, **more: object) -> Answer:
    key = caller if isinstance(caller, str) else caller.api_key
    body = {"query": query, "variables": {"id": str(of.workspace.id), **more}}
    headers = {"Authorization": f"Bearer {key}"}
    response = Client().post("/graphql", body, "application/json", headers=headers)
    return Answer(response.status_code, response.json())


@pytest.fixture
def number(acme: Cast, now: datetime) -> NumberState:
    """Acme's number, as Meta described it."""
    place = {"tenant_id": acme.tenant.id, "workspace_id": acme.workspace.id}
    return NumberState.objects.create(
        **place,
        sealed_number=numbers.seal("27820000096", **place),
        status="CONNECTED",
        quality_rating="GREEN",
        messaging_limit="TIER_2K",
        synced_at=now,
        sync_due_at=now,
    )


def hold(cast: Cast, now: datetime, code: int = 131048, *, whole: bool = False) -> None:
    workspace = None if whole else cast.workspace.id
    pauses.pause([Pause(cast.tenant.id, workspace, code, "Too many reports.")], now=now)


def test_it_shows_a_number_masked(acme: Cast, globex: Cast, number: NumberState) -> None:
    found = ask(acme, READ, acme).data["businessNumber"]

    assert found.pop("syncedAt")
    assert found == {
        "workspaceId": str(acme.workspace.id),
        "number": "+27XXXXXXXXX",
        "status": "CONNECTED",
        "qualityRating": "GREEN",
        "messagingLimit": "TIER_2K",
        "limit": 2000,
        "messagesPerSecond": 80,
        "canSend": True,
        "problem": None,
        "pauses": [],
        "token": None,
        "testRecipients": 0,
    }
    assert ask(globex, READ, acme).data["businessNumber"] is None


def test_it_shows_a_number_that_nobody_asked_about(acme: Cast) -> None:
    found = ask(acme, READ, acme).data["businessNumber"]

    assert (found["number"], found["status"], found["canSend"]) == (None, None, True)


def test_it_shows_what_holds_its_messages_back(
    acme: Cast, globex: Cast, number: NumberState, now: datetime
) -> None:
    secret = acme.tenant.secrets.first()
    TokenCheck.objects.create(
        secret=secret, tenant_id=acme.tenant.id, checked_at=now, is_valid=False, problem="Expired."
    )
    hold(acme, now)
    hold(acme, now, 190, whole=True)
    hold(globex, now)

    found = ask(acme, READ, acme).data["businessNumber"]

    assert found["canSend"] is False
    assert [(p["code"], p["isForTenant"]) for p in found["pauses"]] == [
        (131048, False),
        (190, True),
    ]
    assert found["token"] == {"isValid": False, "problem": "Expired."}


def test_it_lets_meta_be_asked_again(acme: Cast, number: NumberState, monkeypatch) -> None:
    monkeypatch.setattr("lib.wakeups.WakeUp.notify", lambda self: True)

    assert ask(acme, SYNC, acme).data["syncBusinessNumber"]["success"]
    assert NumberState.objects.get().sync_due_at is None


def test_it_resumes_sending(acme: Cast, globex: Cast, number: NumberState, now: datetime) -> None:
    for cast in (acme, globex):
        hold(cast, now)

    payload = ask(acme, RESUME, acme).data["resumeSending"]

    assert payload["businessNumber"] == {"canSend": True, "pauses": []}
    left = SendingPause.objects.filter(lifted_at=None)
    assert list(left.values_list("tenant_id", flat=True)) == [globex.tenant.id]
    assert SendingPause.objects.exclude(lifted_at=None).get().lifted_by.startswith("API key ")


@pytest.mark.parametrize("is_known", [True, False])
def test_it_keeps_digests_of_whom_a_test_may_reach(acme: Cast, now: datetime, is_known) -> None:
    if is_known:
        NumberState.objects.create(
            workspace=acme.workspace, tenant_id=acme.tenant.id, status="CONNECTED"
        )
    phones = ["+27 82 000 0001", "+27820000001", "+27820000002"]

    payload = ask(acme, TEST, acme, phones=phones).data["setTestRecipients"]

    assert payload["businessNumber"] == {"testRecipients": 2}
    state = NumberState.objects.get()
    assert digester(acme.tenant.id).phone("27820000001") in state.test_recipients
    assert state.status == ("CONNECTED" if is_known else "")


@pytest.mark.parametrize(
    ("phones", "code"),
    [
        (["+2782000000" + str(n) for n in range(6)], "TOO_MANY"),
        (["+99"], "INVALID_PHONE"),
        (["0820000001"], "INVALID_PHONE"),
    ],
)
def test_it_refuses_a_list_that_will_not_do(acme: Cast, phones: list[str], code: str) -> None:
    payload = ask(acme, TEST, acme, phones=phones).data["setTestRecipients"]

    assert payload["success"] is False
    assert [(error["code"], error["field"]) for error in payload["errors"]] == [(code, "phones")]
    said = payload["errors"][0]["message"]
    assert not [phone for phone in phones if phone.removeprefix("+") in said]


@pytest.mark.parametrize("query", [SYNC, RESUME, TEST])
def test_it_is_closed_to_others(acme: Cast, globex: Cast, number: NumberState, query: str) -> None:
    payloads = ask(globex, query, acme, phones=[]).data.values()
    assert [p["errors"][0]["code"] for p in payloads] == ["WORKSPACE_NOT_FOUND"]

    reader = key_with(acme.tenant, Scope.WORKSPACES_READ)
    assert ask(reader, query, acme, phones=[]).codes == ["FORBIDDEN"]


def browser(cast: Cast, role: Role) -> Client:
    user = User.objects.create_user(f"{role}-{cast.tenant.slug}", is_staff=True)
    Membership.objects.create(tenant=cast.tenant, user=user, role=role)
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize(
    ("role", "left"), [(Role.MANAGER, ["globex"]), (Role.VIEWER, ["acme", "globex"])]
)
def test_managers_resume_sending_in_the_admin(
    acme: Cast, globex: Cast, now: datetime, role: Role, left: list[str]
) -> None:
    for cast in (acme, globex):
        hold(cast, now)
    pks = list(SendingPause.objects.values_list("pk", flat=True))
    data = {"action": "resume", "_selected_action": pks}

    browser(acme, role).post("/admin/messaging/sendingpause/", data)

    slugs = {acme.tenant.id: "acme", globex.tenant.id: "globex"}
    open_ones = SendingPause.objects.filter(lifted_at=None).order_by("tenant_id")
    assert sorted(slugs[pause.tenant_id] for pause in open_ones) == left


@pytest.mark.parametrize("page", ["numberstate", "sendingpause"])
def test_the_admin_shows_a_tenants_own(
    acme: Cast, globex: Cast, number: NumberState, now: datetime, page: str
) -> None:
    hold(acme, now)
    rows = {"numberstate": number, "sendingpause": SendingPause.objects.get()}
    change = f"/admin/messaging/{page}/{rows[page].pk}/change/"

    viewer = browser(acme, Role.VIEWER)
    shown = viewer.get(change)

    assert shown.status_code == 200
    assert b"27820000096" not in shown.content
    assert browser(globex, Role.VIEWER).get(change).status_code == 302
    for query in ("", "?state=open", "?state=over")[: 1 if page == "numberstate" else 3]:
        assert viewer.get(f"/admin/messaging/{page}/{query}").status_code == 200


def test_the_admin_lets_meta_be_asked_again(acme: Cast, globex: Cast, number, monkeypatch) -> None:
    wanted: list[object] = []
    monkeypatch.setattr(number_sync, "want", lambda ids: wanted.extend(ids))
    data = {"action": "ask_again", "_selected_action": [number.pk]}

    browser(globex, Role.MANAGER).post("/admin/messaging/numberstate/", data)
    browser(acme, Role.MANAGER).post("/admin/messaging/numberstate/", data)

    assert wanted == [number.pk]
