"""Celery's way in. Tasks carry nothing: what is to be done stands in the rows of broadcasts."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from celery import shared_task
from django.db import InterfaceError, OperationalError, connection

from messaging.broadcasts import retention
from messaging.broadcasts.bell import BELL
from messaging.broadcasts.tending import tend

logger = logging.getLogger("sigma.whatsapp.broadcasts")


@shared_task(name="broadcast.tend")
def tend_broadcasts() -> None:
    """Do what is due for every live broadcast; come again at once where there is more."""
    BELL.release()
    try:
        is_more = tend(clock=_now)
    except (OperationalError, InterfaceError) as error:
        # It comes round again every second.
        logger.warning("whatsapp broadcasts put off", extra={"error": type(error).__name__})
        connection.close()
        return
    if is_more:
        BELL.ring()


@shared_task(name="maintenance.broadcasts")
def purge_lists() -> None:
    """Forget the lists of broadcasts that ended some time ago."""
    try:
        retention.purge(now=_now())
    except (OperationalError, InterfaceError) as error:
        logger.warning("whatsapp purge put off", extra={"error": type(error).__name__})
        connection.close()


def _now() -> datetime:
    return datetime.now(UTC)
