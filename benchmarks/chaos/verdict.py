"""Count in the database what became of every update that was answered with 200."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from connectors.simulator.traffic import SimulatedCallback
from connectors.whatsapp import ledger
from connectors.whatsapp.models import WebhookDead, WebhookDelivery, WebhookPending
from messaging.models import Message, MessageStatus
from workspaces import identity

Rows = Counter[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found; anything but zeros in the first six fields is a defect."""

    lost: int
    doubled: int
    invented: int
    pending: int
    dead: int
    unbalanced: bool
    messages: int
    statuses: int
    quarantined: int
    duplicates: int
    deliveries: int
    seconds_to_drain: float

    @property
    def is_clean(self) -> bool:
        """Whether every accepted update is stored exactly once and accounted for."""
        defects = (self.lost, self.doubled, self.invented, self.pending, self.dead)
        return not any(defects) and not self.unbalanced


def wait_until_drained(*, seconds: float) -> float:
    """Wait until nothing is pending, at most ``seconds``; return how long it took."""
    started = time.monotonic()
    while WebhookPending.objects.exists() and time.monotonic() - started < seconds:
        time.sleep(0.05)
    return time.monotonic() - started


def judge(
    tenant_id: UUID, accepted: Iterable[SimulatedCallback], *, seconds_to_drain: float
) -> Verdict:
    """Compare what was accepted with what is stored."""
    digest = identity.digester(tenant_id).wamid
    wanted = {
        (digest(update.wamid), update.status, update.participant)
        for callback in accepted
        for update in callback.updates
        if update.wamid
    }
    # The receipts of a group share one id; storage digests the participant, so count them.
    expected: Rows = Counter((wamid, status) for wamid, status, _ in wanted)
    found = _stored(tenant_id)
    book = ledger.read(tenant_id, verify=True)
    return Verdict(
        lost=(expected - found).total(),
        doubled=sum(n - expected[row] for row, n in found.items() if n > expected[row] > 0),
        invented=sum(n for row, n in found.items() if row not in expected),
        pending=book.pending,
        dead=WebhookDead.objects.filter(kind="DEAD").count(),
        unbalanced=not book.balanced,
        messages=sum(n for (_, status), n in found.items() if not status),
        statuses=sum(n for (_, status), n in found.items() if status),
        quarantined=book.quarantined,
        duplicates=book.duplicates,
        deliveries=WebhookDelivery.objects.filter(tenant_id=tenant_id).count(),
        seconds_to_drain=seconds_to_drain,
    )


def _stored(tenant_id: UUID) -> Rows:
    of_tenant = {"tenant_id": tenant_id}
    messages = Message.objects.filter(**of_tenant).values_list("platform_message_id", flat=True)
    statuses = MessageStatus.objects.filter(**of_tenant).values_list(
        "platform_message_id", "status"
    )
    return Counter((wamid, "") for wamid in messages) + Counter(statuses)
