"""Whoever asks is told what holds a message, and which errors are history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from messaging.delivery import pauses
from messaging.delivery.pauses import Pause
from messaging.models import Broadcast, Contact, Message
from tests.conftest import Cast
from tests.delivery.outgoing import become, queue
from tests.delivery.test_sending import limited, template
from tests.graphql.conftest import Gql, gql
from tests.sending.test_rest import ask

__all__ = ("gql",)

Deliver = Callable[[], int]
READ = """query Read($id: ID!) {
  messages(workspaceId: $id, first: 100) {
    nodes { id status delivery { waiting errors pastErrors } }
  }
}"""


def read(gql: Gql, cast: Cast, message: Message) -> dict:
    """Return a message's delivery as both doors tell it, by the names of GraphQL."""
    nodes = gql(cast, READ, id=str(cast.workspace.id)).data["messages"]["nodes"]
    (found,) = [node["delivery"] for node in nodes if node["id"] == str(message.id)]
    told = ask(cast, f"/api/v1/messages/{message.id}", method="get")[1]["delivery"]
    names = {"waiting": "waiting", "errors": "errors", "pastErrors": "past_errors"}
    assert {name: told.get(own) for name, own in names.items()} == found
    return found


def paused(cast: Cast, now: datetime, *, whole: bool, until: timedelta | None = None) -> None:
    number = None if whole else cast.workspace.id
    reason = "The access token is expired." if whole else "The number is not registered."
    pauses.pause([Pause(cast.tenant.id, number, 190, reason, until and now + until)], now=now)


def tenant(cast: Cast, now: datetime, deliver: Deliver) -> Message:
    paused(cast, now, whole=True)
    return queue(cast, now)


def number(cast: Cast, now: datetime, deliver: Deliver) -> Message:
    paused(cast, now, whole=False)
    return queue(cast, now)


def pair(cast: Cast, now: datetime, deliver: Deliver) -> Message:
    ann = Contact.objects.create(tenant_id=cast.tenant.id, display_name="Ann")
    messages = [queue(cast, now, contact=ann) for _ in range(46)]
    while deliver():
        pass
    return Message.objects.get(status="queued", pk__in=[message.pk for message in messages])


def portfolio(cast: Cast, now: datetime, deliver: Deliver) -> Message:
    limited(cast, now, 50)
    message = queue(cast, now, type="template", template_id=template(cast, now).id)
    deliver()
    return message


def schedule(cast: Cast, now: datetime, deliver: Deliver) -> Message:
    later = now + timedelta(days=1)
    return queue(cast, later, delivery={"scheduled_at": later.isoformat()})


def broadcast(cast: Cast, now: datetime, deliver: Deliver) -> Message:
    stopped = Broadcast.objects.create(
        tenant_id=cast.tenant.id, workspace_id=cast.workspace.id, state="PAUSED", reason="Lunch."
    )
    return queue(cast, now, due_at=None, broadcast_id=stopped.id)


def refused_template(cast: Cast, now: datetime, deliver: Deliver) -> Message:
    used = template(cast, now, status="PAUSED")
    message = queue(cast, now, type="template", template_id=used.id)
    deliver()
    return message


@pytest.mark.parametrize(
    ("hold", "said"),
    [
        (tenant, "paused for all numbers: The access token is expired."),
        (number, "paused for this number: The number is not registered."),
        (pair, "45 messages to a person"),
        (portfolio, "The messaging limit of the business portfolio"),
        (schedule, "It is to be sent at 2"),
        (broadcast, "Its broadcast is paused. Lunch."),
        (refused_template, "The template is PAUSED"),
    ],
)
def test_it_says_what_holds_a_message(
    acme: Cast, globex: Cast, now: datetime, deliver: Deliver, gql: Gql, hold, said: str
) -> None:
    message = hold(acme, now, deliver)
    theirs = queue(globex, now)

    assert said in read(gql, acme, message)["waiting"]
    assert read(gql, globex, theirs)["waiting"] is None


def test_a_pause_that_is_over_holds_nothing(acme: Cast, now: datetime, gql: Gql) -> None:
    paused(acme, now, whole=True, until=timedelta(seconds=-1))
    paused(acme, now, whole=False)
    pauses.lift(tenant_id=acme.tenant.id, by="ann", now=now)

    assert read(gql, acme, queue(acme, now))["waiting"] is None


@pytest.mark.parametrize("status", ["delivered", "read", "played", "failed", "sent"])
def test_errors_of_a_message_that_arrived_are_history(
    acme: Cast, now: datetime, gql: Gql, status: str
) -> None:
    errors = [{"code": 131026, "title": "Message undeliverable"}]
    message = queue(acme, now, status=status, delivery={"errors": errors})
    has_arrived = status not in ("failed", "sent")

    found = read(gql, acme, message)
    assert (found["pastErrors"], found["errors"]) == (
        (errors, None) if has_arrived else (None, errors)
    )


def test_it_asks_once_for_a_page(acme: Cast, now: datetime, gql: Gql) -> None:
    for _ in range(20):
        queue(acme, now)
    with CaptureQueriesContext(connection) as many:
        gql(acme, READ, id=str(acme.workspace.id))
    assert sum("sending_pauses" in query["sql"] for query in many) == 1

    become(Message.objects.all(), "sent")
    with CaptureQueriesContext(connection) as none:
        gql(acme, READ, id=str(acme.workspace.id))
    assert sum("sending_pauses" in query["sql"] for query in none) == 0
