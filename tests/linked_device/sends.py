"""Linked devices of the cast, what they report, and a device that sends as a test wants."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from connectors.linked_device import leases, sessions
from connectors.linked_device.events import (
    ChatMember,
    Event,
    LinkedAccount,
    MessageArrived,
    ReceiptArrived,
    Sent,
)
from connectors.linked_device.models import SenderSession
from lib.envelope import associated_data
from messaging.models import Contact, Message, NumberState, PendingSend
from messaging.transitions import SEALED_REQUEST
from tests.conftest import Cast
from tests.delivery import outgoing
from workspaces import keys

ANNA = ChatMember(phone="27831234567", lid="170000000000001", name="Anna")


class FakeDevice:
    """A device of the port; ``answer`` decides what becomes of each send."""

    library = "fake 1"

    def __init__(self, answer: Callable[[str, str], Sent | Exception] | None = None) -> None:
        self.sent: list[tuple[str, str]] = []
        self.answer = answer or (lambda number, text: Sent(f"3EB0{len(self.sent):016X}"))

    def start(self, store: Path, listen: Callable[[Event], None]) -> None:
        """Nothing connects."""

    def pair_code(self, number: str) -> str:
        """Return a code nobody types."""
        return "ABCD-EFGH"

    def send_text(self, number: str, text: str) -> Sent:
        """Note it and answer as the test wants."""
        self.sent.append((number, text))
        answer = self.answer(number, text)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def account(self) -> LinkedAccount | None:
        """Nobody's."""
        return None

    def stop(self) -> None:
        """Nothing was connected."""


def linked(cast: Cast, **columns: object) -> SenderSession:
    """Make the cast's workspace one of a linked device that is connected."""
    cast.workspace.transport = "LINKED_DEVICE"
    cast.workspace.waba_id = ""
    cast.workspace.save()
    NumberState.objects.update_or_create(
        workspace=cast.workspace, defaults={"tenant_id": cast.tenant.id, "status": "CONNECTED"}
    )
    session = sessions.of_workspace(tenant_id=cast.tenant.id, workspace_id=cast.workspace.id)
    SenderSession.objects.filter(pk=session.pk).update(**{"state": "CONNECTED", **columns})
    return SenderSession.objects.select_related("workspace").get(pk=session.pk)


def leased(session: SenderSession) -> leases.Lease:
    """Take the session's lease for this process."""
    return leases.acquire(session.id, owner=uuid4(), host=socket.gethostname(), pid=os.getpid())


def queue(
    cast: Cast,
    now: datetime,
    *,
    number: str = "27831234567",
    text: str = "Hello",
    contact: Contact | None = None,
    **columns: object,
) -> Message:
    """Queue a text to a number."""
    message = outgoing.queue(cast, now, contact=contact, **columns)
    body = {"to": f"+{number}", "type": "text", "text": {"preview_url": False, "body": text}}
    place = associated_data(cast.tenant.id, SEALED_REQUEST, message.id)
    sealed = keys.field_cipher(cast.tenant.id).seal(json.dumps(body).encode(), place)
    PendingSend.objects.filter(pk=message.pk).update(sealed_request=sealed)
    return message


def said(
    now: datetime, message_id: str = "3EB0AA", *, who: ChatMember = ANNA, **more
) -> MessageArrived:
    """Return a text of a person."""
    facts = {"kind": "text", "text": "Good morning", **more}
    return MessageArrived(message_id, who, facts.pop("sender", who), now, **facts)


def receipt(now: datetime, *ids: str, status: str = "delivered") -> ReceiptArrived:
    """Return a receipt of Anna's phone."""
    return ReceiptArrived(ids, ANNA, status, now)
