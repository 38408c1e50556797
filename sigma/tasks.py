"""Celery's way in to what several apps do together: tasks carry no payload."""

from __future__ import annotations

import logging

from celery import shared_task

from lib import clock
from lib.work import deferred_while_away
from sigma import erasure

logger = logging.getLogger("sigma.whatsapp.retention")


@shared_task(name="maintenance.people")
def erase_people() -> None:
    """Perform the erasures of people that are pending."""
    with deferred_while_away("erasure of people", logger):
        erasure.erase_people(now=clock.now())
