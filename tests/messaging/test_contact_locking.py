"""Whoever changes many contacts locks them in the order of their ids, as with messages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import pytest
from django.db import connection, connections, transaction

from lib import bulk
from lib.ids import uuid7
from messaging import address_book, people
from messaging.models import Contact
from tests.conftest import Cast

pytestmark = pytest.mark.django_db(transaction=True)
BLOCKED = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"


def rename(tenant_id: UUID, ids: list[UUID], now: datetime) -> None:
    rows = [(tenant_id, one, "Ann", "", "", "") for one in ids]
    bulk.run(people.RENAME, people.RENAME_COLUMNS, rows)


def name(tenant_id: UUID, ids: list[UUID], now: datetime) -> None:
    columns = ("tenant_id uuid", "id uuid", "name text", "at timestamptz", "position int4")
    rows = [(tenant_id, one, "Ann", now, n) for n, one in enumerate(ids)]
    bulk.run(address_book.NAME, columns, rows)


@pytest.mark.parametrize("change", [rename, name])
def test_it_waits_for_the_first_of_many_contacts_before_it_locks_the_others(
    acme: Cast,
    now: datetime,
    wait_for: Callable[..., None],
    change: Callable[[UUID, list[UUID], datetime], None],
) -> None:
    ids = sorted(uuid7() for _ in range(8))
    for one in reversed(ids):  # in the table against the order of their ids
        Contact.objects.create(id=one, tenant_id=acme.tenant.id)

    def work() -> None:
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:  # by the order of the table, as on large ones
                    cursor.execute(
                        "SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off"
                    )
                change(acme.tenant.id, ids, now)
        finally:
            connections.close_all()

    worker = threading.Thread(target=work)
    with transaction.atomic():
        Contact.objects.select_for_update().get(pk=ids[0])
        worker.start()
        wait_for(lambda: _blocked() == 1)
        rest = Contact.objects.select_for_update(skip_locked=True).filter(pk__in=ids[1:])
        free = {contact.id for contact in rest}
    worker.join()

    assert free == set(ids[1:])


def _blocked() -> int:
    with connection.cursor() as cursor:
        cursor.execute(BLOCKED)
        return int(cursor.fetchone()[0])
