"""Linked devices over GraphQL: what is told to whom, and what may be asked of them, twice."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from connectors.linked_device.models import PairBy, SenderSession
from messaging import numbers
from messaging.models import NumberState
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with
from tests.linked_device import devices
from workspaces.access import Scope
from workspaces.models import Workspace

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

NUMBER = "27711558396"
READ = """
query Read($id: ID!) { senderSession(workspaceId: $id) {
  workspaceId workspaceName state reason remedy until wanted isPaired isRunning phone pushName
  pairing { by code qrSvg expiresAt } health { ok problems } warnings
} }
"""
LIST = "{ senderSessions { workspaceName state } }"
PAIR = """
mutation Pair($input: PairSenderInput!) { pairSender(input: $input) {
  success session { state wanted pairing { code } } errors { code field message }
} }
"""
VERB = """
mutation Verb($input: SenderInput!) { done: %sSender(input: $input) {
  success session { state wanted reason } errors { code field message }
} }
"""
VERBS = ("start", "stop", "restart")


@pytest.fixture
def device(acme: Cast, globex: Cast) -> Workspace:
    """A linked device of acme; globex has one as well."""
    devices.session_of(devices.linked(globex))
    return devices.linked(acme)


def read(gql: Gql, caller: Cast | str, workspace: Workspace) -> dict:
    return gql(caller, READ, id=str(workspace.id)).data["senderSession"]


def ask(gql: Gql, caller: Cast | str, verb: str, workspace_id: object, **more: str) -> dict:
    """Ask something of a device; return the payload."""
    document = PAIR if verb == "pair" else VERB % verb
    answer = gql(caller, document, input={"workspaceId": str(workspace_id), **more})
    return answer.data["pairSender" if verb == "pair" else "done"]


def refusal(payload: dict) -> tuple[str, str | None]:
    assert (payload["success"], payload["session"]) == (False, None)
    (error,) = payload["errors"]
    return error["code"], error["field"]


def test_it_shows_a_device_that_nobody_touched(gql: Gql, acme: Cast, device: Workspace) -> None:
    found = read(gql, acme, device)

    assert (found["workspaceId"], found["state"]) == (str(device.id), "STOPPED")
    assert (found["isPaired"], found["isRunning"], found["pairing"]) == (False, False, None)
    assert found["remedy"] == "Pair a phone."
    assert found["health"] == {"ok": False, "problems": ["No phone is linked: pair it."]}
    assert not SenderSession.objects.filter(workspace=device).exists()


def test_it_says_what_whatsapps_terms_say(gql: Gql, acme: Cast, device: Workspace) -> None:
    (sentence,) = read(gql, acme, device)["warnings"]

    assert "outside WhatsApp's terms" in sentence
    assert "banned" in sentence


def test_it_lists_the_tenants_own(gql: Gql, acme: Cast, globex: Cast, device: Workspace) -> None:
    devices.session_of(devices.linked(acme, "Another"), state="CONNECTED")

    found = gql(acme, LIST).data["senderSessions"]

    assert [(each["workspaceName"], each["state"]) for each in found] == [
        ("Another", "CONNECTED"),
        ("Device of acme", "STOPPED"),
    ]


def test_it_hides_another_tenants(gql: Gql, globex: Cast, device: Workspace) -> None:
    devices.session_of(device)

    assert read(gql, globex, device) is None


def test_it_knows_no_session_of_another_transport(gql: Gql, acme: Cast) -> None:
    assert read(gql, acme, acme.workspace) is None


def test_it_refuses_an_id_that_is_none(gql: Gql, acme: Cast) -> None:
    assert gql(acme, READ, id="x").codes == ["BAD_USER_INPUT"]


def test_it_masks_the_number(gql: Gql, acme: Cast, device: Workspace) -> None:
    sealed = numbers.seal(NUMBER, tenant_id=acme.tenant.id, workspace_id=device.id)
    NumberState.objects.create(workspace=device, tenant_id=acme.tenant.id, sealed_number=sealed)
    narrow = key_with(acme.tenant, Scope.SENDER_READ)

    assert read(gql, narrow, device)["phone"] == "+27XXXXXXXXX"
    assert read(gql, acme, device)["phone"] == f"+{NUMBER}"


@pytest.mark.parametrize("by", PairBy)
def test_it_shows_what_a_phone_needs(
    gql: Gql, acme: Cast, device: Workspace, now: datetime, by: PairBy
) -> None:
    devices.pairing(device, now, by)

    shown = read(gql, acme, device)["pairing"]

    assert shown["by"] == by
    assert shown["code"] == (devices.QR_TEXT if by == PairBy.QR else devices.CODE)
    assert (shown["qrSvg"] or "").startswith("<svg ") == (by == PairBy.QR)


def test_it_shows_no_code_to_who_may_not_pair(
    gql: Gql, acme: Cast, device: Workspace, now: datetime
) -> None:
    devices.pairing(device, now)

    found = read(gql, key_with(acme.tenant, Scope.SENDER_READ), device)

    assert (found["state"], found["pairing"]) == ("PAIRING", None)


def test_it_shows_no_code_that_is_over(
    gql: Gql, acme: Cast, device: Workspace, now: datetime
) -> None:
    late = now - timedelta(seconds=1)
    devices.show(devices.session_of(device), devices.QR_TEXT, by=PairBy.QR, until=late)

    assert read(gql, acme, device)["pairing"] is None


def test_it_asks_for_a_qr_code_once(gql: Gql, acme: Cast, device: Workspace) -> None:
    first, second = (ask(gql, acme, "pair", device.id, by="QR") for _ in range(2))

    assert first == second
    assert first["session"] == {"state": "WAITING", "wanted": "RUNNING", "pairing": None}
    assert SenderSession.objects.get(workspace=device).pair_by == "QR"


def test_it_asks_for_a_code_and_keeps_no_number_in_the_clear(
    gql: Gql, acme: Cast, device: Workspace
) -> None:
    for _ in range(2):
        payload = ask(gql, acme, "pair", device.id, by="CODE", phone=f"+{NUMBER}")
        assert payload["success"]

    session = SenderSession.objects.get(workspace=device)
    assert session.pair_by == "CODE"
    assert session.sealed_pair_number is not None
    assert NUMBER.encode() not in bytes(session.sealed_pair_number)


def test_it_shows_no_code_of_an_earlier_wish(
    gql: Gql, acme: Cast, device: Workspace, now: datetime
) -> None:
    devices.pairing(device, now)

    ask(gql, acme, "pair", device.id, by="CODE", phone=f"+{NUMBER}")

    assert read(gql, acme, device)["pairing"] is None


def test_it_leaves_a_code_that_is_asked_for_again(
    gql: Gql, acme: Cast, device: Workspace, now: datetime
) -> None:
    ask(gql, acme, "pair", device.id, by="CODE", phone=f"+{NUMBER}")
    devices.pairing(device, now, PairBy.CODE)

    for phone, shown in ((f"+{NUMBER}", devices.CODE), ("+27821234567", None)):
        ask(gql, acme, "pair", device.id, by="CODE", phone=phone)
        pairing = read(gql, acme, device)["pairing"]
        assert (pairing and pairing["code"]) == shown


@pytest.mark.parametrize("phone", ["0711558396", "", "+27"])
def test_it_pairs_international_numbers_only(
    gql: Gql, acme: Cast, device: Workspace, phone: str
) -> None:
    payload = ask(gql, acme, "pair", device.id, by="CODE", phone=phone)

    assert refusal(payload) == ("INVALID_PHONE", "phone")
    assert "0711558396" not in payload["errors"][0]["message"]


def test_it_pairs_no_second_phone(gql: Gql, acme: Cast, device: Workspace, now: datetime) -> None:
    devices.session_of(device, paired_at=now)

    assert refusal(ask(gql, acme, "pair", device.id, by="QR")) == ("ALREADY_PAIRED", None)


@pytest.mark.parametrize("verb", VERBS)
def test_it_may_be_asked_twice(
    gql: Gql, acme: Cast, device: Workspace, now: datetime, verb: str
) -> None:
    devices.session_of(device, paired_at=now)

    first, second = (ask(gql, acme, verb, device.id) for _ in range(2))

    assert first == second
    assert first["success"]
    wanted = "STOPPED" if verb == "stop" else "RUNNING"
    assert SenderSession.objects.get(workspace=device).wanted == wanted


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_it_starts_nothing_without_a_phone(
    gql: Gql, acme: Cast, device: Workspace, verb: str
) -> None:
    assert refusal(ask(gql, acme, verb, device.id)) == ("NOT_PAIRED", None)


@pytest.mark.parametrize("verb", [*VERBS, "pair"])
def test_it_asks_nothing_of_others(
    gql: Gql, acme: Cast, globex: Cast, device: Workspace, now: datetime, verb: str
) -> None:
    devices.session_of(device, paired_at=now)
    more = {"by": "QR"} if verb == "pair" else {}

    foreign, missing = (ask(gql, globex, verb, key, **more) for key in (device.id, uuid4()))

    assert foreign == missing
    assert refusal(foreign) == ("NOT_FOUND", "workspaceId")
    assert SenderSession.objects.get(workspace=device).wanted == "STOPPED"


@pytest.mark.parametrize("verb", [*VERBS, "pair"])
def test_it_asks_nothing_of_another_transport(gql: Gql, acme: Cast, verb: str) -> None:
    more = {"by": "QR"} if verb == "pair" else {}

    payload = ask(gql, acme, verb, acme.workspace.id, **more)

    assert refusal(payload) == ("NOT_A_LINKED_DEVICE", "workspaceId")


def test_it_needs_permission(gql: Gql, acme: Cast, device: Workspace) -> None:
    stranger = key_with(acme.tenant, Scope.WORKSPACES_WRITE, Scope.MESSAGES_SEND)
    viewer = key_with(acme.tenant, Scope.SENDER_READ)
    wish = {"workspaceId": str(device.id)}

    assert gql(stranger, LIST).codes == ["FORBIDDEN"]
    assert gql(stranger, READ, id=str(device.id)).codes == ["FORBIDDEN"]
    for verb in VERBS:
        assert gql(viewer, VERB % verb, input=wish).codes == ["FORBIDDEN"]
    assert gql(viewer, PAIR, input={**wish, "by": "QR"}).codes == ["FORBIDDEN"]
    assert not SenderSession.objects.filter(workspace=device).exists()


def test_it_is_said_where_sending_looks(gql: Gql, acme: Cast, device: Workspace) -> None:
    ask(gql, acme, "pair", device.id, by="QR")

    assert NumberState.objects.get(workspace=device).status == "WAITING"
