"""Process the callbacks that are pending: the work loop's view of them."""

from __future__ import annotations

import logging

from django.conf import settings

from connectors.whatsapp.models import WebhookPending
from connectors.whatsapp.processing import BRAKE, process_batch
from lib import work
from lib.wakeups import WakeUp
from lib.work import Work

WAKE_UP = WakeUp(name="drain", task="ingest.drain", queue="ingest")
POLL_SECONDS = 0.02
# What a batch costs whatever its size is a dozen round trips: while there is no backlog, a few
# callbacks more per batch are worth a few milliseconds. After one of only a few the pause is whole:
# a busy host, where each takes long, would run them back to back, with ever fewer in them.
PAUSE_SECONDS, FEW = 0.05, 50
# Work older than this without a turn has lost its wake-up.
OVERDUE_SECONDS = 1.0


class Callbacks(Work):
    """Pending callbacks."""

    what = "callbacks"
    wake_up = WAKE_UP
    brake = BRAKE
    logger = logging.getLogger("sigma.whatsapp.processing")

    def __init__(self) -> None:
        self.slots = settings.SIGMA_INGEST_DRAINS

    def step(self) -> int:
        """Process one batch."""
        return process_batch(settings.SIGMA_INGEST_BATCH)

    def is_behind(self, count: int) -> bool:
        """Whether a batch was at least half full."""
        return count >= settings.SIGMA_INGEST_BATCH // 2

    def pause(self, count: int, spent: float) -> float:
        """Wait for more callbacks, unless many are waiting already."""
        if count == 0:
            return POLL_SECONDS
        if self.is_behind(count):
            return 0.0
        return PAUSE_SECONDS if count < FEW else max(0.0, PAUSE_SECONDS - spent)


def drain(slot: int) -> int:
    """Process what is pending for one turn; return how many callbacks that was."""
    return work.run(Callbacks(), slot)


def sweep() -> bool:
    """Call for work whose wake-up was lost; return whether a turn was called."""
    overdue = "received_at < clock_timestamp() - make_interval(secs => %s)"
    waiting = WebhookPending.objects.extra(where=[overdue], params=[OVERDUE_SECONDS])  # noqa: S610
    return waiting.exists() and WAKE_UP.notify()
