"""Pending messages of ours, and a platform that does with them what a test wants."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import QuerySet

from lib.envelope import associated_data
from lib.ids import uuid7
from messaging.models import Contact, Message, PendingSend
from messaging.references import seal_id
from messaging.transitions import SEALED_REQUEST
from tests.conftest import Cast
from workspaces import keys
from workspaces.channel_facts import AcceptedSend
from workspaces.channels import Credentials, OutgoingFile

Answer = Callable[[dict], AcceptedSend | Exception]


def accept(request: dict) -> AcceptedSend:
    """Take a message."""
    return AcceptedSend(f"wamid.{request['biz_opaque_callback_data']}", "15550123456")


@dataclass
class Platform:
    """What was posted, by number, and how the next posts are answered."""

    posted: list[tuple[str, str]] = field(default_factory=list)
    read: list[tuple[str, bool]] = field(default_factory=list)
    answer: Answer = accept
    # Files that were given to it: the number, the type and the bytes; and how that is answered.
    files: list[tuple[str, str, bytes]] = field(default_factory=list)
    trouble: Exception | None = None
    bodies: list[dict] = field(default_factory=list)

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

    async def send(self, request: bytes) -> AcceptedSend:
        """Post a message."""
        body = json.loads(request)
        PLATFORM.posted.append((self.external_id, body["biz_opaque_callback_data"]))
        PLATFORM.bodies.append(body)
        answer = PLATFORM.answer(body)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def upload_media(self, file: OutgoingFile) -> str:
        """Take a file."""
        if PLATFORM.trouble is not None:
            raise PLATFORM.trouble
        content = b"".join(file.pieces())
        assert len(content) == file.size
        PLATFORM.files.append((self.external_id, file.mime_type, content))
        return str(1_000 + len(PLATFORM.files))

    async def mark_read(self, platform_message_id: str, *, typing: bool) -> None:
        """Mark a message as read."""
        PLATFORM.read.append((platform_message_id, typing))
        answer = PLATFORM.answer({"biz_opaque_callback_data": ""})
        if isinstance(answer, Exception):
            raise answer


def queue(
    cast: Cast, now: datetime, *, contact: Contact | None = None, **columns: object
) -> Message:
    """Queue one message, to a person of its own unless they are given. ``columns`` are those of
    either table.
    """
    person = contact or Contact.objects.create(tenant_id=cast.tenant.id, display_name="Somebody")
    given = {"id": uuid7(), "type": "text", "status": "queued", "due_at": now, **columns}
    if given["status"] != "queued":
        given["due_at"] = None
    if given["status"] == "sending":
        given.setdefault("lease_until", now + timedelta(days=365))
    of_message, of_outbox = (
        {name: value for name, value in given.items() if name in {f.attname for f in fields}}
        for fields in (Message._meta.concrete_fields, PendingSend._meta.concrete_fields)
    )
    message = Message.objects.create(
        tenant_id=cast.tenant.id,
        workspace=cast.workspace,
        contact=person,
        **{
            "direction": "OUTBOUND",
            "source": "API",
            "timestamp_utc": now,
            "text": "Hello",
            **of_message,
        },
    )
    if given["status"] in ("queued", "sending"):
        PendingSend.objects.create(
            message=message,
            tenant_id=cast.tenant.id,
            workspace_id=cast.workspace.id,
            contact_id=person.id,
            sealed_request=seal(cast, message.id),
            **of_outbox,
        )
    return message


def pending(message: Message) -> PendingSend | None:
    """Return what the outbox holds of a message now."""
    return PendingSend.objects.filter(pk=message.pk).first()


def become(messages: QuerySet[Message], status: str, **columns: object) -> None:
    """Let messages be in another state, with what the outbox holds of them then."""
    ids = list(messages.values_list("pk", flat=True))
    rows = PendingSend.objects.filter(pk__in=ids)
    now = datetime.now().astimezone()
    if status == "sending":
        rows.update(due_at=None, lease_until=now + timedelta(days=365))
        for row in rows:
            Message.objects.filter(pk=row.pk).update(attempts=row.attempts)
    elif status == "queued":
        rows.update(due_at=now, lease_until=None)
    else:
        rows.delete()
    Message.objects.filter(pk__in=ids).update(status=status, **columns)


def seal(cast: Cast, message_id: uuid.UUID) -> bytes:
    """Return a request as it is kept until it is sent."""
    body = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": f"+1555{message_id.int % 10_000_000:07}",
        "type": "text",
        "text": {"body": "Hello"},
        "biz_opaque_callback_data": str(message_id),
    }
    place = associated_data(cast.tenant.id, SEALED_REQUEST, message_id)
    return keys.field_cipher(cast.tenant.id).seal(json.dumps(body).encode(), place)


def heard(cast: Cast, now: datetime, wamid: str) -> Message:
    """Store a message of a person, whose id can be opened."""
    message_id = uuid7()
    cipher = keys.day_cipher(cast.tenant.id, now.date())
    return Message.objects.create(
        id=message_id,
        tenant_id=cast.tenant.id,
        workspace=cast.workspace,
        direction="INBOUND",
        source="LIVE",
        type="text",
        timestamp_utc=now,
        platform_message_id=wamid[::-1],
        sealed_id=seal_id(cipher, cast.tenant.id, message_id, wamid),
    )
