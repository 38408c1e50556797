"""What a support application does with conversations, over GraphQL and REST."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.test import Client

from connectors.events.models import EventSubscription, OutgoingEvent
from connectors.whatsapp.processing import process_batch
from messaging import conversations, desk, labels
from messaging.models import Conversation, ConversationLabel, ConversationNote
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with
from tests.messaging.test_contact_locking import _blocked
from tests.messaging.test_conversations import hear, take_in
from tests.sending.test_rest import ask
from tests.whatsapp.deliveries import callback, deliver, text
from workspaces.access import Scope
from workspaces.models import Membership

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

UPDATE = """
mutation ($input: UpdateConversationInput!) { updateConversation(input: $input) {
  success errors { code field message }
  conversation { id state snoozedUntil assigneeId labels { name colour } }
} }
"""
LIST = """
query (
  $w: ID! $state: ConversationState $assignee: String $label: ID $first: Int $after: String
) {
  conversations(
    workspaceId: $w state: $state assignee: $assignee labelId: $label first: $first after: $after
  ) { nodes { id state assigneeId labels { id name } } pageInfo { endCursor hasNextPage } }
}
"""
CREATE_LABEL = """
mutation ($input: CreateLabelInput!) { createLabel(input: $input) {
  success label { id name colour } errors { code field message }
} }
"""
UPDATE_LABEL = """
mutation ($input: UpdateLabelInput!) { updateLabel(input: $input) {
  success label { id name colour } errors { code field }
} }
"""
DELETE_LABEL = """
mutation ($input: DeleteLabelInput!) { deleteLabel(input: $input) { success errors { code } } }
"""
ADD_NOTE = """
mutation ($input: AddConversationNoteInput!) { addConversationNote(input: $input) {
  success note { id text authorId authorKey createdAt } errors { code field message }
} }
"""
DELETE_NOTE = """
mutation ($input: DeleteConversationNoteInput!) {
  deleteConversationNote(input: $input) { success errors { code } }
}
"""
NOTES = """
query ($id: ID!, $first: Int, $after: String) {
  conversationNotes(conversationId: $id first: $first after: $after) {
    nodes { text authorKey } pageInfo { hasNextPage endCursor }
  }
}
"""


def talk(cast: Cast, number: int = 1) -> Conversation:
    """Have a person write; return the conversation."""
    known = set(Conversation.objects.values_list("id", flat=True))
    wamid = f"wamid.{uuid4()}"
    take_in(cast, messages=[text(wamid, sender=f"2771155{number:04}", at=1_790_000_000 + number)])
    return Conversation.objects.exclude(id__in=known).get()


def member(cast: Cast, name: str = "ana") -> User:
    user = User.objects.create_user(f"{name}-{cast.tenant.slug}")
    Membership.objects.create(tenant=cast.tenant, user=user, role="VIEWER")
    return user


def label(cast: Cast, name: str = "Urgent") -> str:
    wanted = labels.LabelInput(name=name)
    return str(labels.create(tenant_id=cast.tenant.id, wanted=wanted).id)


@pytest.fixture
def change(gql: Gql, acme: Cast):
    """Change a conversation as acme."""

    def change(which: Conversation, **given: object) -> dict:
        wanted = {"conversationId": str(which.id), **given}
        return gql(acme, UPDATE, input=wanted).data["updateConversation"]

    return change


@pytest.fixture
def listed(gql: Gql, acme: Cast):
    """Ask for acme's conversations."""

    def ask_for(**arguments: object) -> list[str]:
        answer = gql(acme, LIST, w=str(acme.workspace.id), **arguments)
        return [node["id"] for node in answer.data["conversations"]["nodes"]]

    return ask_for


def later(hours: int = 1) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


def path(which: Conversation, *more: object) -> str:
    return "/".join(["/api/v1/conversations", str(which.id), *map(str, more)])


