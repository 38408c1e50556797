"""A process that holds a session for tests, as a session process does, only faster: it takes the
lease, keeps it, and does its guarded work over and over. ``library`` is whose work came last.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from uuid import UUID, uuid4

import django

WORK = "UPDATE sender_sessions SET library = %s WHERE id = %s"


def main() -> None:
    """Hold ``session`` for ``host``, renewed ``every`` so many seconds, lost after ``patience``."""
    session, host, every, patience = sys.argv[1:]
    django.setup()
    leases = importlib.import_module("connectors.linked_device.leases")
    lease = leases.acquire(UUID(session), owner=uuid4(), host=host, pid=os.getpid())
    limits = {"every": float(every), "patience": float(patience)}
    leases.LeaseKeeper(lease, alarm=leases.kernel_alarm, **limits).start()
    sys.stdout.write(f"held {lease.owner} {lease.fencing_token}\n")
    sys.stdout.flush()
    while True:
        work(leases, lease)
        time.sleep(0.02)


def work(leases: object, lease: object) -> None:
    """Write something down that only the owner may; an absent database or lease is the keeper's."""
    db = importlib.import_module("django.db")
    try:
        with db.transaction.atomic(), db.connection.cursor() as cursor:
            leases.require(lease)
            cursor.execute(WORK, [str(lease.fencing_token), lease.session_id])
    except (db.Error, leases.LeaseLost):
        db.connection.close()


if __name__ == "__main__":
    main()
