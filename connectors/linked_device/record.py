"""What a session's process writes down about it; every statement only while the lease is its own.

Each of these may be repeated, so that it can be tried again after the database was away.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models.functions import Coalesce

from connectors.linked_device import leases, logs, sessions, standing
from connectors.linked_device.actions import ShowPairing
from connectors.linked_device.events import Account
from connectors.linked_device.leases import Lease
from connectors.linked_device.standing import Standing
from connectors.models import PairBy, SenderSession, Wanted
from lib.masking import account_name
from messaging import numbers
from messaging.models import NumberState

PLATFORM_LENGTH, NAME_LENGTH, LIBRARY_LENGTH = 32, 128, 64


class Wishes(NamedTuple):
    """What the operator wants now. ``is_gone``: the session is not there any more."""

    wanted: str = Wanted.STOPPED
    restart_asked_at: datetime | None = None
    is_gone: bool = False


@dataclass(slots=True)
class Signs:
    """Signs of life since they were last written down; ``None``: none. Any thread may set them."""

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

    All of it raises `leases.Lost` where that is somebody else's by now.
    """

    def __init__(self, session: SenderSession, lease: Lease) -> None:
        self._session, self._lease = session, lease

    @property
    def ids(self) -> dict[str, str]:
        """What a line of the log says about the session."""
        return {"tenant": str(self._session.tenant_id), "session": str(self._session.pk)}

    def wishes(self) -> Wishes:
        """Return what the operator wants."""
        rows = SenderSession.objects.filter(pk=self._session.pk)
        found = rows.values_list("wanted", "restart_asked_at").first()
        return Wishes(*found) if found else Wishes(is_gone=True)

    def stands(self, new: Standing, *, now: datetime) -> None:
        """Write down where the session stands."""
        token = self._lease.fencing_token
        if not standing.write(self._session.pk, new, now=now, fencing_token=token):
            raise leases.Lost("The session's row is not ours any more.")
        logs.stands(state=new.state, reason=new.reason, until=new.until, ids=self.ids)

    def started(self, library: str, *, now: datetime) -> None:
        """Write down that a process began, and with which library."""
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
        """Let the operator ask again: nobody is looking any more."""
        self._update(wanted=Wanted.STOPPED, pair_by="", sealed_pair_number=None)

    def linked(self, account: Account, *, now: datetime) -> None:
        """Write down which account is linked; what is not told stays."""
        name = account_name(account.push_name or account.business_name, account.number)
        told = {
            "device_platform": account.platform[:PLATFORM_LENGTH],
            "push_name": (name or "")[:NAME_LENGTH],
        }
        with transaction.atomic():
            self._update(
                paired_at=Coalesce("paired_at", now), pair_by="", sealed_pair_number=None,
                **{column: value for column, value in told.items() if value},
            )  # fmt: skip
            if account.number:
                self._keep_number(account.number)
        if self._session.paired_at is None:
            self._session.paired_at = now
            logs.logged_in(ids=self.ids)

    def unlinked(self) -> None:
        """Write down that no account is linked any more."""
        self._update(paired_at=None)

    def steady(self) -> None:
        """Forget earlier failures."""
        self._update(failures=0)

    def signs(self, taken: dict[str, datetime]) -> None:
        """Write down signs of life."""
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
            pk=self._session.pk, lease__fencing_token=self._lease.fencing_token,
            lease__owner=self._lease.owner,
        )  # fmt: skip
        if not mine.update(**values):
            raise leases.Lost("The session's row is not ours any more.")