def test_it_is_open_until_somebody_snoozes_or_closes_it(acme: Cast, globex: Cast, change) -> None:
    ours, theirs = talk(acme), talk(globex)
    assert ours.state == theirs.state == "OPEN"

    until = later()
    snoozed = change(ours, state="SNOOZED", snoozedUntil=until)["conversation"]
    assert snoozed["state"] == "SNOOZED"
    assert datetime.fromisoformat(snoozed["snoozedUntil"]) == datetime.fromisoformat(until)
    closed = change(ours, state="CLOSED")["conversation"]
    assert (closed["state"], closed["snoozedUntil"]) == ("CLOSED", None)
    assert change(ours, state="OPEN")["conversation"]["state"] == "OPEN"
    theirs.refresh_from_db()
    assert theirs.state == "OPEN"


def test_it_opens_again_when_the_person_writes(acme: Cast, globex: Cast, change) -> None:
    hear(acme, "wamid.1")
    hear(globex, "wamid.1")
    ours = Conversation.objects.get(tenant_id=acme.tenant.id)
    for given in ({"state": "CLOSED"}, {"state": "SNOOZED", "snoozedUntil": later()}):
        assert change(ours, **given)["success"]
        Conversation.objects.filter(tenant_id=globex.tenant.id).update(state="CLOSED")
        hear(acme, f"wamid.{given['state']}", after=5)

        states = dict(Conversation.objects.values_list("tenant_id", "state"))
        assert states == {acme.tenant.id: "OPEN", globex.tenant.id: "CLOSED"}
        assert not Conversation.objects.filter(snoozed_until__isnull=False).exists()


def test_it_stays_closed_when_the_business_writes_and_when_a_history_comes(
    acme: Cast, globex: Cast, change
) -> None:
    for cast in (acme, globex):
        hear(cast, "wamid.1")
    ours = Conversation.objects.get(tenant_id=acme.tenant.id)
    change(ours, state="CLOSED")

    said = {**text("wamid.2", sender="15550100001", at=1_790_000_009), "to": "15550123456"}
    take_in(acme, field="smb_message_echoes", message_echoes=[said])

    ours.refresh_from_db()
    assert ours.state == "CLOSED"


def test_it_comes_back_at_its_time(acme: Cast, globex: Cast, change, now: datetime) -> None:
    ours, theirs, other = talk(acme), talk(globex), talk(acme, 2)
    for which, hours in ((ours, 1), (other, 3)):
        assert change(which, state="SNOOZED", snoozedUntil=later(hours))["success"]
    Conversation.objects.filter(id=theirs.id).update(
        state="SNOOZED", snoozed_until=now + timedelta(hours=1)
    )

    assert desk.wake(now=now) == 0
    assert desk.wake(now=now + timedelta(hours=2)) == 2
    assert desk.wake(now=now + timedelta(hours=2)) == 0
    states = dict(Conversation.objects.values_list("id", "state"))
    assert states == {ours.id: "OPEN", theirs.id: "OPEN", other.id: "SNOOZED"}


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"state": "SNOOZED"}, "INVALID_TIME", "snoozedUntil"),
        ({"state": "SNOOZED", "snoozedUntil": later(-1)}, "INVALID_TIME", "snoozedUntil"),
        ({"state": "SNOOZED", "snoozedUntil": later(9999)}, "INVALID_TIME", "snoozedUntil"),
        ({"state": "CLOSED", "snoozedUntil": later()}, "INVALID_TIME", "snoozedUntil"),
        ({"snoozedUntil": later()}, "INVALID_INPUT", "state"),
        ({"assigneeId": "somebody"}, "INVALID_INPUT", "assigneeId"),
        ({"assigneeId": "99999999999999"}, "INVALID_INPUT", "assigneeId"),
        ({"assigneeId": "999999"}, "NOT_A_MEMBER", "assigneeId"),
        ({"addLabelIds": ["x"]}, "INVALID_INPUT", "addLabelIds"),
        ({"addLabelIds": [str(uuid4())]}, "LABEL_NOT_FOUND", "addLabelIds"),
    ],
)
def test_it_says_why_it_is_not_changed(
    acme: Cast, globex: Cast, change, given: dict, code: str, field: str
) -> None:
    ours = talk(acme)
    talk(globex)

    refused = change(ours, **given)

    assert refused["conversation"] is None
    (error,) = refused["errors"]
    assert (error["code"], error["field"]) == (code, field)
    assert error["message"].endswith(".")


