"""A broadcast of the contract's template, and lists of invented people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from messaging.broadcasts import audience, lifecycle, tending
from messaging.delivery.queues import BROADCASTS
from messaging.models import Broadcast, Message, PendingSend
from templates_wa.models import Template
from tests.conftest import Cast
from tests.delivery.outgoing import become

# +999 is assigned to no country.
FIRST = 999_555_000_000


@pytest.fixture(autouse=True)
def _no_wake_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs here, so nobody is called."""
    monkeypatch.setattr(type(BROADCASTS), "notify", lambda wake_up, slot=0: True)


def template(cast: Cast, *, text: str = "Hello {{1}}!", **columns: object) -> Template:
    """Store a template of the cast's account."""
    return Template.objects.create(
        tenant_id=cast.tenant.id,
        waba_id=cast.workspace.waba_id,
        **{
            "name": "welcome_message",
            "platform_template_id": "1",
            "language": "en",
            "category": "MARKETING",
            "status": "APPROVED",
            "synced_at": datetime.now(UTC),
            "components": [{"type": "BODY", "text": text}],
            **columns,
        },
    )


def phone(number: int) -> str:
    """Return the number of an invented person."""
    return f"+{FIRST + number}"


def people(count: int) -> bytes:
    """Return a list of ``count`` people."""
    lines = (f"{phone(n)},ref-{n},Person {n}" for n in range(count))
    return "\n".join(("phone,reference,1", *lines, "")).encode()


def draft(cast: Cast, content: bytes = b"", *, now: datetime | None = None, **more) -> Broadcast:
    """Create a broadcast with a list."""
    broadcast = lifecycle.create(
        tenant_id=cast.tenant.id,
        workspace_id=cast.workspace.id,
        name="Spring",
        template_name="welcome_message",
        now=now or datetime.now(UTC),
        **more,
    )
    if content:
        fill(broadcast, content)
    return broadcast


def fill(broadcast: Broadcast, content: bytes, **more) -> audience.ListReport:
    """Upload a list."""
    return audience.replace(**ids(broadcast), content=content, **more)


def ids(broadcast: Broadcast) -> dict:
    """Return what names a broadcast to the functions that act on one."""
    return {"tenant_id": broadcast.tenant_id, "broadcast_id": broadcast.id}


def start(broadcast: Broadcast, now: datetime, **more) -> Broadcast:
    """Start it and look after it until nothing is left to do at once."""
    lifecycle.start(**ids(broadcast), now=now, **more)
    return tend(broadcast, now)


def tend(broadcast: Broadcast, now: datetime) -> Broadcast:
    """Look after all broadcasts as the worker does, twice; return this one as it is then."""
    turn(now)
    turn(now)
    broadcast.refresh_from_db()
    return broadcast


def turn(now: datetime) -> int:
    """Look after all broadcasts as the worker does, but without its pauses, until nothing is left
    to do; return how many rows and messages were changed.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tending, "PAUSE_SECONDS", 0.0)
        return tending.tend(clock=lambda: now, idle_wait=0.0)


def deliver_all(broadcast: Broadcast, status: str = "sent") -> None:
    """Let everything of a broadcast that is pending be sent."""
    due = PendingSend.objects.filter(broadcast_id=broadcast.id, due_at__isnull=False)
    become(Message.objects.filter(pending__in=due), status)


@pytest.fixture
def running(acme: Cast, now: datetime) -> Iterator[Broadcast]:
    """A broadcast of acme's to 30 people, of whom 10 wait in the outbox."""
    template(acme)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("messaging.broadcasts.feeding.window", lambda broadcast: 10)
        yield start(draft(acme, people(30)), now)
