"""What callers do with a broadcast: create, start, pause, resume, cancel. None of it sends."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from messaging import transitions
from messaging.broadcasts import waiting
from messaging.broadcasts.brake import judge_anew
from messaging.broadcasts.permission import check_sendable, check_workspace, template_of
from messaging.broadcasts.refusals import BroadcastErrorCode, UnableToBroadcast
from messaging.broadcasts.rows import NO_PARAMETERS
from messaging.broadcasts.states import Verb, for_update, move, must_act
from messaging.delivery.queues import BROADCASTS
from messaging.models import Broadcast, BroadcastRecipient, BroadcastState, RecipientState
from templates_wa.parameters import TemplateParameters, write
from workspaces.models import Tenant

MOST_NAME = 200


def create(
    *,
    tenant_id: UUID,
    workspace_id: UUID,
    name: str,
    template_name: str,
    language: str | None = None,
    shared: TemplateParameters = NO_PARAMETERS,
    expires_at: datetime | None = None,
    created_by: str = "",
    now: datetime,
) -> Broadcast:
    """Make a broadcast with an empty list; the template may still be in review.

    Raises:
        UnableToBroadcast: unusable name, workspace, template or time.
    """
    title = name.strip()
    if not 1 <= len(title) <= MOST_NAME or not title.isprintable():
        raise _bad("name", f"1 to {MOST_NAME} printable characters are expected.")
    workspace = check_workspace(tenant_id=tenant_id, workspace_id=workspace_id)
    _check_expiry(expires_at, after=now)
    return Broadcast.objects.create(
        tenant_id=tenant_id,
        workspace_id=workspace_id,
        name=title,
        template_name=template_name,
        language=template_of(workspace, template_name, language),
        shared=write(shared),
        expires_at=expires_at,
        created_by=created_by,
    )


def start(
    *,
    tenant_id: UUID,
    broadcast_id: UUID,
    scheduled_at: datetime | None = None,
    skip_invalid: bool = False,
    now: datetime,
) -> Broadcast:
    """Freeze the list and have every row checked; what passes is sent at once, or when scheduled.

    Raises:
        UnableToBroadcast: not in this state, an empty list, an unusable workspace, template or
            time.
    """
    with transaction.atomic():
        broadcast = for_update(tenant_id=tenant_id, broadcast_id=broadcast_id)
        if not must_act(broadcast, Verb.START):
            return broadcast
        check_sendable(broadcast)
        _check_schedule(broadcast, scheduled_at, now)
        _check_expiry(broadcast.expires_at, after=scheduled_at or now)
        rows = BroadcastRecipient.objects.filter(tenant_id=tenant_id, broadcast_id=broadcast_id)
        if not rows.exists():
            raise UnableToBroadcast(
                BroadcastErrorCode.NO_RECIPIENTS, "id", "The list is empty: add recipients first."
            )
        rows.exclude(state=RecipientState.PENDING).update(
            state=RecipientState.PENDING, code="", reason=""
        )
        broadcast.scheduled_at, broadcast.skip_invalid = scheduled_at, skip_invalid
        broadcast.checked_to = 0
        move(broadcast, BroadcastState.CHECKING, now=now)
        transaction.on_commit(BROADCASTS.notify, robust=True)
        return broadcast


def pause(*, tenant_id: UUID, broadcast_id: UUID, reason: str = "", now: datetime) -> Broadcast:
    """Stop feeding, and suspend what waits; messages that are being sent are finished.

    Raises:
        UnableToBroadcast: there is none, or not in this state.
    """
    with transaction.atomic():
        broadcast = for_update(tenant_id=tenant_id, broadcast_id=broadcast_id)
        if must_act(broadcast, Verb.PAUSE):
            move(broadcast, BroadcastState.PAUSED, now=now, reason=reason)
            waiting.suspend(broadcast)
        return broadcast


def resume(*, tenant_id: UUID, broadcast_id: UUID, now: datetime) -> Broadcast:
    """Go on where it was paused.

    Raises:
        UnableToBroadcast: there is none, not in this state, or its workspace or template cannot be
            used now.
    """
    with transaction.atomic():
        broadcast = for_update(tenant_id=tenant_id, broadcast_id=broadcast_id)
        if must_act(broadcast, Verb.RESUME):
            check_sendable(broadcast)
            _go_on(broadcast, now)
            transaction.on_commit(BROADCASTS.notify, robust=True)
        return broadcast


def retry_failed(
    *, tenant_id: UUID, broadcast_id: UUID, codes: Collection[int] | None = None, now: datetime
) -> tuple[Broadcast, int]:
    """Send again to the people whose messages failed (with one of these codes of Meta's, where any
    are named), and go on where it was paused or completed; return how many people that is.

    Nobody is written to again whose message is not ``failed``: what may have left stays as it is.

    Raises:
        UnableToBroadcast: there is none, not in this state, expired, its list was deleted, or its
            workspace or template cannot be used now.
    """
    with transaction.atomic():
        broadcast = for_update(tenant_id=tenant_id, broadcast_id=broadcast_id)
        must_act(broadcast, Verb.RETRY)
        check_sendable(broadcast)
        if broadcast.purged_at is not None:
            raise _bad("id", "Its list was deleted: nobody can be written to again.")
        _check_expiry(broadcast.expires_at, after=now)
        count = waiting.take_back_failed(broadcast, codes=codes, now=now)
        if count:
            broadcast.ended_at = None
            _go_on(broadcast, now)
            transaction.on_commit(BROADCASTS.notify, robust=True)
        return broadcast, count


def _go_on(broadcast: Broadcast, now: datetime) -> None:
    """Let it run, and judge it by what comes from now on."""
    judge_anew(broadcast, now=now)
    if broadcast.state == BroadcastState.RUNNING:
        broadcast.save()
        return
    move(broadcast, next_of_checked(broadcast, now), now=now)
    waiting.release(broadcast, now=now)


def cancel(*, tenant_id: UUID, broadcast_id: UUID, reason: str = "", now: datetime) -> Broadcast:
    """End it for good: what waits is withdrawn, messages that are being sent are finished.

    Raises:
        UnableToBroadcast: there is none, or it is completed.
    """
    with transaction.atomic():
        broadcast = for_update(tenant_id=tenant_id, broadcast_id=broadcast_id)
        if must_act(broadcast, Verb.CANCEL):
            move(broadcast, BroadcastState.CANCELLED, now=now, reason=reason)
            give_up(broadcast)
            transitions.cancel_broadcast(tenant_id=tenant_id, broadcast_id=broadcast_id, now=now)
        return broadcast


def give_up(broadcast: Broadcast, *, code: str = "", reason: str = "") -> None:
    """Mark the rows that were not sent yet as cancelled."""
    BroadcastRecipient.objects.filter(
        tenant_id=broadcast.tenant_id, broadcast_id=broadcast.id, state=RecipientState.PENDING
    ).update(state=RecipientState.CANCELLED, code=code, reason=reason)


def next_of_checked(broadcast: Broadcast, now: datetime) -> BroadcastState:
    """Return what a broadcast whose rows were checked becomes: it waits for its time, or runs."""
    is_early = broadcast.started_at is None and (broadcast.scheduled_at or now) > now
    return BroadcastState.SCHEDULED if is_early else BroadcastState.RUNNING


def _check_schedule(broadcast: Broadcast, scheduled_at: datetime | None, now: datetime) -> None:
    """Refuse a time behind the window in which the list may be kept."""
    days = Tenant.objects.values_list("retention_days", flat=True).get(pk=broadcast.tenant_id)
    _check_offset("scheduled_at", scheduled_at)
    if scheduled_at is not None and scheduled_at > broadcast.created_at + timedelta(days=days):
        raise _bad(
            "scheduled_at",
            f"A time within {days} days of the broadcast's creation is expected: its list is kept "
            "no longer.",
        )


def _check_expiry(expires_at: datetime | None, *, after: datetime) -> None:
    _check_offset("expires_at", expires_at)
    if expires_at is not None and expires_at <= after:
        raise _bad("expires_at", "A time after the start is expected.")


def _check_offset(field: str, moment: datetime | None) -> None:
    if moment is not None and moment.tzinfo is None:
        raise _bad(field, "A time with an offset is expected, such as Z or +02:00.")


def _bad(field: str, message: str) -> UnableToBroadcast:
    return UnableToBroadcast(BroadcastErrorCode.INVALID_INPUT, field, message)