def test_it_is_assigned_to_members_only(acme: Cast, globex: Cast, change, listed) -> None:
    ours, other = talk(acme), talk(acme, 2)
    talk(globex)
    ana, stranger = member(acme), member(globex)

    assert change(ours, assigneeId=str(ana.id))["conversation"]["assigneeId"] == str(ana.id)
    assert change(ours, assigneeId=str(stranger.id))["errors"][0]["code"] == "NOT_A_MEMBER"
    assert listed(assignee=str(ana.id)) == [str(ours.id)]
    assert listed(assignee="none") == [str(other.id)]

    Membership.objects.filter(user=ana).delete()
    assert change(ours)["conversation"]["assigneeId"] is None
    assert listed(assignee="none") == [str(other.id), str(ours.id)]
    assert change(ours, assigneeId=None)["success"]
    ours.refresh_from_db()
    assert ours.assignee_id is None


def test_who_is_signed_in_asks_for_their_own(acme: Cast, globex: Cast) -> None:
    ours = talk(acme)
    talk(globex)
    ana = member(acme)
    client = Client()
    client.force_login(ana)
    url = f"/api/v1/conversations?workspace_id={acme.workspace.id}&assignee=me"

    assert client.get(url).json()["nodes"] == []
    Conversation.objects.filter(id=ours.id).update(assignee_id=ana.id)
    (found,) = client.get(url).json()["nodes"]
    assert (found["id"], found["assignee_id"]) == (str(ours.id), ana.id)
    status, refused = ask(acme, url, method="get")
    assert (status, refused["error"]["code"]) == (400, "INVALID_INPUT")


def test_labels_are_put_on_and_taken_off(
    acme: Cast, globex: Cast, change, listed, gql: Gql
) -> None:
    ours, other = talk(acme), talk(acme, 2)
    talk(globex)
    urgent, billing = label(acme), label(acme, "Billing")
    foreign = label(globex)

    both = change(ours, addLabelIds=[urgent, billing])["conversation"]
    assert [one["name"] for one in both["labels"]] == ["Billing", "Urgent"]
    assert change(other, addLabelIds=[foreign])["errors"][0]["code"] == "LABEL_NOT_FOUND"
    assert change(other, addLabelIds=[billing])["success"]
    assert listed(label=billing) == [str(other.id), str(ours.id)]
    assert listed(label=urgent) == [str(ours.id)]
    assert gql(acme, LIST, w=str(acme.workspace.id), label=foreign).codes == ["NOT_FOUND"]

    assert change(ours, removeLabelIds=[urgent])["conversation"]["labels"] == [
        {"name": "Billing", "colour": labels.GREY}
    ]
    assert gql(acme, DELETE_LABEL, input={"labelId": billing}).data["deleteLabel"]["success"]
    assert change(ours)["conversation"]["labels"] == []
    assert change(ours, addLabelIds=[urgent])["success"]
    ours.refresh_from_db()
    assert [str(one) for one in ours.label_ids] == [urgent]


def test_a_conversation_has_twenty_labels_at_most(acme: Cast, globex: Cast, change) -> None:
    ours = talk(acme)
    talk(globex)
    ids = [label(acme, f"Label {number}") for number in range(21)]

    assert change(ours, addLabelIds=ids)["errors"][0]["code"] == "TOO_MANY"
    assert change(ours, addLabelIds=ids[:20])["success"]
    assert change(ours, addLabelIds=ids[20:])["errors"][0]["code"] == "TOO_MANY"
    assert change(ours, addLabelIds=ids[20:], removeLabelIds=ids[:1])["success"]


