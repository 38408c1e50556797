"""Celery's way in. Tasks carry no payload: what is pending stands in the database."""

from __future__ import annotations

import logging
from functools import cache

from celery import shared_task
from celery.signals import worker_process_shutdown

from lib import clock
from lib.work import deferred_while_away
from messaging import transitions
from messaging.delivery import reads
from messaging.delivery.claims import waiting
from messaging.delivery.queues import SENDS
from messaging.delivery.sender import Sender

logger = logging.getLogger("sigma.whatsapp.sending")


@cache
def sender() -> Sender:
    """Return this process's sender."""
    return Sender()


@shared_task(name="send.deliver")
def deliver(*, slot: int = 0) -> None:
    """Send what is due until nothing is left, or the turn is over."""
    sender().work(slot)


@shared_task(name="send.sweep")
def sweep() -> None:
    """Wake a sender for what has become due, or whose wake-up was lost; give up on dead senders."""
    now = clock.now()
    with deferred_while_away("sweep of sends", logger):
        transitions.expire(now=now)
        if waiting(1, now=now) or reads.are_due(now=now):
            SENDS.notify()


@worker_process_shutdown.connect
def settle(**_: object) -> None:
    """Let what is under way come to its end before the process does."""
    if sender.cache_info().currsize:
        sender().close()
