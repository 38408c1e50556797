"""Celery's way in. Tasks carry nothing: what is to be done stands in the rows of broadcasts."""

from __future__ import annotations

import logging
from datetime import datetime

from celery import shared_task

from lib import clock
from lib.work import put_off_while_away
from messaging.broadcasts import retention
from messaging.broadcasts.tending import tend
from messaging.delivery.queues import BROADCASTS
from workspaces import purging

logger = logging.getLogger("sigma.whatsapp.broadcasts")


@shared_task(name="broadcast.tend")
def tend_broadcasts() -> None:
    """Do what is due for every live broadcast; come again at once where there is more."""
    BROADCASTS.release()
    with put_off_while_away("broadcasts", logger):
        if tend(clock=_now):
            BROADCASTS.notify()


@shared_task(name="maintenance.broadcasts")
def purge_lists() -> None:
    """Forget the lists of broadcasts that ended some time ago."""
    with put_off_while_away("purge of lists", logger):
        retention.purge(now=purging.moment(host=_now()))


def _now() -> datetime:
    return clock.now()
