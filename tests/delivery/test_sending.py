"""What is owed is sent once, recorded, and never goes back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from messaging.models import Message
from tests.conftest import Cast
from tests.delivery.outgoing import Platform, queue
from workspaces import identity


def test_it_sends_what_is_owed_once_and_records_it(
    acme: Cast, globex: Cast, now: datetime, platform: Platform, deliver: Callable[[], int]
) -> None:
    ours, theirs = queue(acme, now), queue(globex, now)
    assert deliver() == 2
    assert deliver() == 0
    assert sorted(platform.posted) == [
        (cast.workspace.external_id, str(message.id))
        for cast, message in ((acme, ours), (globex, theirs))
    ]
    ours.refresh_from_db()
    assert (ours.status, ours.attempts, ours.lease_until) == ("accepted", 1, None)
    assert ours.sealed_request is None
    digest = identity.digester(acme.tenant.id).wamid(f"wamid.{ours.id}")
    assert ours.platform_message_id == digest
    assert Message.objects.filter(status="accepted").count() == 2
