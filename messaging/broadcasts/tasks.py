"""Celery's way in. Tasks carry nothing: what is to be done stands in the rows of broadcasts."""

from __future__ import annotations

import logging

from celery import shared_task

from lib import clock
from lib.work import deferred_while_away
from messaging.broadcasts import retention, tending
from workspaces import purging

logger = logging.getLogger("sigma.whatsapp.broadcasts")


@shared_task(name="broadcast.tend")
def tend(*, slot: int = 0) -> None:
    """Look after live broadcasts for a turn."""
    tending.tend(slot=slot)


@shared_task(name="broadcast.sweep")
def sweep() -> None:
    """Find broadcasts whose time has come, and what a lost wake-up left."""
    with deferred_while_away("sweep of broadcasts", logger):
        tending.sweep(now=clock.now())


@shared_task(name="maintenance.broadcasts")
def purge_lists() -> None:
    """Forget the lists of broadcasts that ended some time ago."""
    with deferred_while_away("purge of lists", logger):
        retention.purge(now=purging.moment(host=clock.host_now()))
