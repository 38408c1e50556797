"""Several workers at once, and workers that die: nothing twice, nothing lost, nobody stuck."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from urllib.parse import quote

import pytest
from django.db import connection, connections, transaction

from connectors.whatsapp import ledger
from connectors.whatsapp.models import WebhookPending
from connectors.whatsapp.processing import process_batch
from messaging.models import Contact, Message, MessageStatus
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, contact, deliver, status, text

pytestmark = pytest.mark.django_db(transaction=True)

DRAIN = """
import django
django.setup()
from connectors.whatsapp.processing import process_batch
process_batch(100)
"""


@pytest.fixture(autouse=True)
def _no_raw_left(transactional_db: None) -> Iterator[None]:
    yield
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE webhook_deliveries")


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    """Threads with database connections of their own, as worker processes have."""
    with ThreadPoolExecutor(3) as pool:
        yield pool


def in_own_connection(run: Callable[[], object]) -> object:
    try:
        return run()
    finally:
        connections.close_all()


def drain(batch: int) -> int:
    total = 0
    while count := process_batch(batch):
        total += count
    return total


class Paused:
    """A worker that has done its batch and not committed yet, until :meth:`commit`."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._done, self._go = threading.Event(), threading.Event()
        self._future: Future[object] = pool.submit(in_own_connection, self._work)
        assert self._done.wait(120)

    def commit(self) -> None:
        self._go.set()
        self._future.result(120)

    def _work(self) -> None:
        with transaction.atomic():
            process_batch(1)
            self._done.set()
            self._go.wait(120)


def waiting() -> bool:
    """Whether another connection waits for a lock."""
    with connection.cursor() as cursor:
        # A transaction sees the activity as it was when it first looked, unless told to forget it.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database())"
        )
        return bool(cursor.fetchone()[0])


def test_it_stores_once_what_several_workers_find_in_their_batches(
    acme: Cast, globex: Cast, workers: ThreadPoolExecutor
) -> None:
    random = Random(7)
    for cast in (acme, globex):
        for _ in range(30):
            numbers = random.sample(range(20), 5)
            messages = [text(f"wamid.{n}", sender=f"1555010000{n % 4}") for n in numbers]
            people = [contact(f"1555010000{n % 4}", f"Name {random.random()}") for n in numbers]
            receipts = [status(f"wamid.{n}", random.choice(("sent", "read"))) for n in numbers]
            content = {"messages": messages, "contacts": people, "statuses": receipts}
            deliver(cast.tenant.id, callback(cast.workspace.external_id, **content))

    running = [workers.submit(in_own_connection, lambda: drain(4)) for _ in range(3)]

    assert sum(future.result(120) for future in running) == 60
    for cast in (acme, globex):
        mine = {"tenant_id": cast.tenant.id}
        sent = set(Message.objects.filter(**mine).values_list("platform_message_id"))
        assert len(sent) == Message.objects.filter(**mine).count() == 20
        assert Contact.objects.filter(**mine).count() == 4
        entry = ledger.read(cast.tenant.id, verify=True)
        assert (entry.accepted, entry.processed, entry.balanced) == (300, 300, True)


def echo(cast: Cast, wamid: str = "wamid.E") -> dict:
    said = {**text(wamid, sender="15550100001"), "to": "15550123456"}
    field = "smb_message_echoes"
    return callback(cast.workspace.external_id, field=field, message_echoes=[said])


def receipt(cast: Cast, word: str) -> dict:
    return callback(cast.workspace.external_id, statuses=[status("wamid.E", word)])


@pytest.mark.parametrize("words", [("delivered", "read"), ("read", "delivered")])
def test_it_lets_two_receipts_of_one_message_pass_one_after_the_other(
    acme: Cast, workers: ThreadPoolExecutor, wait_for, words: tuple[str, str]
) -> None:
    deliver(acme.tenant.id, echo(acme))
    process_batch(1)
    for word in words:
        deliver(acme.tenant.id, receipt(acme, word))

    first = Paused(workers)
    second = workers.submit(in_own_connection, lambda: process_batch(1))
    wait_for(waiting)
    first.commit()
    second.result(120)

    message = Message.objects.get()
    assert message.status == "read"
    assert {"delivered_at", "read_at"} <= message.delivery.keys()


