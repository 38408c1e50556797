"""What a session's state machine wants done, and what its process tells it back. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from connectors.linked_device.events import Account, Event
from connectors.models import PairBy


@dataclass(frozen=True, slots=True)
class ShowPairing:
    """Let an operator see a QR text or pairing code until ``expires_at``."""

    by: PairBy
    code: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class AskPairCode:
    """Ask the device for a code to type; answer with `CodeGiven` or `CodeRefused`."""


@dataclass(frozen=True, slots=True)
class ForgetPairing:
    """Remove the QR text or pairing code: the pairing ended."""


@dataclass(frozen=True, slots=True)
class GiveUpPairing:
    """Nobody linked a phone in time: the operator has to ask again."""


@dataclass(frozen=True, slots=True)
class Linked:
    """An account is linked; write down which."""

    account: Account


@dataclass(frozen=True, slots=True)
class Unlinked:
    """No account is linked any more: its keys are void."""


@dataclass(frozen=True, slots=True)
class Steady:
    """The connection has held for a while: earlier failures do not count any more."""


class Leaving(StrEnum):
    """How a process ends: to be started again, or when somebody decided what to do (or the time
    has come that WhatsApp named).
    """

    AGAIN = "AGAIN"
    FINAL = "FINAL"


@dataclass(frozen=True, slots=True)
class Exit:
    """Let go of the account and end the process."""

    how: Leaving


Action = (
    ShowPairing | AskPairCode | ForgetPairing | GiveUpPairing | Linked | Unlinked | Steady | Exit
)


@dataclass(frozen=True, slots=True)
class CodeGiven:
    """The device gave the code that `AskPairCode` asked for."""

    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CodeRefused:
    """WhatsApp gave no code. ``retry_after``: seconds it asks to wait, if it named them;
    ``is_limit``: it asks to slow down.
    """

    reason: str
    is_limit: bool = False
    retry_after: float | None = None


Heard = Event | CodeGiven | CodeRefused
