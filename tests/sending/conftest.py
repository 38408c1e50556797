"""People who wrote to acme, and requests to answer them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from connectors.whatsapp.processing import process_batch
from lib.envelope import associated_data
from messaging.delivery.queues import SENDS
from messaging.models import Message, PendingSend
from messaging.sending.requests import Content, Recipient, SendRequest, TextContent
from messaging.transitions import SEALED_REQUEST
from templates_wa.models import Template
from tests.conftest import Cast
from tests.graphql.conftest import gql
from tests.whatsapp.deliveries import callback, contact, deliver, text
from workspaces import keys

__all__ = ("gql",)

PHONE = "15550123456"


@pytest.fixture(autouse=True)
def _no_wake_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs here, so nobody is called."""
    monkeypatch.setattr(type(SENDS), "notify", lambda wake_up, slot=0: True)


def hear(cast: Cast, at: datetime, *, phone: str = PHONE, wamid: str = "wamid.HEARD") -> Message:
    """Let a person write to the cast; return the message as stored."""
    said = text(wamid, "Hello", phone, int(at.timestamp()))
    known = {message.pk for message in Message.objects.filter(tenant_id=cast.tenant.id)}
    deliver(
        cast.tenant.id,
        callback(cast.workspace.external_id, messages=[said], contacts=[contact(phone)]),
    )
    process_batch(10)
    return Message.objects.filter(tenant_id=cast.tenant.id).exclude(pk__in=known).get()


@pytest.fixture
def heard(acme: Cast, now: datetime) -> Message:
    """What a person wrote to acme an hour ago."""
    return hear(acme, now - timedelta(hours=1))


def request_to(
    cast: Cast,
    content: Content | None = None,
    *,
    phone: str | None = f"+{PHONE}",
    user_id: str | None = None,
    **more: object,
) -> SendRequest:
    """Return a request; a text unless given another content."""
    recipient = Recipient(phone, user_id) if user_id is None else Recipient(None, user_id)
    return SendRequest(
        workspace_id=cast.workspace.id,
        recipient=recipient,
        content=content or TextContent("Hi"),
        **more,
    )


def template(cast: Cast, name: str = "welcome_message", **columns: object) -> Template:
    """Store a template of the cast's account: the contract's, unless told otherwise."""
    body = {"type": "BODY", "text": "Hello {{1}}! Welcome to SIGMA Analytics."}
    return Template.objects.create(
        tenant_id=cast.tenant.id,
        waba_id=cast.workspace.waba_id,
        name=name,
        **{
            "platform_template_id": "1",
            "language": "en",
            "category": "MARKETING",
            "status": "APPROVED",
            "components": [body],
            "synced_at": datetime.now().astimezone(),
            **columns,
        },
    )


def wire_of(message_id: UUID) -> dict:
    """Open what will be sent."""
    row = PendingSend.objects.get(pk=message_id)
    place = associated_data(row.tenant_id, SEALED_REQUEST, row.pk)
    return json.loads(keys.field_cipher(row.tenant_id).open(bytes(row.sealed_request), place))
