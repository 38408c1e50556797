"""A linked device is a person's account: no broadcast, template or file leaves over it."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

import pytest

from messaging.models import Broadcast, Message
from messaging.sending import queueing
from messaging.sending.refusals import UnableToSend
from messaging.sending.requests import TemplateContent, TextContent
from tests.broadcasts.conftest import draft, people, template
from tests.broadcasts.test_graphql import change, create
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql
from tests.linked_device.sends import linked
from tests.sending.conftest import _no_wake_ups, request_to
from tests.sending.test_rest import ask, text_to

__all__ = ("_no_wake_ups", "gql")

pytestmark = pytest.mark.django_db


def test_it_refuses_broadcasts_by_graphql(acme: Cast, gql: Gql) -> None:
    template(acme)
    before = draft(acme, people(2))
    linked(acme)

    (error,) = create(gql, acme)["errors"]
    assert (error["code"], error["field"]) == ("UNSUPPORTED_TRANSPORT", "workspaceId")
    (error,) = change(gql, acme, "start", before.id)["errors"]
    assert error["code"] == "UNSUPPORTED_TRANSPORT"
    assert Broadcast.objects.get().state == "DRAFT"


def test_it_refuses_templates_by_rest(acme: Cast) -> None:
    linked(acme)
    wanted = text_to(acme, template_name="welcome_message", template_params=["Ann"])
    del wanted["text"]
    status, answer = ask(acme, body=wanted)

    assert (status, answer["error"]["code"]) == (422, "UNSUPPORTED_TRANSPORT")
    assert not Message.objects.exists()


@pytest.mark.parametrize(
    ("content", "more"),
    [(TextContent("Hi"), {"broadcast_id": uuid4()}), (TemplateContent("welcome_message"), {})],
)
def test_it_refuses_whoever_asks(acme: Cast, now: datetime, content, more: dict) -> None:
    linked(acme)
    with pytest.raises(UnableToSend, match="Over LINKED_DEVICE"):
        queueing.queue(tenant_id=acme.tenant.id, request=request_to(acme, content, **more), now=now)


def test_it_takes_texts_outside_of_windows(acme: Cast) -> None:
    linked(acme)
    status, answer = ask(acme, body=text_to(acme))
    assert (status, answer["status"]) == (201, "queued")
