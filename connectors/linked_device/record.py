"""What a session's process writes about the session; every statement only while it has the lease.

Each of these may be repeated, so that it can be tried again after the database was away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeVar

from django.db import connection, transaction
from django.db.models.functions import Coalesce

from connectors.linked_device import leases, logs, sessions, status
from connectors.linked_device.events import LinkedAccount
from connectors.linked_device.leases import Lease
from connectors.linked_device.machine import ShowPairing
from connectors.linked_device.models import PairBy, SenderSession, Wanted
from connectors.linked_device.status import SessionStatus
from lib.brake import DATABASE_AWAY, is_away
from lib.masking import account_name
from messaging import numbers
from messaging.models import NumberState

PLATFORM_LENGTH, NAME_LENGTH, LIBRARY_LENGTH = 32, 128, 64
logger = logging.getLogger("sigma.whatsapp.sender")

T = TypeVar("T")
PAUSE_SECONDS = 0.5


class DesiredState(NamedTuple):
    """What the operator wants of a session now. ``is_gone``: it was removed."""

    wanted: str = Wanted.STOPPED
    restart_asked_at: datetime | None = None
    is_gone: bool = False


@dataclass(slots=True)
class LastActivity:
    """When the session last received an event and sent a message, since that was last written;
    ``None``: not since. Any thread may set them.
    """

    last_event_at: datetime | None = None
    last_sent_at: datetime | None = None

    def take(self) -> dict[str, datetime]:
        """Return what is new, by column, and forget it."""
        taken: dict[str, datetime] = {}
        for name in ("last_event_at", "last_sent_at"):
            at = getattr(self, name)
            if at is not None:
                taken[name] = at
                setattr(self, name, None)
        return taken


class Record:
    """The row of one session, for the process that has its lease.

    All methods that write raise `leases.LeaseLost` where another process has it by now.
    """

    def __init__(self, session: SenderSession, lease: Lease) -> None:
        self._session, self._lease = session, lease

    @property
    def ids(self) -> dict[str, str]:
        """What a line of the log says about the session."""
        return {"tenant": str(self._session.tenant_id), "session": str(self._session.pk)}

    def desired_state(self) -> DesiredState:
        """Return what the operator wants."""
        rows = SenderSession.objects.filter(pk=self._session.pk)
        found = rows.values_list("wanted", "restart_asked_at").first()
        return DesiredState(*found) if found else DesiredState(is_gone=True)

    def write_status(self, new: SessionStatus, *, now: datetime) -> None:
        """Write the session's status."""
        token = self._lease.fencing_token
        if not status.write(self._session.pk, new, now=now, fencing_token=token):
            raise leases.LeaseLost("The session's row is not ours any more.")
        logs.session_status(state=new.state, reason=new.reason, until=new.until, ids=self.ids)

    def started(self, library: str, *, now: datetime) -> None:
        """Write that a process began, and with which library."""
        self._update(started_at=now, library=library[:LIBRARY_LENGTH])

    def show_pairing(self, shown: ShowPairing) -> None:
        """Keep the QR text or pairing code of the moment, sealed."""
        sealed = sessions.seal_pairing(self._session, shown.code)
        self._update(sealed_pairing=sealed, pairing_expires_at=shown.expires_at)
        if shown.by == PairBy.CODE:
            logs.pairing_code(shown.code, ids=self.ids)

    def forget_pairing(self) -> None:
        """Remove the QR text or pairing code."""
        self._update(sealed_pairing=None, pairing_expires_at=None)

    def give_up_pairing(self) -> None:
        """Let the operator ask again: no phone was linked in time."""
        self._update(wanted=Wanted.STOPPED, pair_by="", sealed_pair_number=None)

    def linked(self, account: LinkedAccount, *, now: datetime) -> None:
        """Write which account is linked; what is not known stays as it was."""
        name = account_name(account.push_name or account.business_name, account.number)
        known = {
            "device_platform": account.platform[:PLATFORM_LENGTH],
            "push_name": (name or "")[:NAME_LENGTH],
        }
        with transaction.atomic():
            self._update(
                paired_at=Coalesce("paired_at", now),
                pair_by="",
                sealed_pair_number=None,
                **{column: value for column, value in known.items() if value},
            )
            if account.number:
                self._keep_number(account.number)
        if self._session.paired_at is None:
            self._session.paired_at = now
            logs.logged_in(ids=self.ids)

    def unlinked(self) -> None:
        """Write that no account is linked any more."""
        self._update(paired_at=None)

    def steady(self) -> None:
        """Forget earlier failures."""
        self._update(failures=0)

    def write_activity(self, taken: dict[str, datetime]) -> None:
        """Write when the session was last active."""
        self._update(**taken)

    def _keep_number(self, digits: str) -> None:
        tenant_id, workspace_id = self._session.tenant_id, self._session.workspace_id
        state, _ = NumberState.objects.select_for_update().get_or_create(
            workspace_id=workspace_id, defaults={"tenant_id": tenant_id}
        )
        if numbers.number_of(state) != digits:
            state.sealed_number = numbers.seal(
                digits, tenant_id=tenant_id, workspace_id=workspace_id
            )
            state.save(update_fields=["sealed_number"])

    def _update(self, **values: object) -> None:
        mine = SenderSession.objects.filter(
            pk=self._session.pk,
            lease__fencing_token=self._lease.fencing_token,
            lease__owner=self._lease.owner,
        )
        if not mine.update(**values):
            raise leases.LeaseLost("The session's row is not ours any more.")


class DatabaseRetry:
    """One thread's work while the database may be away; ``what`` names the work in the log.

    ``wait`` blocks for some seconds. It never gives up: the process ends with its lease.
    """

    def __init__(self, what: str, *, wait: Callable[[float], object]) -> None:
        self._what, self._wait, self._is_away = what, wait, False

    def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns once the database answered, however long that takes."""
        while True:
            try:
                done = work()
            except DATABASE_AWAY as error:
                if not is_away(error):
                    raise
                self.failed(error)
                self._wait(PAUSE_SECONDS)
            else:
                self.succeeded()
                return done

    def failed(self, error: Exception) -> None:
        """Note that the database is away; one line per outage."""
        if not self._is_away:
            extra = {"work": self._what, "error": type(error).__name__}
            logger.warning("whatsapp session waits for the database", extra=extra)
        self._is_away = True
        connection.close()

    def succeeded(self) -> None:
        """Note that the database answers."""
        if self._is_away:
            logger.warning("whatsapp session goes on", extra={"work": self._what})
        self._is_away = False
