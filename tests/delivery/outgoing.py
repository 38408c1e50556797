"""Messages of ours that are owed, and a platform that does with them what a test wants."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from lib.envelope import associated_data
from lib.ids import uuid7
from messaging.delivery.opening import PLACE
from messaging.models import Contact, Message
from messaging.settling import seal_id
from tests.conftest import Cast
from workspaces import keys
from workspaces.channel_facts import Accepted
from workspaces.channels import Credentials

Answer = Callable[[dict], Accepted | Exception]


def accept(request: dict) -> Accepted:
    """Take a message."""
    return Accepted(f"wamid.{request['biz_opaque_callback_data']}", "15550123456")


@dataclass
class Platform:
    """What was posted, by number, and how the next posts are answered."""

    posted: list[tuple[str, str]] = field(default_factory=list)
    read: list[tuple[str, bool]] = field(default_factory=list)
    answer: Answer = accept

    @property
    def ids(self) -> list[str]:
        """Our ids of the posted messages, in order."""
        return [message_id for _, message_id in self.posted]


# Channels are made by name; this is where they find the test's platform.
PLATFORM = Platform()


class FakeChannel:
    """A channel to :data:`PLATFORM`."""

    def __init__(self, *, external_id: str, account_id: str, credentials: Credentials) -> None:
        self.external_id = external_id

    async def send(self, request: bytes) -> Accepted:
        """Post a message."""
        body = json.loads(request)
        PLATFORM.posted.append((self.external_id, body["biz_opaque_callback_data"]))
        answer = PLATFORM.answer(body)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def mark_read(self, platform_message_id: str, *, typing: bool) -> None:
        """Mark a message as read."""
        PLATFORM.read.append((platform_message_id, typing))
        answer = PLATFORM.answer({"biz_opaque_callback_data": ""})
        if isinstance(answer, Exception):
            raise answer


def queue(
    cast: Cast, now: datetime, *, contact: Contact | None = None, **columns: object
) -> Message:
    """Queue one message, to a person of its own unless he is given."""
    message_id = uuid7()
    person = contact or Contact.objects.create(tenant_id=cast.tenant.id, display_name="Somebody")
    return Message.objects.create(
        id=message_id, tenant_id=cast.tenant.id, workspace=cast.workspace, contact=person,
        sealed_request=seal(cast, message_id),
        **{
            "direction": "OUTBOUND", "source": "API", "type": "text", "status": "queued",
            "timestamp_utc": now, "next_attempt_at": now, "text": "Hello", **columns,
        },
    )  # fmt: skip


def seal(cast: Cast, message_id: uuid.UUID) -> bytes:
    """Return a request as it is kept until it is sent."""
    body = {
        "messaging_product": "whatsapp", "recipient_type": "individual",
        "to": f"+1555{message_id.int % 10_000_000:07}", "type": "text", "text": {"body": "Hello"},
        "biz_opaque_callback_data": str(message_id),
    }  # fmt: skip
    place = associated_data(cast.tenant.id, PLACE, message_id)
    return keys.field_cipher(cast.tenant.id).seal(json.dumps(body).encode(), place)


def heard(cast: Cast, now: datetime, wamid: str) -> Message:
    """Store a message of a person, whose id can be opened."""
    message_id = uuid7()
    cipher = keys.day_cipher(cast.tenant.id, now.date())
    return Message.objects.create(
        id=message_id, tenant_id=cast.tenant.id, workspace=cast.workspace, direction="INBOUND",
        source="LIVE", type="text", timestamp_utc=now, platform_message_id=wamid[::-1],
        sealed_id=seal_id(cipher, cast.tenant.id, message_id, wamid),
    )  # fmt: skip
