"""Claim the next message of a session's workspace: it is reserved in one transaction that requires
the session's lease, and sent only while the process still has that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import transaction

from connectors.linked_device import leases, logs
from connectors.linked_device.leases import Lease
from lib import bulk
from messaging import transitions
from messaging.attempts import Attempt
from messaging.delivery import pauses
from messaging.delivery.due import (
    Due,
    Failed,
    PutOff,
    due,
    examine,
    put_off,
    request_of,
    reserve,
)
from messaging.identities import ALL_IDS
from workspaces.models import TenantStatus, Workspace

# Longer than any message waits for its time; one that was not marked by then is due again.
RESERVED_SECONDS = 60.0
# How soon to look again: where nothing is due, and where sending is paused.
IDLE_SECONDS, PAUSED_SECONDS = 0.5, 5.0
CAPPED = "A linked device sends at most {} messages to one person in 24 hours."
WINDOW = timedelta(hours=24)
# A message may wait for so long before it leaves: scheduled, and then until it expires.
OLDEST = timedelta(days=62)
# Messages that may have been sent count too. The one in the window that has to leave it first.
PERSON = ALL_IDS.format(tenant_id="%(tenant)s", contact_id="%(contact)s::uuid")
NTH = f"""
SELECT sent.at FROM ({PERSON}) person (id)
JOIN messages m ON m.contact_id = person.id CROSS JOIN LATERAL (SELECT CASE
    WHEN m.status = 'sending' THEN %(now)s
    ELSE coalesce(m.delivery->>'accepted_at', m.delivery->>'unknown_at')::timestamptz END
) sent (at)
WHERE m.tenant_id = %(tenant)s AND m.workspace_id = %(workspace)s AND m.source = 'API'
  AND m.timestamp_utc > %(oldest)s AND sent.at > %(since)s
ORDER BY sent.at DESC OFFSET %(cap)s - 1 LIMIT 1
"""  # noqa: S608 - names of ours


@dataclass(frozen=True, slots=True)
class Ready:
    """A reserved message, and what to send to which number (digits)."""

    attempt: Attempt
    number: str = field(repr=False)
    text: str = field(repr=False)


class _Text(msgspec.Struct):
    body: str


class _Request(msgspec.Struct):
    to: str
    text: _Text


def claim(lease: Lease, workspace_id: UUID, *, now: datetime, chance: Random) -> Ready | float:
    """Reserve the message that is due next, or return the seconds until the next call.

    Raises:
        leases.LeaseLost: another process has the session; nothing is reserved.
        django.db.OperationalError, django.db.InterfaceError: the database is away.
    """
    with transaction.atomic():
        leases.require(lease)
        rows = due([(lease.tenant_id, workspace_id, 1)], now=now)
        if not rows:
            return IDLE_SECONDS
        if not may_send(lease.tenant_id, workspace_id, now=now):
            return PAUSED_SECONDS
        (row,) = rows
        verdict = _verdict(row, now, chance)
        if isinstance(verdict, Ready):
            reserve([row], seconds=RESERVED_SECONDS, now=now)
            return verdict
        if isinstance(verdict, PutOff):
            put_off([(row, verdict)])
        else:
            _fail(row, verdict, now)
        return 0.0


def may_send(tenant_id: UUID, workspace_id: UUID, *, now: datetime) -> bool:
    """Return whether nothing stops a workspace's sends: neither it, its tenant, nor a pause."""
    active = Workspace.objects.filter(
        pk=workspace_id, tenant_id=tenant_id, is_active=True, tenant__status=TenantStatus.ACTIVE
    )
    held = pauses.open_pauses(tenant_id=tenant_id, workspace_id=workspace_id, now=now)
    return active.exists() and not held.exists()


def _verdict(row: Due, now: datetime, chance: Random) -> Ready | PutOff | Failed:
    refused = examine(row, now=now, chance=chance)
    return refused or _over_quota(row, now) or _ready(row)


def _over_quota(row: Due, now: datetime) -> PutOff | None:
    if row.contact_id is None:
        return None
    cap = int(settings.SIGMA_SENDER_CONTACT_CAP)
    until = free_at(
        tenant_id=row.tenant_id,
        workspace_id=row.workspace_id,
        contact_id=row.contact_id,
        cap=cap,
        now=now,
    )
    if until is None:
        return None
    # One that will not be worth sending by then is given up when it expires, not later.
    return PutOff(min(until, row.expires_at or until), CAPPED.format(cap))


def _ready(row: Due) -> Ready | Failed:
    request = request_of(row)
    if isinstance(request, Failed):
        return request
    try:
        wanted = msgspec.json.decode(request, type=_Request)
    except msgspec.DecodeError:
        return Failed("UNSUPPORTED", "A linked device sends texts to phone numbers, nothing else.")
    attempt = Attempt(
        row.id,
        row.tenant_id,
        row.workspace_id,
        row.contact_id,
        row.template_id,
        row.attempts + 1,
        row.expires_at,
    )
    return Ready(attempt, wanted.to.lstrip("+"), wanted.text.body)


def _fail(row: Due, why: Failed, now: datetime) -> None:
    if transitions.fail({(row.tenant_id, row.id): why.facts()}, now=now):
        ids = {"message_id": row.id, "workspace_id": row.workspace_id}
        logs.failed(**ids, number=None, code=why.code, message=why.title)


def free_at(
    *, tenant_id: UUID, workspace_id: UUID, contact_id: UUID, cap: int, now: datetime
) -> datetime | None:
    """Return when a person may be written to again who got ``cap`` messages within 24 hours;
    ``None``: now. Counted from the messages, so that it outlives every process.

    An account that writes to one person again and again is reported, and banned.
    """
    facts: dict[str, Any] = {
        "tenant": tenant_id,
        "workspace": workspace_id,
        "contact": contact_id,
        "cap": cap,
        "now": now,
        "since": now - WINDOW,
        "oldest": now - OLDEST,
    }
    with bulk.cursor() as cursor:
        cursor.execute(NTH, facts)
        row = cursor.fetchone()
    return None if row is None else row[0] + WINDOW
