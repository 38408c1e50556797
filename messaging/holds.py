"""What callers read of a message's delivery: how far it is in the outbox, what holds it there, and
which errors are history.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q

from lib import clock
from messaging.models import Broadcast, BroadcastState, PendingSend, SendingPause
from messaging.queries import MessageRow
from messaging.states import State
from messaging.statuses import ARRIVED, is_for_file

FILE_REMEDY = (
    "Meta could not use the file. One of yours is given to Meta anew with the next message that "
    "names it: send such a message, once. If that fails too, the file's coding is not what "
    "WhatsApp takes: convert it. In place of a link, upload the file."
)


class Pending(NamedTuple):
    """What the outbox holds of a message: how often it was claimed, when it is due (``None``: not
    by itself), and why it was deferred.
    """

    attempts: int
    due_at: datetime | None
    reason: str


class Holds:
    """How far some messages of one tenant are in the outbox, and what holds them there: one query
    for each kind, asked when the first of them is looked at.
    """

    def __init__(self, tenant_id: UUID, messages: Iterable[MessageRow]) -> None:
        self._tenant_id = tenant_id
        shown = list(messages)
        self._queued = [message for message in shown if message.status == State.QUEUED]
        self._sending = [message for message in shown if message.status == State.SENDING]

    def attempts_of(self, message: MessageRow) -> int:
        """Return how often somebody began to send a message."""
        pending = self._pending.get(message.id)
        return message.attempts if pending is None else pending.attempts

    def due_at(self, message: MessageRow) -> datetime | None:
        """Return when a queued message is sent, or tried again, at the earliest."""
        pending = self._pending.get(message.id)
        return None if pending is None else pending.due_at

    def delivery_of(self, message: MessageRow) -> dict[str, Any]:
        """Return a message's delivery: ``waiting`` says what holds it, ``past_errors`` are those of
        one that arrived all the same, ``remedy`` says what helps where its file was in the way.
        """
        delivery: dict[str, Any] = json.loads(message.delivery)
        if message.status in ARRIVED and "errors" in delivery:
            delivery["past_errors"] = delivery.pop("errors")
        pending = self._pending.get(message.id) if message.status == State.QUEUED else None
        if pending is not None and (waiting := self._waiting(message, pending, delivery)):
            delivery["waiting"] = waiting
        if message.status == State.FAILED and is_for_file(delivery.get("errors")):
            delivery["remedy"] = FILE_REMEDY
        return delivery

    def _waiting(self, message: MessageRow, pending: Pending, delivery: dict[str, Any]) -> str:
        """Return the first of the reasons that hold it, the widest first."""
        return self._paused(message) or self._of_broadcast(message) or _until(pending, delivery)

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
    def _pending(self) -> dict[UUID, Pending]:
        ids = [message.id for message in (*self._queued, *self._sending)]
        rows = PendingSend.objects.filter(tenant_id=self._tenant_id, pk__in=ids)
        found = rows.values_list("pk", *Pending._fields) if ids else ()
        return {row[0]: Pending(*row[1:]) for row in found}

    @cached_property
    def _pauses(self) -> list[SendingPause]:
        open_ = SendingPause.objects.filter(tenant_id=self._tenant_id, lifted_at=None)
        in_force = open_.filter(Q(until=None) | Q(until__gt=clock.now()))
        return list(in_force.order_by("since", "id")) if self._queued else []

    @cached_property
    def _broadcasts(self) -> dict[UUID, str]:
        """The reasons of paused broadcasts by id."""
        ids = {message.broadcast_id for message in self._queued if message.broadcast_id}
        rows = Broadcast.objects.filter(
            tenant_id=self._tenant_id, pk__in=ids, state=BroadcastState.PAUSED
        )
        return dict(rows.values_list("id", "reason")) if ids else {}


def _until(pending: Pending, delivery: dict[str, Any]) -> str:
    """Return why it waits for its own time: it is scheduled, or was deferred."""
    due = pending.due_at
    scheduled = delivery.get("scheduled_at")
    is_scheduled = isinstance(scheduled, str) and due == datetime.fromisoformat(scheduled)
    if is_scheduled and due is not None and due > clock.now():
        return f"It is to be sent at {scheduled}."
    return pending.reason