def test_a_label_has_a_name_of_its_own_and_a_colour(
    acme: Cast, globex: Cast, gql: Gql, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(cast: Cast, **given: object) -> dict:
        return gql(cast, CREATE_LABEL, input=given).data["createLabel"]

    made = create(acme, name="  Straße ", colour="#E11D48")["label"]
    assert (made["name"], made["colour"]) == ("Straße", "#e11d48")
    assert create(acme, name="STRASSE")["errors"][0]["code"] == "DUPLICATE"
    assert create(globex, name="STRASSE")["success"]
    assert create(acme, name="x" * 50)["success"]
    for bad in ({"name": "x" * 51}, {"name": " "}, {"name": "a\nb"}, {"name": "a\0"}):
        assert create(acme, **bad)["errors"][0]["code"] == "INVALID_INPUT"
    for colour in ("red", "#12345", "#1234567", "#12345g"):
        (error,) = create(acme, name="Colour", colour=colour)["errors"]
        assert (error["code"], error["field"]) == ("INVALID_INPUT", "colour")

    def update(cast: Cast, **given: object) -> dict:
        return gql(cast, UPDATE_LABEL, input={"labelId": made["id"], **given}).data["updateLabel"]

    assert update(acme, name="strasse")["label"]["name"] == "strasse"
    assert update(acme, name="x" * 50)["errors"][0]["code"] == "DUPLICATE"
    assert update(globex, name="Mine")["errors"][0]["code"] == "LABEL_NOT_FOUND"
    assert gql(globex, DELETE_LABEL, input={"labelId": made["id"]}).data["deleteLabel"][
        "errors"
    ] == [{"code": "LABEL_NOT_FOUND"}]
    monkeypatch.setattr(labels, "MOST", 2)
    assert create(acme, name="One more")["errors"][0]["code"] == "TOO_MANY"
    assert ConversationLabel.objects.filter(tenant_id=globex.tenant.id).count() == 1


def test_notes_are_kept_sealed_and_read_newest_first(acme: Cast, globex: Cast, gql: Gql) -> None:
    ours, theirs = talk(acme), talk(globex)

    def add(cast: Cast, which: Conversation, words: str) -> dict:
        given = {"conversationId": str(which.id), "text": words}
        return gql(cast, ADD_NOTE, input=given).data["addConversationNote"]

    for words in ("Call +27 82 123 4567 back", "Done"):
        assert add(acme, ours, words)["note"]["authorKey"] == "test"
    first = gql(acme, NOTES, id=str(ours.id), first=1).data["conversationNotes"]
    assert first["nodes"] == [{"text": "Done", "authorKey": "test"}]
    after = first["pageInfo"]["endCursor"]
    second = gql(acme, NOTES, id=str(ours.id), after=after).data["conversationNotes"]
    assert [one["text"] for one in second["nodes"]] == ["Call +27 82 123 4567 back"]
    assert not second["pageInfo"]["hasNextPage"]

    assert all(b"Done" not in bytes(n.sealed_text) for n in ConversationNote.objects.all())
    assert gql(globex, NOTES, id=str(ours.id)).codes == ["NOT_FOUND"]
    assert add(globex, ours, "Hi")["errors"][0]["code"] == "CONVERSATION_NOT_FOUND"
    assert gql(globex, NOTES, id=str(theirs.id)).data["conversationNotes"]["nodes"] == []
    for words in ("", "  ", "x" * 10_001, "a\0b"):
        assert add(acme, ours, words)["errors"][0]["code"] == "INVALID_INPUT"
    assert add(acme, ours, "x" * 10_000)["success"]

    note_id = str(ConversationNote.objects.order_by("created_at")[0].id)
    for cast, done in ((globex, False), (acme, True), (acme, False)):
        answer = gql(cast, DELETE_NOTE, input={"noteId": note_id}).data["deleteConversationNote"]
        assert answer["success"] is done


def test_events_tell_what_changed_and_by_whom_and_nothing_else(
    acme: Cast, globex: Cast, change, now: datetime
) -> None:
    for cast in (acme, globex):
        hear(cast, "wamid.1")
        EventSubscription.objects.create(
            tenant_id=cast.tenant.id, url="https://app.example/", sealed_secrets=b"x"
        )
    ours = Conversation.objects.get(tenant_id=acme.tenant.id)
    ana, urgent = member(acme), label(acme)

    change(ours, state="SNOOZED", snoozedUntil=later(), assigneeId=ana.id, addLabelIds=[urgent])
    change(ours, addLabelIds=[urgent])  # nothing new
    desk.wake(now=now + timedelta(hours=2))
    change(ours, state="CLOSED")
    hear(acme, "wamid.2", after=5)

    events = OutgoingEvent.objects.filter(type="conversation.updated").order_by("id")
    assert {event.tenant_id for event in events} == {acme.tenant.id}
    told = [event.data for event in events]
    assert sorted(one["by"].split()[0] for one in told) == ["api_key", "api_key", "clock", "person"]
    first = next(one for one in told if one["state"] == "SNOOZED")
    assert first == {
        "conversation_id": str(ours.id),
        "workspace_id": str(acme.workspace.id),
        "contact_id": str(ours.contact_id),
        "changed": ["state", "assignee", "labels"],
        "state": "SNOOZED",
        "assignee_id": ana.id,
        "label_ids": [urgent],
        "by": first["by"],
    }
    (person,) = (one for one in told if one["by"] == "person")
    assert (person["changed"], person["state"]) == (["state"], "OPEN")
    assert "Urgent" not in json.dumps(told)


def test_what_was_done_follows_where_two_people_turn_out_to_be_one(
    acme: Cast, globex: Cast, change, gql: Gql
) -> None:
    def says(wamid: str, **who: str) -> None:
        said = text(wamid, at=1_790_000_000)
        del said["from"]
        deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[said | who]))
        process_batch(10)

    by_number, by_id = {"from": "27825550199"}, {"from_user_id": "ZA.1"}
    ana = member(acme)
    ids = [label(acme, name) for name in ("One", "Two")]
    for number, who in enumerate((by_number, by_id)):
        says(f"wamid.{number}", **who)
        newest = Conversation.objects.order_by("-created_at", "-id")[0]
        given = {"state": "CLOSED"} if number else {"state": "SNOOZED", "snoozedUntil": later()}
        change(newest, addLabelIds=[ids[number]], **given)
        gql(acme, ADD_NOTE, input={"conversationId": str(newest.id), "text": f"Note {number}"})
    change(newest, assigneeId=ana.id)

    says("wamid.both", **by_number, **by_id)

    kept = Conversation.objects.get(tenant_id=acme.tenant.id, merged_into=None)
    assert (kept.state, kept.snoozed_until, kept.assignee_id) == ("OPEN", None, ana.id)
    assert {str(one) for one in kept.label_ids} == set(ids)
    for which in Conversation.objects.filter(tenant_id=acme.tenant.id):
        notes = gql(acme, NOTES, id=str(which.id)).data["conversationNotes"]["nodes"]
        assert {note["text"] for note in notes} == {"Note 0", "Note 1"}


