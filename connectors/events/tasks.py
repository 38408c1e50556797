"""The Celery tasks of events to tenants' apps. They carry no payload: what is pending is a row."""

from __future__ import annotations

import logging

from celery import shared_task

from connectors.events import retention, worker
from lib import clock
from lib.work import deferred_while_away
from workspaces import purging

logger = logging.getLogger("sigma.whatsapp.events")


@shared_task(name="events.deliver")
def deliver() -> None:
    """Deliver what is due."""
    worker.deliver()


@shared_task(name="events.sweep")
def sweep() -> None:
    """Find what is due after a lost wake-up, a killed worker or a failed attempt."""
    with deferred_while_away("sweep of events", logger):
        worker.sweep(now=clock.now())


@shared_task(name="maintenance.events")
def purge() -> None:
    """Delete events that are past their time."""
    with deferred_while_away("purge of events", logger):
        retention.purge(now=purging.moment(host=clock.host_now()))
