"""Celery's way in to outgoing events. Tasks carry no payload: what is owed is a row."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from celery import shared_task
from django.db import InterfaceError, OperationalError, connection

from connectors.outgoing import delivering, retention

logger = logging.getLogger("sigma.whatsapp.events")


@shared_task(name="events.deliver")
def deliver() -> None:
    """Deliver what is due."""
    delivering.deliver()


@shared_task(name="events.sweep")
def sweep() -> None:
    """Find what a lost bell, a killed deliverer or a time for another attempt left."""
    try:
        delivering.sweep(now=datetime.now(UTC))
    except (OperationalError, InterfaceError) as error:  # it comes round again
        logger.warning("whatsapp events not swept", extra={"error": type(error).__name__})
        connection.close()


@shared_task(name="maintenance.events")
def purge() -> None:
    """Delete events that are past their time."""
    try:
        retention.purge(now=datetime.now(UTC))
    except (OperationalError, InterfaceError) as error:
        logger.warning("whatsapp events not purged", extra={"error": type(error).__name__})
        connection.close()
