"""What erasing a tenant does to its linked devices: they end, and their accounts are removed.

Stores and backups are on the machines of session hosts, which may be down at the moment: each
removes what it has of an erased tenant whenever it is up (:func:`stores.remove_erased`). Backups
are unreadable before that, by the loss of the tenant's keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from uuid import UUID

from django.db import connection

from connectors.linked_device import backup_files, sessions, stores
from connectors.linked_device.models import SenderSession, StoreRemoval

# How long sessions are waited for: a send that is under way may end.
PATIENCE_SECONDS = 20.0
POLL_SECONDS = 0.25

LIVE = """
SELECT count(*) FROM session_leases
WHERE tenant_id = %s AND owner IS NOT NULL AND expires_at > clock_timestamp()
"""
# A process with the old token sends and writes nothing any more.
CUT_OFF = """
UPDATE session_leases SET owner = NULL, pid = 0, fencing_token = fencing_token + 1,
    expires_at = clock_timestamp()
WHERE tenant_id = %s AND owner IS NOT NULL
"""


def count(tenant_id: UUID) -> dict[str, int]:
    """Return how many stores and backups of a tenant are on this machine."""
    found = list(_files(tenant_id))
    return {
        "sender stores": sum(path.name == stores.NAME for path in found),
        "sender backups": sum(bool(backup_files.NAME.fullmatch(path.name)) for path in found),
    }


def stop(tenant_id: UUID, *, now: datetime, sleep: Callable[[float], None]) -> int:
    """End a tenant's sessions, and ask every machine to remove what it has of them.

    One that does not end within 20 seconds is cut off: its process may still be there, and sends
    nothing. Returns how many were.
    """
    for session_id in SenderSession.objects.filter(tenant_id=tenant_id).values_list(
        "pk", flat=True
    ):
        sessions.stop(session_id, now=now)
    for _ in range(round(PATIENCE_SECONDS / POLL_SECONDS)):
        if not (live := _live(tenant_id)):
            break
        sleep(POLL_SECONDS)
    else:
        live = _live(tenant_id)
    with connection.cursor() as cursor:
        cursor.execute(CUT_OFF, [tenant_id])
    StoreRemoval.objects.get_or_create(erased_tenant=tenant_id)
    return live


def remove(tenant_id: UUID) -> dict[str, int]:
    """Remove a tenant's stores and backups from this machine; return how many there were.

    Raises:
        OSError: something of it is left.
    """
    counts = count(tenant_id)
    stores.remove_tenant(tenant_id)
    return counts


def _live(tenant_id: UUID) -> int:
    with connection.cursor() as cursor:
        cursor.execute(LIVE, [tenant_id])
        (live,) = cursor.fetchone()
    return int(live)


def _files(tenant_id: UUID) -> Iterator[Path]:
    for folder, _, names in os.walk(stores.tenant_folder(tenant_id)):
        yield from (Path(folder, name) for name in names)
