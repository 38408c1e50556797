"""Celery's way in to numbers, tokens and what is kept for a day: tasks carry no payload."""

from __future__ import annotations

import logging
from random import Random

from celery import shared_task
from celery.signals import worker_process_shutdown

from lib import clock
from lib.work import deferred_while_away
from messaging import (
    addresses,
    archive,
    block_lists,
    blocks,
    desk,
    fetching,
    merging,
    number_sync,
    portfolios,
    search_index,
    token_watch,
    uploads,
)
from workspaces import purging, token_checks

logger = logging.getLogger("sigma.whatsapp.numbers")


@shared_task(name="numbers.sync")
def sync_numbers() -> None:
    """Ask about the numbers whose turn it is."""
    number_sync.WAKE_UP.release()  # before looking: who asks from now on calls again
    with deferred_while_away("number sync", logger):
        number_sync.sync_due(now=clock.now())


@shared_task(name="blocks.perform")
def perform_blocks() -> None:
    """Tell the platform whom numbers block, and read the lists whose turn it is."""
    blocks.WAKE_UP.release()
    with deferred_while_away("blocking of people", logger):
        now, chance = clock.now(), Random()  # noqa: S311 - no secret
        block_lists.perform_due(now=now, chance=chance)
        block_lists.sync_due(now=now)


@shared_task(name="tokens.check")
def check_tokens() -> None:
    """Check the access tokens whose turn it is."""
    token_checks.WAKE_UP.release()
    with deferred_while_away("token check", logger):
        token_watch.watch(now=clock.now())


@shared_task(name="maintenance.recipients")
def forget_recipients() -> None:
    """Forget who counts against no messaging limit any more."""
    with deferred_while_away("forgetting of recipients", logger):
        portfolios.forget(now=purging.moment(host=clock.host_now()))


@shared_task(name="maintenance.addresses")
def forget_addresses() -> None:
    """Remove the addresses of people who were last seen before their tenant's retention window."""
    with deferred_while_away("purge of addresses", logger):
        addresses.purge(now=purging.moment(host=clock.host_now()))


@shared_task(name="maintenance.uploads")
def forget_uploads() -> None:
    """Remove files that are past their time: to send, and kept by archives."""
    with deferred_while_away("purge of files", logger):
        now = purging.moment(host=clock.host_now())
        uploads.purge(now=now)
        archive.purge(now=now)


@shared_task(name="archive.fetch")
def fetch_files() -> None:
    """Fetch files for archives."""
    fetching.fetcher().work()


@shared_task(name="archive.sweep")
def sweep_files() -> None:
    """Wake a worker for files that archives want."""
    with deferred_while_away("sweep of archives", logger):
        fetching.sweep(now=clock.now())


@worker_process_shutdown.connect
def stop_fetching(**_: object) -> None:
    """Begin no more files."""
    if fetching.fetcher.cache_info().currsize:
        fetching.fetcher().close()


@shared_task(name="maintenance.merged")
def settle_merged_contacts() -> None:
    """Give messages the contact that theirs was merged into."""
    with deferred_while_away("settling of merged contacts", logger):
        merging.settle(now=clock.now())


@shared_task(name="maintenance.words")
def read_words() -> None:
    """Read the words of messages that came, so that search finds them by these."""
    with deferred_while_away("reading of words", logger):
        search_index.read_pending()


@shared_task(name="conversations.wake")
def wake_conversations() -> None:
    """Open the snoozed conversations whose time came."""
    with deferred_while_away("waking of conversations", logger):
        desk.wake(now=clock.now())
