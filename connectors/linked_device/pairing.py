"""How far the linking of a phone is: what the page that shows it needs, and nothing else."""

from __future__ import annotations

import math
from datetime import datetime
from enum import StrEnum

from connectors.linked_device import qrcodes, sessions
from connectors.linked_device.sessions import Pairing
from connectors.models import PairBy, SenderSession, SessionState, Wanted


class Phase(StrEnum):
    """Nothing asked for (or over), asked for, a code can be used, and a phone is linked."""

    IDLE = "IDLE"
    WAITING = "WAITING"
    SHOWN = "SHOWN"
    LINKED = "LINKED"


def facts(session: SenderSession, *, now: datetime) -> dict[str, object]:
    """Return what there is to show; ``seconds`` is for how long the code is still good."""
    pairing = sessions.pairing_of(session, now=now) if session.paired_at is None else None
    return {
        "phase": _phase(session, pairing).value,
        "state": SessionState(session.state).label,
        "reason": session.reason,
        **(_shown(pairing, now) if pairing else {}),
    }


def _phase(session: SenderSession, pairing: Pairing | None) -> Phase:
    if session.paired_at is not None:
        return Phase.LINKED
    if pairing is not None:
        return Phase.SHOWN
    asked = session.pair_by and session.wanted == Wanted.RUNNING
    return Phase.WAITING if asked else Phase.IDLE


def _shown(pairing: Pairing, now: datetime) -> dict[str, object]:
    is_qr = pairing.by == PairBy.QR
    return {
        "by": pairing.by.value,
        "code": "" if is_qr else pairing.code,
        "qr": qrcodes.as_svg(pairing.code) if is_qr else "",
        "seconds": math.ceil((pairing.expires_at - now).total_seconds()),
    }
