"""Every step of a message's life is told once, by the transaction that makes it; and the outbox
holds what is left to do.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from django.db import connection

from connectors.events.models import OutgoingEvent
from connectors.simulator.meta.server import RunningSimulator
from connectors.whatsapp.processing import process_batch
from messaging import transitions
from messaging.broadcasts import lifecycle, retention
from messaging.delivery.claims import Claims
from messaging.delivery.recording import Outcome, record
from messaging.models import Message, PendingSend
from messaging.states import EDGES, NEXT, Edge, PendingWork, State, has_event, work_of
from tests.broadcasts.conftest import draft, fill, people, start, turn
from tests.conftest import Cast
from tests.delivery.outgoing import queue
from tests.events.test_outbox import subscribe
from tests.sending.conftest import hear, template
from tests.sending.test_rest import ask, text_to
from tests.whatsapp.deliveries import callback, deliver, status
from workspaces.channel_facts import AcceptedSend

ROOT = Path(__file__).resolve().parents[2]
AT = 1_790_000_000
WAMID = "wamid.HBgLMTU1NTAxMjM0NTYVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA"


@dataclass
class Life:
    """A message of acme's, and what may happen to it."""

    cast: Cast
    now: datetime
    meta: RunningSimulator
    run: Callable[[], int]
    message: Message | None = None

    def begin(self) -> None:
        """Accept a message at the door."""
        hear(self.cast, self.now)
        code, answer = ask(self.cast, body=text_to(self.cast))
        assert code == 201
        self.message = Message.objects.get(pk=answer["message_id"])

    def echo(self) -> None:
        """Hear of a message that the business wrote on its phone."""
        said = {
            "from": "15550100001",
            "to": "15550123456",
            "id": WAMID,
            "timestamp": str(AT),
            "type": "text",
            "text": {"body": "Hello"},
        }
        number = self.cast.workspace.external_id
        body = callback(number, field="smb_message_echoes", message_echoes=[said])
        deliver(self.cast.tenant.id, body)
        process_batch(10)
        self.message = Message.objects.get(source="ECHO")

    def report(self, word: str) -> None:
        """Hear of it from Meta."""
        sent = self.meta.control.processed(str(self.message.pk))
        wamid = sent[0]["wamid"] if sent else WAMID
        said = status(wamid, word, AT, biz_opaque_callback_data=str(self.message.pk))
        if word == "failed":
            said["errors"] = [{"code": 131026, "title": "Message undeliverable"}]
        deliver(self.cast.tenant.id, callback(self.cast.workspace.external_id, statuses=[said]))
        process_batch(10)

    def answered(self, preset: str | None = None, **rule: object) -> None:
        """Have it sent, and answered so."""
        if preset:
            self.meta.control.rule(preset, **rule)
        assert self.run() == 1

    def marked(self) -> None:
        """Have it claimed and marked by a sender that dies."""
        due = self.now + timedelta(minutes=1)
        (claimed,) = Claims(chance=Random(1)).claim(9, {}, most=9, now=due)
        attempt = claimed.attempt
        transitions.mark([attempt], seconds=-1)
        self.attempt = attempt

    def expired(self) -> None:
        """Claim it too late."""
        PendingSend.objects.filter(pk=self.message.pk).update(expires_at=self.now)
        self.run()

    def cancelled(self) -> None:
        """Take it back at the door."""
        assert ask(self.cast, f"/api/v1/messages/{self.message.pk}/cancel")[0] == 200

    def answered_late(self) -> None:
        """Hear Meta's answer after its sender was given up."""
        answer = AcceptedSend(WAMID, state="held_for_quality_assessment")
        record([Outcome(self.attempt, answer, self.now)], now=self.now, chance=Random(1))

    def lost(self) -> None:
        """Give up on its sender."""
        self.marked()
        transitions.expire(now=self.now)

    @property
    def told(self) -> list[str]:
        """What acme's app hears of it."""
        events = OutgoingEvent.objects.filter(type="message.status").order_by("id")
        assert {event.tenant_id for event in events} <= {self.cast.tenant.id}
        mine = [event.data for event in events if event.data["message_id"] == str(self.message.pk)]
        return [data["status"] for data in mine]

    @property
    def work(self) -> PendingWork:
        """What the outbox holds of it."""
        row = PendingSend.objects.filter(pk=self.message.pk).first()
        if row is None:
            return PendingWork.NONE
        assert (row.due_at is None) != (row.lease_until is None)
        return PendingWork.WAITING if row.lease_until is None else PendingWork.LEASED


