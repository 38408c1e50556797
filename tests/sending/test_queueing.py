"""What is queued becomes one pending row, for the person who will answer."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from messaging.models import Conversation, Message
from messaging.sending.queueing import queue
from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.sending.requests import TemplateContent, TextContent
from templates_wa.parameters import TemplateParameters
from tests.conftest import Cast
from tests.sending.conftest import PHONE, hear, request_to, template, wire_of
from workspaces.acting import as_tenant

pytestmark = pytest.mark.django_db

WELCOME = TemplateContent("welcome_message", None, TemplateParameters(positional=("John",)))


def send(cast: Cast, now: datetime, *args: object, **more: object):
    """Queue a message the way requests do: as the tenant's role."""
    with as_tenant(cast.tenant.id):
        return queue(tenant_id=cast.tenant.id, request=request_to(cast, *args, **more), now=now)


def refused(cast: Cast, now: datetime, *args: object, **more: object) -> UnableToSend:
    """Queue a message that is refused; return the refusal."""
    with pytest.raises(UnableToSend) as info:
        send(cast, now, *args, **more)
    assert Message.objects.filter(direction="OUTBOUND").count() == 0
    return info.value


def test_it_owes_a_text_to_whoever_wrote(acme: Cast, heard: Message, now: datetime) -> None:
    queued = send(acme, now, TextContent("Hi"))

    row = Message.objects.get(pk=queued.message_id)
    assert (row.direction, row.source, row.status, row.text) == ("OUTBOUND", "API", "queued", "Hi")
    assert row.contact_id == heard.contact_id
    assert (row.pending.due_at, row.pending.expires_at) == (now, now + timedelta(hours=24))
    assert row.platform_message_id is None
    assert wire_of(row.id) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": f"+{PHONE}",
        "type": "text",
        "text": {"preview_url": False, "body": "Hi"},
        "biz_opaque_callback_data": str(row.id),
    }
    assert Conversation.objects.get(contact_id=row.contact_id).last_message_id == row.id


def test_it_owes_a_template_to_a_stranger(acme: Cast, now: datetime) -> None:
    row_of_template = template(acme)

    queued = send(acme, now, WELCOME, phone="+1234567890")

    row = Message.objects.get(pk=queued.message_id)
    assert row.text == "Hello John! Welcome to SIGMA Analytics."
    assert row.pending.template_id == row_of_template.id
    assert row.content == {
        "template": {
            "name": "welcome_message",
            "language": "en",
            "category": "MARKETING",
            "parameters": {"positional": ["John"]},
        }
    }
    assert wire_of(row.id)["template"] == {
        "name": "welcome_message",
        "language": {"code": "en"},
        "components": [{"type": "body", "parameters": [{"type": "text", "text": "John"}]}],
    }
    answer = hear(acme, now, phone="1234567890")
    assert answer.contact_id == row.contact_id


def test_it_sends_no_text_to_a_stranger(acme: Cast, now: datetime) -> None:
    refusal = refused(acme, now)

    assert (refusal.code, refusal.platform_code) == (SendErrorCode.WINDOW_CLOSED, 131047)