def test_a_page_of_filtered_conversations_is_as_any_other(
    acme: Cast, globex: Cast, change, gql: Gql
) -> None:
    all_of_them = [talk(acme, number) for number in range(1, 6)]
    talk(globex)
    for which in all_of_them[1:]:
        change(which, state="CLOSED")
    asked = {"w": str(acme.workspace.id), "state": "CLOSED", "first": 3}

    first = gql(acme, LIST, **asked).data["conversations"]
    rest = gql(acme, LIST, **asked, after=first["pageInfo"]["endCursor"]).data["conversations"]

    found = [node["id"] for node in [*first["nodes"], *rest["nodes"]]]
    assert found == [str(which.id) for which in reversed(all_of_them[1:])]


def test_who_left_is_assigned_nothing_again(acme: Cast, globex: Cast, change) -> None:
    ours, ana = talk(acme), member(acme)
    talk(globex)
    assert change(ours, assigneeId=str(ana.pk))["success"]
    Membership.objects.all().delete()

    refused = change(ours, assigneeId=str(ana.pk))

    assert [error["code"] for error in refused["errors"]] == ["NOT_A_MEMBER"]


def test_an_event_tells_no_label_that_was_deleted_and_nobody_who_left(
    acme: Cast, globex: Cast, change
) -> None:
    ours, ana, gone = talk(acme), member(acme), label(acme)
    talk(globex)
    change(ours, assigneeId=str(ana.pk), addLabelIds=[gone])
    Membership.objects.all().delete()
    labels.delete(tenant_id=acme.tenant.id, label_id=UUID(gone))
    EventSubscription.objects.create(
        tenant_id=acme.tenant.id, url="https://app.example/", sealed_secrets=b"x"
    )

    change(ours, state="CLOSED")

    data = OutgoingEvent.objects.get().data
    assert (data["assignee_id"], data["label_ids"]) == (None, [])


