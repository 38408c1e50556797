"""``backup``, ``restore`` and ``clear``: verbs that can lose an account, so they ask before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.core.management.base import CommandError, OutputWrapper

from connectors.linked_device import backups
from connectors.linked_device.commands import choosing
from connectors.linked_device.models import SenderSession
from lib import clock

RESTORES = (
    "This puts an older state of the account in the place of its store (which is backed up "
    "before). Pairing anew is better wherever the phone is at hand: an old store has forgotten "
    "keys that its contacts use. Never restore what still runs on another machine."
)
CLEARS = (
    "This forgets the linked account: its store is backed up and removed, and a phone has to be "
    "paired anew. Remove the device on the phone as well: WhatsApp > Settings > Linked devices."
)
FORGETS = (
    "This forgets the linked account without a backup, for a store that is damaged, or on a "
    "machine that is gone for good: a phone has to be paired anew, and nothing brings the old "
    "account's state back. Remove the device on the phone: WhatsApp > Settings > Linked devices."
)
NOT_ASKED = "Nothing was changed: there is nobody to ask. Say --yes if you mean it."


def back_up(out: OutputWrapper, *, name: str | None) -> None:
    """Seal the store of a session that is stopped into a dated file.

    Raises:
        sessions.UnableTo: a process has the session, or its store is not here or cannot be read.
    """
    session = choosing.one(name)
    with _file_system():
        made = backups.back_up(session, now=clock.now())
    out.write(f"{choosing.label(session.workspace)} is backed up: {made}")
    out.write("Only this installation can open it, while the tenant is not erased.")


def restore(
    out: OutputWrapper, ask: IO[str], *, name: str | None, file: str | None, is_sure: bool
) -> None:
    """Put a backup, the newest unless ``file`` names one, in the place of the store.

    Raises:
        CommandError: not meant.
        sessions.UnableTo: the session is not stopped, or the backup cannot be used.
    """
    session = choosing.one(name)
    _confirm(out, ask, session, RESTORES, is_sure)
    path = Path(file) if file else None
    with _file_system():
        used = backups.restore(session, path, now=clock.now())
    out.write(f"{choosing.label(session.workspace)} is restored from {used}.")
    out.write("Next: manage.py sender start")


def clear(
    out: OutputWrapper, ask: IO[str], *, name: str | None, is_sure: bool, back_up: bool
) -> None:
    """Back a store up, unless it is not to be, and remove it, so that a phone can be paired anew.

    Raises:
        CommandError: not meant.
        sessions.UnableTo: the session is not stopped.
    """
    session = choosing.one(name)
    _confirm(out, ask, session, CLEARS if back_up else FORGETS, is_sure)
    with _file_system():
        made = backups.clear(session, now=clock.now(), back_up=back_up)
    out.write(f"{choosing.label(session.workspace)} is cleared.")
    out.write(f"Its backup: {made}" if made else "Nothing was backed up.")
    out.write("Next: manage.py sender pair")


def _confirm(
    out: OutputWrapper, ask: IO[str], session: SenderSession, what: str, is_sure: bool
) -> None:
    if is_sure:
        return
    if not ask.isatty():
        raise CommandError(NOT_ASKED)
    out.write(what)
    name = session.workspace.name
    out.write(f"Type {name} to go on: ", ending="")
    out.flush()
    if ask.readline().strip() != name:
        raise CommandError("Nothing was changed.")


@contextmanager
def _file_system() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandError(f"The file system refused: {error}") from error
