"""The process of one session: it alone holds the account's connection, and it ends with it.

The device's library is imported here and nowhere else, for it may end the process at any moment
and does not survive a fork. Whatever must not be done twice is guarded by the lease.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string

from connectors.linked_device import exits, leases, lock, reasons, sessions, standing, stores
from connectors.linked_device.device import Device
from connectors.linked_device.keeper import Keeper, exit_hard, kernel_alarm
from connectors.linked_device.leases import Lease
from connectors.linked_device.parts import Parts
from connectors.linked_device.persistence import AWAY, PAUSE_SECONDS, Persistence
from connectors.linked_device.session_loop import Ending
from connectors.linked_device.standing import Standing
from connectors.models import SenderSession, SessionState
from lib import structs

logger = logging.getLogger("sigma.whatsapp.sender")

RELEASE_SECONDS = 10.0


def run(session_id: UUID) -> int:
    """Hold a session until it ends; return one of the codes of ``exits``.

    Where the lease is lost, or the library does not let go of the connection, the process ends
    inside. Call it once in a process, from its main thread.
    """
    os.umask(0o077)
    structs.warm()
    is_told, extra = _told_to_end(), {"session": str(session_id)}
    try:
        return _guarded(session_id, is_told)
    except (lock.StoreInUse, leases.Held) as held:
        logger.warning("whatsapp session is held: %s", held, extra=extra)
    except AWAY as error:  # nothing was begun yet
        extra["error"] = type(error).__name__
        logger.warning("whatsapp session not started: the database is away", extra=extra)
    return exits.HELD


def _guarded(session_id: UUID, is_told: Callable[[], bool]) -> int:
    """Hold the session by its store, on this machine, then everywhere."""
    session = _session(session_id)
    if session is None:
        logger.warning("whatsapp session is not there", extra={"session": str(session_id)})
        return exits.FINAL
    try:
        store = stores.prepare(session)
    except OSError as error:
        return _unable(session, None, str(error))
    with lock.hold(store.parent):
        return _own(session_id, store, is_told)


def _own(session_id: UUID, store: Path, is_told: Callable[[], bool]) -> int:
    """Hold the session by its lease."""
    host, pid = str(settings.SIGMA_SENDER_HOST), os.getpid()
    lease = leases.acquire(session_id, owner=uuid4(), host=host, pid=pid)
    keeper = Keeper(lease, on_lost=exit_hard, alarm=kernel_alarm)
    keeper.start()
    try:
        code = _work(session_id, lease, store, is_told)
    except leases.Lost as lost:
        exit_hard(f"whatsapp session {session_id} lost its lease: {lost}")
    keeper.stop()
    _release(lease)
    return code


def _work(session_id: UUID, lease: Lease, store: Path, is_told: Callable[[], bool]) -> int:
    """Let the session work until it ends, and write down how it ended."""
    patience = Persistence("start", wait=time.sleep)
    session = patience.insist(lambda: _session(session_id))
    if session is None:
        return exits.FINAL
    try:
        device = _device()
    except ImportError as error:
        return _unable(session, lease, reasons.told(reasons.NO_LIBRARY, str(error)))
    parts = patience.insist(lambda: Parts(session, lease, device, is_told_to_end=is_told))
    ending = _led(parts, store)
    is_closed = parts.close()
    parts.finish(ending)
    if not is_closed:
        # The lease is kept, and ends by itself: whoever takes over waits for that.
        logger.critical("whatsapp session %s would not disconnect", session_id)
        logging.shutdown()
        os._exit(ending.code)
    return ending.code


def _led(parts: Parts, store: Path) -> Ending:
    try:
        return parts.lead(store)
    except OSError as error:
        reason = reasons.told(reasons.NO_STORE, error.strerror or str(error))
        return Ending(exits.FAILED, Standing(SessionState.FAILED, reason))
    except leases.Lost:
        raise
    except Exception:  # the process ends in order, whatever broke it
        logger.exception("whatsapp session broke")
        return Ending(exits.FAILED, Standing(SessionState.FAILED, reasons.BROKE))


def _session(session_id: UUID) -> SenderSession | None:
    return SenderSession.objects.select_related("workspace").filter(pk=session_id).first()


def _device() -> Device:
    made: Device = import_string(settings.SIGMA_DEVICES[settings.SIGMA_SENDER_DEVICE])()
    return made


def _unable(session: SenderSession, lease: Lease | None, reason: str) -> int:
    """Say why nothing was begun; without a lease only where nobody has one."""
    now, failed = datetime.now(UTC), Standing(SessionState.FAILED, reason)
    if lease is not None:
        standing.write(session.pk, failed, now=now, fencing_token=lease.fencing_token)
    elif not sessions.is_held(session, now=now):
        standing.write(session.pk, failed, now=now)
    logger.error("whatsapp session not started: %s", reason, extra={"session": str(session.pk)})
    return exits.FAILED


def _told_to_end() -> Callable[[], bool]:
    """Return whether the process was asked to end, as its host does (SIGTERM)."""
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: told.append(number))
    return lambda: bool(told)


def _release(lease: Lease) -> None:
    """Give the lease back; without that the next owner waits for its end: no harm, only time."""
    deadline = time.monotonic() + RELEASE_SECONDS
    while time.monotonic() < deadline:
        try:
            leases.release(lease)
        except AWAY:
            connection.close()
            time.sleep(PAUSE_SECONDS)
        else:
            return
    logger.warning("whatsapp session lease not given back", extra={"session": lease.session_id})