@pytest.mark.parametrize(
    "body",
    [
        {"assignee_id": "null"},
        {"assignee_id": True},
        {"state": "SNOOZED", "snoozed_until": int(time.time()) + 3600},
        {"state": "SNOOZED", "snoozed_until": "9999-12-31T23:59:59-14:00"},
    ],
)
def test_rest_takes_no_value_for_another(acme: Cast, globex: Cast, body: dict) -> None:
    ours = talk(acme)
    talk(globex)
    assert ask(acme, path(ours), body, "patch")[0] == 422


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["the conversation", "a note"])
def test_what_is_done_while_two_people_become_one_is_done_to_that_one(
    acme: Cast, globex: Cast, wait_for, what: str
) -> None:
    loser, winner = talk(acme, 1), talk(acme, 2)
    talk(globex)
    answers = []

    def work() -> None:
        try:
            if what == "a note":
                answers.append(ask(acme, path(loser, "notes"), {"text": "Wants a refund"}))
            else:
                answers.append(ask(acme, path(loser), {"state": "CLOSED"}, "patch"))
        finally:
            connections.close_all()

    worker = threading.Thread(target=work)
    with transaction.atomic():
        conversations.join([(acme.tenant.id, loser.contact_id, winner.contact_id)])
        worker.start()
        wait_for(lambda: _blocked() == 1)
    worker.join()

    loser.refresh_from_db()
    winner.refresh_from_db()
    assert loser.merged_into == winner.id
    if what == "a note":
        assert ConversationNote.objects.get().conversation_id == winner.id
    else:
        assert answers[0][1]["id"] == str(winner.id)
        assert winner.state == "CLOSED"


BOTH = """
mutation ($x: UpdateConversationInput!, $y: UpdateConversationInput!) {
  x: updateConversation(input: $x) { success } y: updateConversation(input: $y) { success }
}
"""


@pytest.mark.django_db(transaction=True)
def test_two_agents_who_change_the_same_at_once_both_do(acme: Cast, globex: Cast, gql: Gql) -> None:
    conversations = [talk(acme, 1), talk(acme, 2)]
    talk(globex)
    names = [label(acme, f"{number}") for number in range(6)]

    def work(which: list[Conversation], put_on: list[str]) -> list[dict]:
        try:
            x, y = (str(one.id) for one in which)
            return [
                gql(
                    acme,
                    BOTH,
                    x={"conversationId": x, "addLabelIds": [name]},
                    y={"conversationId": y, "addLabelIds": [name]},
                ).data
                for name in put_on
            ]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(work, conversations, names[:3])
        other = pool.submit(work, conversations[::-1], names[3:])

    assert one.result() + other.result() == [{"x": {"success": True}, "y": {"success": True}}] * 6
    for conversation in conversations:
        conversation.refresh_from_db()
        assert {str(one) for one in conversation.label_ids} == set(names)


