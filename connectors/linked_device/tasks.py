"""Celery's way in to linked devices. It touches no session: those have processes of their own."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from celery import shared_task

from connectors.linked_device import retention
from workspaces.chores import until_the_next_time

logger = logging.getLogger("sigma.whatsapp.sender")


@shared_task(name="maintenance.pairings")
def forget_pairings() -> None:
    """Remove codes of pairings that are over."""
    with until_the_next_time("purge of pairings", logger):
        retention.forget_pairings(now=datetime.now(UTC))
