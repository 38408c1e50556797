"""Empty the work list: batch after batch while there is work, then a moment of patience, then
leave.
"""

from __future__ import annotations

import logging
import time

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from connectors.models import WebhookPending
from connectors.whatsapp import doorbell
from connectors.whatsapp.processing import BRAKE, process_batch
from lib.brake import Stopped

logger = logging.getLogger("sigma.whatsapp.processing")

# A drain that stays for a moment saves the next callback the way through the broker.
LINGER_SECONDS = 1.0
POLL_SECONDS = 0.02
# What a batch costs whatever its size is a dozen round trips: while there is no backlog, a few
# callbacks more per batch are worth a few milliseconds. After one of only a few the pause is whole:
# a busy host, where each takes long, would run them back to back, with ever fewer in them.
PAUSE_SECONDS, FEW = 0.05, 50
# A drain gives its place back now and then, so that its worker can be stopped or restarted.
TURN_SECONDS = 5.0
# Work older than this without a drain has lost its bell.
OVERDUE_SECONDS = 1.0


def drain(slot: int) -> int:
    """Process until nothing is owed or the turn is over; return how many callbacks that was."""
    total, started = 0, time.monotonic()
    idle_since = started
    if BRAKE.pause:
        doorbell.BELL.stay(slot, seconds=BRAKE.pause)
        return 0
    while (now := time.monotonic()) - started < TURN_SECONDS:
        count = _attempt(slot)
        if count is None:
            return total
        total += count
        if count:
            idle_since = time.monotonic()
        elif slot > 0 or now - idle_since > LINGER_SECONDS:
            return total + (_leave(slot) or 0)
        time.sleep(_pause_after(count, time.monotonic() - now))
    doorbell.BELL.release(slot)
    doorbell.ring(slot)
    return total


def sweep() -> bool:
    """Ring for work whose bell was lost; return whether a drain was called."""
    overdue = "received_at < clock_timestamp() - make_interval(secs => %s)"
    waiting = WebhookPending.objects.extra(where=[overdue], params=[OVERDUE_SECONDS])  # noqa: S610
    return waiting.exists() and doorbell.ring()


def _pause_after(count: int, spent: float) -> float:
    if count == 0:
        return POLL_SECONDS
    if _is_backlog(count):
        return 0.0
    return PAUSE_SECONDS if count < FEW else max(0.0, PAUSE_SECONDS - spent)


def _is_backlog(count: int) -> bool:
    return count >= settings.SIGMA_INGEST_BATCH // 2


def _attempt(slot: int) -> int | None:
    """Process one batch and stay if there was one; ``None`` if it cannot go on."""
    count = _look(slot)
    if count:
        doorbell.BELL.stay(slot)
        if _is_backlog(count) and slot + 1 < settings.SIGMA_INGEST_DRAINS:
            doorbell.ring(slot + 1)
    return count


def _look(slot: int) -> int | None:
    """Process one batch; ``None`` if the database is away or everything fails alike: the work
    stays owed, the sweep comes back.
    """
    try:
        return process_batch(settings.SIGMA_INGEST_BATCH)
    except Stopped as stopped:
        # The key stays until the next trial: nobody calls a drain before that.
        doorbell.BELL.stay(slot, seconds=BRAKE.stop(stopped))
        return None
    except (OperationalError, InterfaceError) as error:
        logger.warning("whatsapp batch put back", extra={"error": type(error).__name__})
        connection.close()
        doorbell.BELL.release(slot)
        return None


def _leave(slot: int) -> int | None:
    """Remove the key first, then look once more: who commits after that look rings again.

    The look leaves no key behind, or he would ring in vain. What it found may be followed by more.
    """
    doorbell.BELL.release(slot)
    count = _look(slot)
    if count:
        doorbell.ring(slot)
    return count
