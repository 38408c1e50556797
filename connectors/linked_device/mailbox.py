"""What a linked device told becomes durable before its callback returns, in the inbox that Meta's
callbacks go through: the same processing, retention and erasure for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from django.db import InterfaceError, OperationalError, connection, transaction

from connectors.linked_device.events import Content, MessageArrived
from connectors.linked_device.wire import body_of
from connectors.models import SenderSession
from connectors.whatsapp import raw
from connectors.whatsapp.draining import WAKE_UP
from workspaces import keys
from workspaces.identity import digester


class Mailbox:
    """Where one session's messages and receipts go."""

    def __init__(self, *, session: SenderSession) -> None:
        self._session_id, self._tenant_id = session.id, session.tenant_id
        self._external_id = session.workspace.external_id

    def keep(self, events: Sequence[Content], *, now: datetime) -> None:
        """Return once these events are committed.

        Raises:
            django.db.OperationalError, django.db.InterfaceError: the database is away; nothing is
                kept, and the same events may be given again: a repeat has no effect.
            workspaces.keys.TenantHasNoKeys: the tenant is erased, or is being.
        """
        if not events:
            return
        try:
            with transaction.atomic():
                self._file(events, now)
                transaction.on_commit(WAKE_UP.notify, robust=True)
        except BaseException as error:
            keys.forget()  # one that was made in the transaction is gone with it
            if isinstance(error, (OperationalError, InterfaceError)):
                connection.close()
            raise

    def _file(self, events: Sequence[Content], now: datetime) -> None:
        seal = digester(self._tenant_id).device(self._external_id)
        body = body_of(events, external_id=self._external_id, seal=seal)
        raw.store([raw.ArrivedBody(self._tenant_id, now.astimezone(UTC), body)])
        if any(isinstance(event, MessageArrived) and not event.from_me for event in events):
            SenderSession.objects.filter(pk=self._session_id).update(last_inbound_at=now)
