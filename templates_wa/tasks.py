"""Celery's way in. The task carries no payload: which accounts are due stands in the database."""

from __future__ import annotations

import logging

from celery import shared_task
from django.utils import timezone

from templates_wa.accounts import BELL
from templates_wa.sync import run_due
from workspaces.chores import until_the_next_time

logger = logging.getLogger("sigma.whatsapp.templates")


@shared_task(name="templates.sync")
def sync_due() -> None:
    """Read the templates of the accounts that are due."""
    BELL.release()  # before looking: who asks from now on rings again
    with until_the_next_time("template sync", logger):
        run_due(now=timezone.now())
