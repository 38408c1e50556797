"""Celery's way in to numbers, tokens and what is kept for a day: tasks carry no payload."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from celery import shared_task
from django.db import InterfaceError, OperationalError, connection

from messaging import number_sync, retention, token_watch

logger = logging.getLogger("sigma.whatsapp.numbers")


@contextmanager
def _until_the_next_time(task: str) -> Iterator[None]:
    """Give up quietly while the database is away: every task here comes round again."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        logger.warning("whatsapp %s put off", task, extra={"error": type(error).__name__})
        connection.close()


@shared_task(name="numbers.sync")
def sync_numbers() -> None:
    """Ask about the numbers whose turn it is."""
    number_sync.BELL.release()
    with _until_the_next_time("number sync"):
        number_sync.sync_due(now=datetime.now(UTC))


@shared_task(name="tokens.check")
def check_tokens() -> None:
    """Check the access tokens whose turn it is."""
    with _until_the_next_time("token check"):
        token_watch.watch(now=datetime.now(UTC))


@shared_task(name="maintenance.recipients")
def forget_recipients() -> None:
    """Forget who counts against no messaging limit any more."""
    with _until_the_next_time("forgetting of recipients"):
        retention.forget_recipients(now=datetime.now(UTC))
