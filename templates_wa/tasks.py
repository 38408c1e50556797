"""Celery's way in. The task carries no payload: which accounts are due stands in the database."""

from __future__ import annotations

import logging

from celery import shared_task

from lib import clock
from lib.work import deferred_while_away
from templates_wa.accounts import WAKE_UP
from templates_wa.sync import run_due

logger = logging.getLogger("sigma.whatsapp.templates")


@shared_task(name="templates.sync")
def sync_due() -> None:
    """Read the templates of the accounts that are due."""
    WAKE_UP.release()  # before looking: who asks from now on calls again
    with deferred_while_away("template sync", logger):
        run_due(now=clock.now())