@pytest.mark.parametrize("filtered", ["OPEN", "none", "label", "theirs"])
def test_it_looks_through_so_many_and_the_next_page_looks_on(
    acme: Cast, globex: Cast, change, gql: Gql, monkeypatch, filtered: str
) -> None:
    monkeypatch.setattr("messaging.conversation_queries.MOST_LOOKED_THROUGH", 3)
    oldest, *others = (talk(acme, number) for number in range(8))
    mine, other, ana = label(acme), label(acme, "Other"), member(acme)
    change(oldest, addLabelIds=[mine])
    for one in others:
        change(one, state="CLOSED", assigneeId=str(ana.pk), addLabelIds=[other])
    if filtered == "theirs":
        change(oldest, assigneeId=str(ana.pk))
    talk(globex)
    asked: dict[str, object] = {
        "OPEN": {"state": "OPEN"},
        "none": {"assignee": "none"},
        "label": {"label": mine},
        "theirs": {"assignee": str(ana.pk), "state": "OPEN"},
    }[filtered]

    pages = []
    while True:
        page = gql(acme, LIST, w=str(acme.workspace.id), **asked).data["conversations"]
        pages.append([node["id"] for node in page["nodes"]])
        if not page["pageInfo"]["hasNextPage"]:
            break
        asked["after"] = page["pageInfo"]["endCursor"]

    assert pages == [[], [], [str(oldest.id)]]


def test_it_ends_where_the_last_was_the_last_that_it_looked_at(
    acme: Cast, globex: Cast, change, monkeypatch
) -> None:
    monkeypatch.setattr("messaging.conversation_queries.MOST_LOOKED_THROUGH", 2)
    for one in (talk(acme, 1), talk(acme, 2)):
        change(one, state="CLOSED")

    status, page = ask(
        acme, f"/api/v1/conversations?workspace_id={acme.workspace.id}&state=OPEN", method="get"
    )

    assert (status, page["nodes"], page["page_info"]["has_next_page"]) == (200, [], False)


def test_a_filtered_page_is_a_range_of_an_index(acme: Cast, globex: Cast) -> None:
    for cast in (acme, globex):
        talk(cast)
    plans = {}
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")  # of two rows this would be as good
        for name, condition in (
            ("conversations_by_state", "state = 'CLOSED'"),
            ("conversations_by_assignee", "assignee_id = 5"),
            ("conversations_labelled", "label_ids <> '{}'"),
        ):
            cursor.execute(
                "EXPLAIN SELECT id FROM conversations WHERE tenant_id = %(tenant)s"  # noqa: S608
                f" AND workspace_id = %(w)s AND merged_into IS NULL AND {condition}"
                " AND (last_message_at, id) < (now(), %(id)s)"
                " ORDER BY last_message_at DESC, id DESC LIMIT 21",
                {"tenant": acme.tenant.id, "w": acme.workspace.id, "id": uuid4()},
            )
            plans[name] = "\n".join(row for (row,) in cursor.fetchall())
    for plan in plans.values():
        assert "Sort" not in plan
        assert "Index" in plan