S = State
Step = Callable[[Life], object]
REACH: dict[State | None, tuple[Step, ...]] = {
    None: (Life.echo,),
    S.QUEUED: (Life.begin,),
    S.SENDING: (Life.begin,),  # and on at once: nobody sees a message that is being sent
    S.ACCEPTED: (Life.begin, Life.answered),
    S.HELD: (Life.begin, lambda life: life.answered("held")),
    S.UNKNOWN: (Life.begin, Life.lost),
    S.FAILED: (Life.begin, lambda life: life.answered("error", code=131026)),
    S.CANCELLED: (Life.begin, Life.cancelled),
    **{
        word: (Life.begin, Life.answered, lambda life, word=word: life.report(word))
        for word in (S.SENT, S.DELIVERED, S.READ, S.PLAYED)
    },
}
GO: dict[Edge, Step] = {
    Edge(S.QUEUED, S.SENDING): Life.marked,
    Edge(S.QUEUED, S.FAILED): Life.expired,
    Edge(S.QUEUED, S.CANCELLED): Life.cancelled,
    Edge(S.SENDING, S.ACCEPTED): Life.answered,
    Edge(S.SENDING, S.HELD): lambda life: life.answered("held"),
    Edge(S.SENDING, S.QUEUED): lambda life: life.answered("error", code=131016),
    Edge(S.SENDING, S.FAILED): lambda life: life.answered("error", code=131026),
    Edge(S.SENDING, S.UNKNOWN): lambda life: life.answered("close_after"),
    Edge(S.UNKNOWN, S.HELD): Life.answered_late,
    # A word that we do not know says that it was sent, and no more.
    **{
        Edge(state, S.ACCEPTED): lambda life: life.report("deleted")
        for state in (S.QUEUED, S.UNKNOWN, S.FAILED, S.CANCELLED)
    },
}


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: f"{edge.before or 'nothing'}-{edge.after}")
def test_it_tells_of_every_step_once_and_keeps_in_the_outbox_what_is_left_to_do(
    acme: Cast, globex: Cast, now: datetime, meta: RunningSimulator, deliver, edge: Edge
) -> None:
    for cast in (acme, globex):
        subscribe(cast, "message.status")
    life = Life(acme, now, meta, deliver)
    for step in REACH[edge.before]:
        step(life)
    before = life.told
    if edge != Edge(S.SENDING, edge.after):  # a sender is asked for that at once
        assert life.work == work_of(edge.before)
    GO.get(edge, lambda life: life.report(edge.after))(life)
    life.message.refresh_from_db()

    assert life.message.status == edge.after
    assert life.told == [*before, *([edge.after] if has_event(edge) else [])]
    assert life.work == work_of(edge.after)


def test_it_tells_of_what_a_dead_sender_leaves_once(
    acme: Cast, now: datetime, meta: RunningSimulator, deliver
) -> None:
    subscribe(acme)
    life = Life(acme, now, meta, deliver)
    life.begin()
    life.lost()
    transitions.expire(now=now)

    assert life.told == ["unknown"]


@pytest.mark.parametrize("word", ["sent", "read", "failed"])
def test_it_tells_of_both_steps_where_a_report_settles_a_message(
    acme: Cast, now: datetime, meta: RunningSimulator, deliver, word: str
) -> None:
    subscribe(acme)
    life = Life(acme, now, meta, deliver)
    life.begin()
    life.lost()
    life.report(word)
    life.report(word)

    assert sorted(life.told) == sorted(["unknown", "accepted", word])


@pytest.mark.parametrize("end", ["cancel", "withdraw", "retention"])
def test_it_tells_of_everything_that_is_taken_back_at_once(
    acme: Cast, globex: Cast, now: datetime, end: str
) -> None:
    for cast in (acme, globex):
        subscribe(cast, "message.status", "broadcast.updated")
    template(acme)
    broadcast = start(draft(acme, people(3)), now)
    ids = {str(message.pk) for message in Message.objects.filter(broadcast_id=broadcast.id)}
    assert len(ids) == 3
    if end == "cancel":
        lifecycle.cancel(tenant_id=acme.tenant.id, broadcast_id=broadcast.id, now=now)
    elif end == "withdraw":
        for number in range(3):
            said = {
                "from": f"99955500000{number}",
                "id": f"wamid.{number}",
                "type": "text",
                "timestamp": str(int(now.timestamp())),
                "text": {"body": "STOP"},
            }
            deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[said]))
        process_batch(10)
    else:
        retention.purge(now=now + timedelta(days=60))
    turn(now)

    told = list(OutgoingEvent.objects.filter(type="message.status"))
    assert sorted(event.data["message_id"] for event in told) == sorted(ids)
    assert {(event.tenant_id, event.data["status"]) for event in told} == {
        (acme.tenant.id, "cancelled")
    }


