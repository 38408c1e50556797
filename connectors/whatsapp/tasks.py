"""Celery tasks. They carry no payload: what is pending stands in the database."""

from __future__ import annotations

import logging
from datetime import timedelta

from celery import shared_task

from connectors.whatsapp import processing, replay, retention
from lib import clock
from lib.work import deferred_while_away
from workspaces import keys

logger = logging.getLogger("sigma.whatsapp.processing")

# The task runs every hour: tomorrow's keys are made in time though a run or two fail.
KEYS_FROM_HOUR = 20


@shared_task(name="ingest.drain")
def drain(*, slot: int = 0) -> None:
    """Process pending callbacks for a turn."""
    processing.drain(slot)


@shared_task(name="ingest.sweep")
def sweep() -> None:
    """Find what a lost wake-up left."""
    with deferred_while_away("sweep", logger):
        processing.sweep()


@shared_task(name="ingest.release")
def release() -> None:
    """Replay quarantined updates whose phone number has a workspace by now."""
    with deferred_while_away("release", logger):
        replay.replay(replay.releasable())


@shared_task(name="maintenance.partitions")
def make_partitions() -> None:
    """Make the partitions of the coming days and, in the evening, tomorrow's keys: at midnight all
    tenants would want theirs at once.
    """
    with deferred_while_away("partitions", logger):
        now = clock.now()
        retention.ensure_partitions(now.date())
        if now.hour >= KEYS_FROM_HOUR:
            keys.prepare_day(now.date() + timedelta(days=1))


@shared_task(name="maintenance.purge")
def purge() -> None:
    """Destroy keys past every tenant's retention window, then delete what they sealed."""
    with deferred_while_away("purge", logger):
        retention.purge_all(now=clock.host_now())