def test_rest_does_the_same(acme: Cast, globex: Cast) -> None:
    ours, theirs = talk(acme), talk(globex)
    listing = f"/api/v1/conversations?workspace_id={acme.workspace.id}"
    status, made = ask(acme, "/api/v1/labels", {"name": "Urgent", "colour": "#ff0000"})
    assert status == 201
    assert ask(acme, "/api/v1/labels", {"name": "urgent"})[0] == 409
    assert ask(globex, "/api/v1/labels", method="get") == (200, {"nodes": []})

    wanted = {"state": "CLOSED", "add_label_ids": [made["id"]]}
    status, changed = ask(acme, path(ours), wanted, "patch")
    assert (status, changed["state"], changed["labels"]) == (200, "CLOSED", [made])
    assert ask(acme, path(ours), method="get")[1] == changed
    found = ask(acme, f"{listing}&state=CLOSED&label_id={made['id']}", method="get")[1]
    assert found["nodes"] == [changed]
    found = ask(acme, f"{listing}&state=OPEN&assignee=none&unread_only=true", method="get")[1]
    assert found["nodes"] == []
    assert ask(globex, listing, method="get")[0] == 404
    for method in ("get", "patch"):
        status, refused = ask(globex, path(ours), {} if method == "patch" else None, method)
        code = "NOT_FOUND" if method == "get" else "CONVERSATION_NOT_FOUND"
        assert (status, refused["error"]["code"]) == (404, code)

    status, note = ask(acme, path(ours, "notes"), {"text": "Wants a refund"})
    assert (status, note["author_key"], note["author_id"]) == (201, "test", None)
    assert ask(acme, path(ours, "notes"), method="get")[1]["nodes"] == [note]
    assert ask(globex, path(theirs, "notes"), method="get")[1]["nodes"] == []
    assert ask(globex, path(ours, "notes"), method="get")[0] == 404
    headers = {"Authorization": f"Bearer {acme.api_key}"}
    gone = path(ours, "notes", note["id"])
    assert [Client().delete(gone, headers=headers).status_code for _ in "ab"] == [204, 404]
    one = f"/api/v1/labels/{made['id']}"
    assert ask(acme, one, {"colour": "#00FF00"}, "patch")[1]["colour"] == "#00ff00"
    assert [Client().delete(one, headers=headers).status_code for _ in "ab"] == [204, 404]


def test_notes_have_pages_over_rest(acme: Cast, globex: Cast) -> None:
    ours = talk(acme)
    talk(globex)
    for number in range(3):
        assert ask(acme, path(ours, "notes"), {"text": f"{number}"})[0] == 201

    first = ask(acme, path(ours, "notes?first=2"), method="get")[1]
    where = first["page_info"]
    second = ask(acme, path(ours, f"notes?after={where['end_cursor']}"), method="get")[1]

    assert (where["has_next_page"], second["page_info"]["has_next_page"]) == (True, False)
    assert [note["text"] for note in first["nodes"] + second["nodes"]] == ["2", "1", "0"]
    for wrong in ("first=x", "first=101", "after=x"):
        assert ask(acme, path(ours, f"notes?{wrong}"), method="get")[0] == 400


@pytest.mark.parametrize("query", ["state=open", "label_id=x", "assignee=ana", "assignee=99999"])
def test_rest_names_what_is_wrong_with_a_filter(acme: Cast, globex: Cast, query: str) -> None:
    listing = f"/api/v1/conversations?workspace_id={acme.workspace.id}&{query}"

    status, refused = ask(acme, listing, method="get")

    assert (status, refused["error"]["code"]) == (400, "INVALID_INPUT")
    assert query.partition("=")[0].replace("_i", "I") in refused["error"]["message"]


@pytest.mark.parametrize("body", [[], "x", None, {"state": 1}, {"states": "OPEN"}, {"state": None}])
def test_rest_takes_what_openapi_says_and_nothing_else(
    acme: Cast, globex: Cast, body: object
) -> None:
    ours = talk(acme)
    talk(globex)

    status, refused = ask(acme, path(ours), body if body is not None else 5, "patch")

    assert (status, refused["error"]["code"]) == (422, "INVALID_INPUT")


def test_who_reads_may_not_change(acme: Cast, globex: Cast, gql: Gql) -> None:
    ours = talk(acme)
    talk(globex)
    reader = key_with(acme.tenant, Scope.MESSAGES_READ)
    sender = key_with(acme.tenant, Scope.MESSAGES_SEND)

    assert ask(reader, path(ours), method="get")[0] == 200
    assert ask(reader, path(ours), {"state": "CLOSED"}, "patch")[0] == 403
    assert ask(reader, path(ours, "notes"), {"text": "x"})[0] == 403
    assert ask(reader, "/api/v1/labels", {"name": "x"})[0] == 403
    assert ask(sender, path(ours), method="get")[0] == 403
    assert ask(sender, path(ours), {"state": "CLOSED"}, "patch")[0] == 200
    refused = gql(reader, UPDATE, input={"conversationId": str(ours.id), "state": "OPEN"})
    assert refused.codes == ["FORBIDDEN"]