def test_it_tells_when_a_refused_broadcast_is_a_draft_again(acme: Cast, now: datetime) -> None:
    subscribe(acme, "broadcast.updated")
    template(acme)
    wrong = b"phone,1,2\n+999555000000,Ana,Bea\n"
    broadcast = start(draft(acme, wrong), now)
    assert broadcast.state == "REFUSED"
    fill(broadcast, people(1))

    states = [event.data["state"] for event in OutgoingEvent.objects.order_by("id")]
    assert states == ["CHECKING", "REFUSED", "DRAFT"]


HOME = "messaging/transitions.py"
WRITES = re.compile(
    r"INSERT INTO messages\b|UPDATE messages\b.*?\bSET\b(?:(?!\b(?:WHERE|FROM)\b).)*?\bstatus = ",
    re.S,
)
# Rows that their statement finds locked, by UNSETTLED or MESSAGES before it; one that skips what is
# locked, and one whose rows were found so.
OUT_OF_ORDER = {
    "messaging/transitions.py:SETTLE",
    "messaging/transitions.py:ADVANCE",
    "messaging/merging.py:SETTLE",
    "messaging/amendments.py:REPLACE",
}
CHANGES = re.compile(r"UPDATE messages\b|DELETE FROM messages\b")


def text_of(node: ast.AST) -> str:
    """Return the texts in a piece of code, f-strings' included."""
    parts = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
    return " ".join(part for part in parts if isinstance(part, str))


def named(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what gets a name, by it: an assignment (the first of several names), a function."""
    for child in ast.walk(node):
        if isinstance(child, ast.Assign):
            first = child.targets[0]
            first = first.elts[0] if isinstance(first, ast.Tuple) else first
            if isinstance(first, ast.Name):
                yield first.id, child.value
        elif isinstance(child, ast.FunctionDef):
            yield child.name, child


def statements() -> Iterator[tuple[str, ast.AST]]:
    """Yield every named piece of the product's code, with its place."""
    for layer in ("lib", "workspaces", "templates_wa", "messaging", "connectors", "sigma"):
        for path in (ROOT / layer).rglob("*.py"):
            if "migrations" not in path.parts:
                tree = ast.parse(path.read_text(encoding="utf-8"))
                place = path.relative_to(ROOT)
                yield from ((f"{place}:{name}", node) for name, node in named(tree))


def locks_first(node: ast.AST) -> bool:
    """Whether a piece of code makes a statement that locks messages by their ids."""
    calls = (part.func for part in ast.walk(node) if isinstance(part, ast.Call))
    return any(isinstance(call, ast.Attribute) and call.attr == "locking" for call in calls)


def sets_status(node: ast.AST) -> bool:
    """Whether a piece of code is a statement that writes the status of messages."""
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
    assigned = [key.value for call in calls for key in call.keywords if key.arg == "assign"]
    if assigned:
        return any(re.match(r"status = ", text_of(one).lstrip()) for one in assigned)
    return WRITES.search(text_of(node)) is not None


def test_nobody_else_writes_the_status_of_a_message() -> None:
    found = {place for place, node in statements() if sets_status(node)}
    models = re.compile(r"Message\.objects[^\n]*\.(update|create|bulk_create|bulk_update)\(")
    through_models = [
        str(path.relative_to(ROOT))
        for layer in ("lib", "workspaces", "templates_wa", "messaging", "connectors", "sigma")
        for path in (ROOT / layer).rglob("*.py")
        if models.search(path.read_text(encoding="utf-8"))
    ]

    assert {place.partition(":")[0] for place in found} == {HOME}
    assert through_models == []


def test_the_outbox_is_changed_in_few_places() -> None:
    change = re.compile(r"(?:UPDATE|INSERT INTO|DELETE FROM) outbox\b")
    found = {
        place.partition(":")[0] for place, node in statements() if change.search(text_of(node))
    }

    assert found == {
        HOME,
        "messaging/delivery/due.py",
        "messaging/broadcasts/waiting.py",
        "messaging/erasure.py",
    }


def test_everybody_changes_many_messages_in_the_order_of_their_ids() -> None:
    found = {
        place
        for place, node in statements()
        if CHANGES.search(text_of(node)) and not locks_first(node)
    }

    assert found - {"messaging/erasure.py:BITE"} == OUT_OF_ORDER


def test_the_table_is_that_of_the_document() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$",
        (ROOT / "docs/delivering.md").read_text(encoding="utf-8"),
        re.M,
    )
    said = {state: set(re.findall(r"`(\w+)`", after)) for state, after in rows}

    assert said == {str(state): set(after) for state, after in NEXT.items() if state is not None}


def test_a_message_that_is_removed_is_not_sent(acme: Cast, now: datetime) -> None:
    queue(acme, now)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM messages")

    assert not PendingSend.objects.exists()
