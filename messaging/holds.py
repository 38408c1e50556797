"""What callers read of a message's delivery: what holds it now, and which errors are history."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from messaging.models import Broadcast, BroadcastState, SendingPause
from messaging.queries import MessageRow
from messaging.statuses import ARRIVED

QUEUED = "queued"


class Holds:
    """What holds some queued messages of one tenant: one query for each kind, asked when the first
    of them is looked at.
    """

    def __init__(self, tenant_id: UUID, messages: Iterable[MessageRow]) -> None:
        self._tenant_id = tenant_id
        self._queued = [message for message in messages if message.status == QUEUED]

    def delivery_of(self, message: MessageRow) -> dict[str, Any]:
        """Return a message's delivery: ``waiting`` says what holds it, ``past_errors`` are those of
        one that arrived all the same.
        """
        delivery: dict[str, Any] = json.loads(message.delivery)
        if message.status in ARRIVED and "errors" in delivery:
            delivery["past_errors"] = delivery.pop("errors")
        if message.status == QUEUED and (waiting := self._waiting(message, delivery)):
            delivery["waiting"] = waiting
        return delivery

    def _waiting(self, message: MessageRow, delivery: dict[str, Any]) -> str:
        """Return the first of the reasons that hold it, the widest first."""
        return self._paused(message) or self._of_broadcast(message) or _until(message, delivery)

    def _paused(self, message: MessageRow) -> str:
        for pause in self._pauses:
            if pause.workspace_id in (None, message.workspace_id):
                whose = "this number" if pause.workspace_id else "all numbers"
                return f"Sending is paused for {whose}: {pause.reason}"
        return ""

    def _of_broadcast(self, message: MessageRow) -> str:
        reason = self._broadcasts.get(message.broadcast_id) if message.broadcast_id else None
        return "" if reason is None else f"Its broadcast is paused. {reason}".strip()

    @cached_property
    def _pauses(self) -> list[SendingPause]:
        open_ = SendingPause.objects.filter(tenant_id=self._tenant_id, lifted_at=None)
        in_force = open_.filter(Q(until=None) | Q(until__gt=timezone.now()))
        return list(in_force.order_by("since", "id")) if self._queued else []

    @cached_property
    def _broadcasts(self) -> dict[UUID, str]:
        """The reasons of paused broadcasts by id."""
        ids = {message.broadcast_id for message in self._queued if message.broadcast_id}
        rows = Broadcast.objects.filter(
            tenant_id=self._tenant_id, pk__in=ids, state=BroadcastState.PAUSED
        )
        return dict(rows.values_list("id", "reason")) if ids else {}


def _until(message: MessageRow, delivery: dict[str, Any]) -> str:
    """Return why it waits for its own time: it is scheduled, or was put off."""
    due = message.next_attempt_at
    scheduled = delivery.get("scheduled_at")
    is_scheduled = isinstance(scheduled, str) and due == datetime.fromisoformat(scheduled)
    if is_scheduled and due is not None and due > timezone.now():
        return f"It is to be sent at {scheduled}."
    return str(delivery.get("waiting") or "")
