"""Keep what the platform says about numbers up to date: each is asked about once an hour, and soon
after somebody wanted it or the platform reported that something changed.

``sync_due_at`` is when a number's turn comes; while it is asked about, that is the end of a lease.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from lib.wakeups import WakeUp
from messaging import numbers
from messaging.models import NumberState
from workspaces import ownership
from workspaces.channel_errors import ChannelError, Throttled, Unavailable
from workspaces.channel_facts import NumberFacts
from workspaces.channels import channel_for
from workspaces.events import Event, emit
from workspaces.keys import TenantHasNoKeys
from workspaces.models import HOSTED, Proof, Workspace

logger = logging.getLogger("sigma.whatsapp.numbers")

WAKE_UP = WakeUp("numbers", task="numbers.sync", queue="maintenance")
EVERY = timedelta(hours=1)
AFTER_FAILURE = timedelta(minutes=5)
LEASE = timedelta(minutes=5)
# Numbers asked about by one task, and how often in a row nobody may answer before it gives up.
MOST, MOST_SILENCES = 100, 3
# The facts whose change is worth an event.
TOLD = (
    "verified_name",
    "status",
    "quality_rating",
    "messaging_limit",
    "throughput_level",
    "account_mode",
    "is_on_business_app",
    "can_send",
    "problem",
)
IN_EVENTS = ("status", "quality_rating", "messaging_limit", "throughput_level", "can_send")

# The fields of account callbacks that report a change: the facts themselves are asked for, as what
# a callback says of them differs from version to version.
TELLING = frozenset(
    {
        "account_alerts",
        "account_review_update",
        "account_update",
        "business_capability_update",
        "business_status_update",
        "phone_number_name_update",
        "phone_number_quality_update",
    }
)

# Also of workspaces that were edited since: they may stand for another number now.
CLAIM = """
INSERT INTO number_states AS n (workspace_id, tenant_id, sync_due_at)
SELECT w.id, w.tenant_id, %(lease)s
FROM workspaces w JOIN tenants t ON t.id = w.tenant_id
LEFT JOIN number_states s ON s.workspace_id = w.id
WHERE w.is_active AND t.status = 'ACTIVE' AND w.transport <> ALL(%(hosted)s) AND (
    coalesce(s.sync_due_at <= %(now)s, true) OR (w.updated_at > s.synced_at AND s.sync_error = '')
)
ORDER BY s.sync_due_at NULLS FIRST, w.id LIMIT %(most)s
ON CONFLICT (tenant_id, workspace_id) DO UPDATE SET sync_due_at = excluded.sync_due_at
RETURNING workspace_id
"""


def sync(workspace: Workspace, *, now: datetime) -> NumberState:
    """Ask the platform about a workspace's number, and store what it says.

    Raises:
        workspaces.channel_errors.ChannelError: no token, or no proper answer; what was known stays.
        workspaces.keys.TenantHasNoKeys: the tenant is being erased.
    """
    facts = channel_for(workspace, now=now).number()
    with transaction.atomic():
        ownership.prove_number(workspace, Proof.TOKEN, now=now)
        if facts.account_id:
            ownership.prove_account(workspace, facts.account_id, Proof.TOKEN, now=now)
        state, is_new = NumberState.objects.select_for_update().get_or_create(
            workspace=workspace, defaults={"tenant_id": workspace.tenant_id}
        )
        is_changed = _take(state, facts)
        state.synced_at, state.sync_error = now, ""
        if is_new or state.sync_due_at is not None:  # else somebody wanted it since we asked
            state.sync_due_at = now + EVERY
        state.save()
        if is_changed:
            emit([_event(state, now)])
    return state


def sync_due(*, now: datetime) -> int:
    """Ask about the numbers whose turn it is; return how many answers there were."""
    answers = silences = 0
    for workspace in Workspace.objects.filter(pk__in=_claim(now)).order_by("id"):
        try:
            sync(workspace, now=now)
        except TenantHasNoKeys:
            continue
        except ChannelError as error:
            _failed(workspace, error, now)
            silences += isinstance(error, Unavailable)
        else:
            answers, silences = answers + 1, 0
        if silences == MOST_SILENCES:
            break  # the platform is away; the lease ends, and their turn comes again
    return answers


def want(workspace_ids: Iterable[UUID]) -> None:
    """Let numbers be asked about soon; a worker is woken with the caller's commit."""
    # In order: two transactions that want the same numbers wait for, not on, each other.
    rows = NumberState.objects.filter(pk__in=list(workspace_ids)).order_by("pk")
    known = list(rows.select_for_update().values_list("pk", flat=True))
    NumberState.objects.filter(pk__in=known).update(sync_due_at=None)
    transaction.on_commit(_wake_worker, robust=True)


def want_accounts(accounts: Collection[tuple[UUID, str]]) -> None:
    """Request a sync of all numbers of these accounts (tenant, WABA id): the platform reported a
    change.
    """
    if not accounts:
        return
    tenants, wabas = {tenant for tenant, _ in accounts}, {waba for _, waba in accounts}
    rows = Workspace.objects.filter(tenant_id__in=tenants, waba_id__in=wabas - {""})
    found = rows.values_list("pk", "tenant_id", "waba_id")
    want(pk for pk, tenant_id, waba_id in found if (tenant_id, waba_id) in accounts)


def _wake_worker() -> None:
    WAKE_UP.notify()


def _claim(now: datetime) -> list[UUID]:
    facts: dict[str, Any] = {"now": now, "lease": now + LEASE, "most": MOST, "hosted": list(HOSTED)}
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, facts)
        return [row[0] for row in cursor.fetchall()]


def _failed(workspace: Workspace, error: ChannelError, now: datetime) -> None:
    wait = AFTER_FAILURE
    if isinstance(error, Throttled) and error.retry_after is not None:
        wait = max(wait, timedelta(seconds=error.retry_after))
    rows = NumberState.objects.filter(pk=workspace.pk)
    rows.update(sync_due_at=now + wait, sync_error=f"{error} {error.details}".strip())
    logger.warning(
        "whatsapp number not synced",
        extra={
            "workspace_id": workspace.pk,
            "code": error.code,
            "trace_id": error.trace_id,
            "error": type(error).__name__,
        },
    )


def _take(state: NumberState, facts: NumberFacts) -> bool:
    """Write what was reported into the row; return whether anything is new."""
    before = [getattr(state, name) for name in TOLD]
    for name in TOLD:
        setattr(state, name, getattr(facts, name))
    # What is not reported this time is still so.
    state.portfolio_id = facts.portfolio_id or state.portfolio_id
    if facts.number and facts.number != numbers.number_of(state):
        state.sealed_number = numbers.seal(
            facts.number, tenant_id=state.tenant_id, workspace_id=state.workspace_id
        )
    return before != [getattr(state, name) for name in TOLD]


def _event(state: NumberState, now: datetime) -> Event:
    data = {name: getattr(state, name) for name in IN_EVENTS}
    data["workspace_id"] = str(state.workspace_id)
    return Event(state.tenant_id, "number.updated", data, now)
