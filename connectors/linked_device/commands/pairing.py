"""``add`` and ``pair``: make the workspace of a linked device, and link a phone from the terminal,
with a QR code or a code to type.

Whoever has the code that is shown here can become the account while it lasts. It goes to the
terminal and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, cast

from django.core.management.base import CommandError, OutputWrapper
from django.db import connection
from rich.console import Console
from rich.live import Live
from rich.text import Text

from connectors.linked_device import health, sessions
from connectors.linked_device.commands import choosing
from connectors.linked_device.commands.running import STEP_SECONDS, waits_for
from connectors.linked_device.models import KEPT, PairBy, SenderSession, SessionState, Wanted
from connectors.linked_device.sessions import TERMS, Pairing
from lib import clock
from lib.qrcodes import as_text
from workspaces import provisioning
from workspaces.lookup import find_tenant
from workspaces.models import HOSTED, Tenant, Transport, Workspace

WHERE = "On the phone: WhatsApp > Settings > Linked devices > Link a device"
SCAN = f"{WHERE}, then scan this."
TYPE = f"{WHERE} > Link with phone number instead, then type this code."
# Where less fits, a code that is drawn over the last one would lose its upper part.
TALL_ENOUGH = 45
QR_STYLE = "#ffffff on #000000"


def add(out: OutputWrapper, *, tenant: str, name: str) -> None:
    """Make the workspace and its session, or say that they are there.

    Raises:
        CommandError: there is no such tenant, or the name cannot be used.
    """
    owner = find_tenant(tenant)
    try:
        workspace, is_new = _make(owner, name)
    except provisioning.UnableToCreateWorkspace as error:
        raise CommandError(str(error)) from error
    session = sessions.of_workspace(tenant_id=owner.id, workspace_id=workspace.id)
    label = f"{owner.slug}/{workspace.name}"
    out.write(f"{label} is {'made' if is_new else 'there already'}.")
    out.write(f"Workspace  {workspace.id}")
    out.write(f"Session    {session.id}")
    out.write(TERMS)
    if session.paired_at is None:
        out.write(f'Next: manage.py sender pair "{label}" --phone +27… (or --qr)')


def _make(tenant: Tenant, name: str) -> tuple[Workspace, bool]:
    mine = Workspace.objects.filter(tenant=tenant, transport__in=HOSTED, name=name.strip())
    found = mine.order_by("created_at").first()
    if found is not None:
        return found, False
    made = provisioning.create_workspace(
        tenant_id=tenant.id, name=name, transport=Transport.LINKED_DEVICE
    )
    return made, True


def pair(out: OutputWrapper, *, name: str | None, phone: str | None, wait: float) -> None:
    """Show what links a phone until it is linked; Ctrl-C gives it up.

    Raises:
        CommandError: WhatsApp refused, or no phone was linked in time.
        sessions.UnableTo: a phone is linked already, or the number is not international.
    """
    session = choosing.one(name)
    out.write(f"{TERMS}\n")
    by = PairBy.CODE if phone else PairBy.QR
    asked = clock.now()
    try:
        sessions.pair(session.id, by=by, number=phone, now=asked)
        _watch(out, session, asked, wait)
    except KeyboardInterrupt:
        connection.close()  # a statement of it may be under way still
        sessions.stop(session.id, now=clock.now())
        raise CommandError("Given up; no phone is linked.") from None


def _watch(out: OutputWrapper, session: SenderSession, asked: datetime, wait: float) -> None:
    ends = time.monotonic() + wait
    with _screen(out) as screen:
        while time.monotonic() < ends:
            now = clock.now()
            session = choosing.fresh(session.id)
            if _is_linked(session, asked):
                break
            screen.show(session, now)
            time.sleep(STEP_SECONDS)
        else:
            sessions.stop(session.id, now=clock.now())
            raise CommandError(f"No phone was linked within {wait:.0f} s; the pairing is given up.")
    who = health.phone(session)
    out.write(f"Successfully logged in{f' as {who}' if who else ''}.")


def _is_linked(session: SenderSession, asked: datetime) -> bool:
    """Return whether a phone is linked and connected.

    Raises:
        CommandError: it will not come.
    """
    if session.paired_at is not None and session.state == SessionState.CONNECTED:
        return True
    is_over = session.wanted == Wanted.STOPPED and session.state == SessionState.STOPPED
    # What ended before it was asked for says nothing about this pairing.
    is_stuck = session.state in KEPT and session.since > asked
    if is_over or is_stuck:
        raise CommandError(f"No phone is linked. {health.describe_status(session)}")
    return False


@contextmanager
def _screen(out: OutputWrapper) -> Iterator[Screen]:
    console = Console(file=cast(IO[str], out), highlight=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield Screen(console, live)


@dataclass(slots=True)
class Screen:
    """A terminal, on which each code replaces the last; where the output goes into a file or a
    pipe, or the terminal is too low, each is written once.
    """

    console: Console
    live: Live
    said: str = field(default="", repr=False)

    def show(self, session: SenderSession, now: datetime) -> None:
        """Show what the phone needs now, or what the pairing waits for."""
        shown = sessions.pairing_of(session, now=now)
        if shown is None:
            topic, why = waits_for(session, now)
            self._put(topic, Text(f"… {why}"))
        else:
            left = (shown.expires_at - now).total_seconds()
            self._put(shown.code, _picture(shown, left))

    def _put(self, topic: str, picture: Text) -> None:
        if self.console.is_terminal and self.console.height >= TALL_ENOUGH:
            self.live.update(picture, refresh=True)
        elif topic != self.said:
            self.console.print(picture, soft_wrap=True)
        self.said = topic


def _picture(shown: Pairing, left: float) -> Text:
    seconds = f"{left:.0f} s left"
    if shown.by == PairBy.CODE:
        return Text.assemble(f"{TYPE}\n\n    ", (shown.code, "bold"), f"\n\n{seconds}")
    return Text.assemble((as_text(shown.code), QR_STYLE), f"\n{SCAN} {seconds}; the next follows.")
