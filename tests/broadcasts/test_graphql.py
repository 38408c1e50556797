"""Broadcasts by GraphQL: from the draft to the end, refusals as data, tenants apart."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from messaging.models import Broadcast
from tests.broadcasts.conftest import deliver_all, draft, people, phone, start, template, tend
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with
from workspaces.access import Scope

__all__ = ["gql"]

FIELDS = "success broadcast { id state } errors { code field message }"
CREATE = (
    f"mutation($input: CreateBroadcastInput!) {{ createBroadcast(input: $input) {{ {FIELDS} }} }}"
)
REPORT = (
    "report { added total duplicateCount duplicates { position first } "
    "problemCount problems { position code message } }"
)
ADD = f"""mutation($input: AddBroadcastRecipientsInput!) {{
    addBroadcastRecipients(input: $input) {{ {FIELDS} {REPORT} }} }}"""
READ = """query($id: ID!) { broadcast(id: $id) {
    name state reason templateName language etaSeconds refusedRows { position code }
    counts { total pending queued accepted sent delivered read failed unknown refused cancelled }
} }"""
PAGE = """query($after: String) { broadcasts(first: 2, after: $after) {
    nodes { name } pageInfo { hasNextPage endCursor } } }"""


def change(gql: Gql, caller: Cast | str, verb: str, broadcast_id: Any, **more: Any) -> dict:
    """Use a verb that takes the broadcast's id."""
    kind = "StartBroadcastInput" if verb == "start" else "BroadcastInput"
    document = f"mutation($input: {kind}!) {{ {verb}Broadcast(input: $input) {{ {FIELDS} }} }}"
    variables = {"id": str(broadcast_id), **more}
    return gql(caller, document, input=variables).data[f"{verb}Broadcast"]


def create(gql: Gql, cast: Cast, **more: Any) -> dict:
    given = {"workspaceId": str(cast.workspace.id), "name": "Spring", **more}
    given = {"templateName": "welcome_message", **given}
    return gql(cast, CREATE, input=given).data["createBroadcast"]


def test_it_goes_all_the_way(acme: Cast, gql: Gql, now: datetime) -> None:
    template(acme)
    made = create(gql, acme, templateParameters={"params": ["friend"]})
    broadcast_id = made["broadcast"]["id"]
    given = [{"phone": phone(1)}, {"phone": phone(2), "templateParameters": {"params": ["Ann"]}}]

    added = gql(acme, ADD, input={"id": broadcast_id, "recipients": given})
    assert added.data["addBroadcastRecipients"]["report"]["total"] == 2
    assert change(gql, acme, "start", broadcast_id)["broadcast"]["state"] == "CHECKING"
    broadcast = tend(Broadcast.objects.get(), now)
    shown = gql(acme, READ, id=broadcast_id).data["broadcast"]
    assert (shown["state"], shown["counts"]["queued"], shown["etaSeconds"]) == ("RUNNING", 2, 1)

    deliver_all(broadcast, "read")
    tend(broadcast, now)
    shown = gql(acme, READ, id=broadcast_id).data["broadcast"]
    assert (shown["state"], shown["etaSeconds"]) == ("COMPLETED", None)
    assert {k: v for k, v in shown["counts"].items() if v} == {"total": 2, "read": 2}


def test_it_says_which_recipients_cannot_be_taken(acme: Cast, gql: Gql) -> None:
    template(acme)
    given = [{"phone": phone(1)}, {"phone": "0821234567"}, {}]

    answer = gql(acme, ADD, input={"id": str(draft(acme).id), "recipients": given})

    payload = answer.data["addBroadcastRecipients"]
    assert payload["errors"][0]["code"] == "INVALID_ROWS"
    codes = [(p["position"], p["code"]) for p in payload["report"]["problems"]]
    assert codes == [(2, "INVALID_PHONE"), (3, "NO_RECIPIENT")]


def test_refusals_are_data(acme: Cast, gql: Gql) -> None:
    assert create(gql, acme)["errors"][0]["code"] == "TEMPLATE_NOT_FOUND"
    template(acme)
    assert create(gql, acme, name=" ")["errors"][0]["field"] == "name"
    broadcast_id = create(gql, acme)["broadcast"]["id"]

    assert change(gql, acme, "start", broadcast_id)["errors"][0]["code"] == "NO_RECIPIENTS"
    assert change(gql, acme, "resume", broadcast_id)["errors"] == [
        {
            "code": "WRONG_STATE",
            "field": "id",
            "message": "The broadcast is DRAFT; it has to be PAUSED.",
        }
    ]


def test_it_pauses_resumes_and_cancels(running: Broadcast, acme: Cast, gql: Gql) -> None:
    for verb, state in (("pause", "PAUSED"), ("resume", "RUNNING"), ("cancel", "CANCELLED")):
        assert change(gql, acme, verb, running.id)["broadcast"]["state"] == state


def test_it_shows_the_rows_that_were_left_out(acme: Cast, gql: Gql, now: datetime) -> None:
    template(acme)
    broadcast = start(draft(acme, people(1) + f"{phone(7)},r,\n".encode()), now)

    shown = gql(acme, READ, id=str(broadcast.id)).data["broadcast"]

    assert shown["reason"].startswith("1 row does not fit the template. Row 3")
    assert shown["refusedRows"] == [{"position": 3, "code": "TEMPLATE_PARAMETERS"}]


def test_it_pages_through_broadcasts_newest_first(acme: Cast, globex: Cast, gql: Gql) -> None:
    template(acme), template(globex)
    draft(globex)
    for number in range(3):
        Broadcast.objects.filter(pk=draft(acme).pk).update(name=f"{number}")

    first = gql(acme, PAGE).data["broadcasts"]
    assert [node["name"] for node in first["nodes"]] == ["2", "1"]
    last = gql(acme, PAGE, after=first["pageInfo"]["endCursor"]).data["broadcasts"]
    assert [node["name"] for node in last["nodes"]] == ["0"]
    assert not last["pageInfo"]["hasNextPage"]


def test_it_is_nothing_to_another_tenant(
    running: Broadcast, acme: Cast, globex: Cast, gql: Gql
) -> None:
    assert gql(globex, READ, id=str(running.id)).data == {"broadcast": None}
    for verb in ("start", "pause", "resume", "cancel"):
        assert change(gql, globex, verb, running.id)["errors"][0]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("scope", [Scope.BROADCASTS_READ, Scope.BROADCASTS_WRITE])
def test_it_needs_the_permission(running: Broadcast, acme: Cast, gql: Gql, scope: Scope) -> None:
    key = key_with(acme.tenant, scope)

    read = gql(key, READ, id=str(running.id))
    written = gql(
        key, f'mutation {{ pauseBroadcast(input: {{id: "{running.id}"}}) {{ success }} }}'
    )

    refused = written if scope == Scope.BROADCASTS_READ else read
    assert refused.codes == ["FORBIDDEN"]
    assert "errors" not in (read if refused is written else written).body