@pytest.mark.parametrize("message_first", [True, False])
def test_it_joins_a_message_and_its_receipt_that_two_workers_store_at_once(
    acme: Cast, workers: ThreadPoolExecutor, wait_for, message_first: bool
) -> None:
    bodies = [echo(acme), receipt(acme, "read")]
    for body in bodies if message_first else reversed(bodies):
        deliver(acme.tenant.id, body)

    first = Paused(workers)
    second = workers.submit(in_own_connection, lambda: process_batch(1))
    wait_for(waiting)
    first.commit()
    second.result(120)

    assert Message.objects.get().status == "read"
    assert MessageStatus.objects.count() == 1


def test_it_makes_one_contact_where_two_workers_meet_a_stranger(
    acme: Cast, workers: ThreadPoolExecutor, wait_for
) -> None:
    for wamid in ("wamid.1", "wamid.2"):
        deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[text(wamid)]))

    first = Paused(workers)
    second = workers.submit(in_own_connection, lambda: process_batch(1))
    wait_for(waiting)
    first.commit()
    second.result(120)

    assert Contact.objects.count() == 1
    assert Message.objects.values("contact").distinct().count() == 1


def test_it_does_not_wait_for_a_worker_of_another_tenant(
    acme: Cast, globex: Cast, workers: ThreadPoolExecutor
) -> None:
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[text("wamid.A")]))
    slow = Paused(workers)
    deliver(globex.tenant.id, callback(globex.workspace.external_id, messages=[text("wamid.G")]))

    assert workers.submit(in_own_connection, lambda: process_batch(10)).result(120) == 1

    assert Message.objects.get().tenant_id == globex.tenant.id
    slow.commit()


@contextmanager
def nobody_can_finish() -> Iterator[None]:
    """Hold the table that every batch writes last."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE webhook_ledger IN EXCLUSIVE MODE")
        yield


def start_worker_process() -> subprocess.Popen[bytes]:
    """Start a worker on the test's database."""
    known = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items()}
    url = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**known)
    env = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "sigma.settings"}
    return subprocess.Popen([sys.executable, "-c", DRAIN], env=env)


def test_it_owes_everything_that_a_killed_worker_had_in_hand(
    acme: Cast, globex: Cast, wait_for
) -> None:
    for cast in (acme, globex):
        for number in range(5):
            messages = [text(f"wamid.{number}"), text(f"wamid.{number + 1}")]
            deliver(cast.tenant.id, callback(cast.workspace.external_id, messages=messages))
    deliver(acme.tenant.id, b"not json")

    with nobody_can_finish():
        worker = start_worker_process()
        wait_for(waiting)
        worker.send_signal(signal.SIGKILL)
        assert worker.wait() == -signal.SIGKILL
        assert WebhookPending.objects.count() == 11
        assert not Message.objects.exists()

    done: list[int] = []
    wait_for(lambda: done.append(process_batch(100)) or sum(done) == 11)
    for cast, extra in ((acme, 1), (globex, 0)):
        assert Message.objects.filter(tenant_id=cast.tenant.id).count() == 6
        entry = ledger.read(cast.tenant.id, verify=True)
        assert (entry.accepted, entry.dead, entry.balanced) == (10 + extra, extra, True)


def test_it_notes_an_attempt_at_what_waited_long_before_it_may_die_of_it(
    acme: Cast, globex: Cast, wait_for
) -> None:
    at = datetime.now(UTC) - timedelta(minutes=1)
    for cast in (acme, globex):
        body = callback(cast.workspace.external_id, messages=[text("wamid.1")])
        deliver(cast.tenant.id, body, at=at)

    with nobody_can_finish():
        worker = start_worker_process()
        wait_for(waiting)
        worker.kill()
        worker.wait()

    assert list(WebhookPending.objects.values_list("attempts", flat=True)) == [1, 1]
    assert process_batch(100) == 0  # for a moment they are the dead worker's
    WebhookPending.objects.update(tried_at=at)
    wait_for(lambda: process_batch(100) == 2)
    assert Message.objects.count() == 2
