"""Celery's way in. Tasks carry no payload: what is owed stands in the database."""

from __future__ import annotations

from datetime import UTC, datetime

from celery import shared_task

from connectors.webhooks import draining, partitions, replay, retention


@shared_task(name="ingest.drain", queue="ingest")
def drain(*, slot: int = 0) -> None:
    """Process owed callbacks until none is left."""
    draining.drain(slot)


@shared_task(name="ingest.sweep", queue="ingest")
def sweep() -> None:
    """Find what a lost doorbell left."""
    draining.sweep()


@shared_task(name="ingest.release", queue="ingest")
def release() -> None:
    """Replay quarantined updates whose phone number has a workspace by now."""
    replay.replay(replay.releasable())


@shared_task(name="maintenance.partitions", queue="maintenance")
def make_partitions() -> None:
    """Make the partitions of the coming days."""
    partitions.ensure(datetime.now(UTC).date())


@shared_task(name="maintenance.purge", queue="maintenance")
def purge() -> None:
    """Destroy keys past every tenant's retention window, then delete what they sealed."""
    retention.purge_all(now=datetime.now(UTC))
