"""A session's state machine: events and time in, standings and actions out. Pure.

What is not in the table of :mod:`connectors.linked_device.transitions` is not done: an event that
means nothing in a state is counted and otherwise ignored, never an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from connectors.linked_device import events, reasons
from connectors.linked_device.actions import (
    Action,
    AskPairCode,
    CodeGiven,
    CodeRefused,
    Exit,
    ForgetPairing,
    GiveUpPairing,
    Heard,
    Leaving,
    Linked,
    ShowPairing,
    Steady,
    Unlinked,
)
from connectors.linked_device.endings import ENDS, after
from connectors.linked_device.limits import Limit
from connectors.linked_device.standing import Standing
from connectors.linked_device.transitions import UP, is_meant, may_follow
from connectors.models import PairBy
from connectors.models import SessionState as S

# whatsmeow shows QR codes for 60 s and then five times 20 s; a pairing code is good as long.
PAIRING_LASTS = timedelta(seconds=160)
# The library's own word that the time is over should come first.
PAIRING_GRACE = timedelta(seconds=5)
# whatsmeow forces a new connection after 3 minutes of silence: what that does not mend, a new
# process may.
PATIENCE = timedelta(minutes=3)
MOST_MISSES = 3
STEADY_AFTER = timedelta(seconds=60)


class Machine:
    """Where a session stands. ``is_paired``: its store should have an account; else it is paired
    the way of ``pair_by``. ``limit`` is what is left of an earlier wait.
    """

    def __init__(
        self, *, is_paired: bool, pair_by: PairBy = PairBy.QR, limit: Limit, now: datetime
    ) -> None:
        self.standing = Standing(S.STARTING, reasons.STARTING, now + PATIENCE)
        self.ignored: Counter[str] = Counter()
        self.leaving: Leaving | None = None
        self._is_paired, self._pair_by, self._limit = is_paired, pair_by, limit
        self._pairing_until: datetime | None = None
        self._up_since: datetime | None = None
        self._is_linked_here = self._is_steady = self._is_silent = False
        self._actions: list[Action] = []
        self._cause: Heard | None = None

    @property
    def may_send(self) -> bool:
        """Whether messages may leave now."""
        return self.standing.state == S.CONNECTED and self.leaving is None

    def stopped(self, standing: Standing, *, now: datetime) -> Standing:
        """Return where the session stands when its process ends because somebody wanted it to."""
        return self._silent() if self._limit.holds(now) else standing

    def hear(self, event: Heard, *, now: datetime) -> list[Action]:
        """Take an event; return what is to be done now, in order."""
        if self.leaving is not None or not is_meant(self.standing.state, event):
            self.ignored[type(event).__name__] += 1
            return []
        self._cause = event
        HANDLERS[type(event)](self, event, now)
        return self._take()

    def tick(self, *, now: datetime) -> list[Action]:
        """Let time pass; return what is to be done now, in order."""
        if self.leaving is not None:
            return []
        self._cause = None
        until = self.standing.until
        if self.standing.state in LAPSES and until is not None and now >= until:
            LAPSES[self.standing.state](self, now)
        self._settle(now)
        return self._take()

    def _qr_shown(self, event: events.QrShown, now: datetime) -> None:
        if self._is_linked_here:
            return
        if self._is_paired:
            self._leave(Leaving.FINAL, Standing(S.LOGGED_OUT, reasons.NO_ACCOUNT))
            return
        is_first = self._pairing_until is None
        ends = self._pairing_until = self._pairing_until or now + PAIRING_LASTS
        self._move(Standing(S.PAIRING, reasons.PAIRING[self._pair_by], ends + PAIRING_GRACE))
        if self._pair_by == PairBy.QR:
            expires_at = min(ends, now + timedelta(seconds=event.seconds))
            self._actions.append(ShowPairing(PairBy.QR, event.code, expires_at))
        elif is_first:
            self._actions.append(AskPairCode())

    def _code_given(self, event: CodeGiven, now: datetime) -> None:
        if self._pairing_until is not None:
            code = displayed(event.code)
            self._actions.append(ShowPairing(PairBy.CODE, code, self._pairing_until))

    def _code_refused(self, event: CodeRefused, now: datetime) -> None:
        if event.is_limit:
            self._limited(event, now)
        else:
            self._give_up(reasons.told(reasons.NO_CODE, event.reason))

    def _pairing_over(self, event: object, now: datetime) -> None:
        self._give_up(reasons.NOT_PAIRED_IN_TIME)

    def _give_up(self, reason: str) -> None:
        self._actions.append(GiveUpPairing())
        self._leave(Leaving.FINAL, Standing(S.STOPPED, reason))

    def _paired(self, event: events.Paired, now: datetime) -> None:
        self._is_linked_here = True
        self._actions += [ForgetPairing(), Linked(event.account)]
        self._move(Standing(S.STARTING, reasons.LINKED, now + PATIENCE))

    def _connected(self, event: events.Connected, now: datetime) -> None:
        if self.standing.state == S.PAIRING:
            self._actions.append(ForgetPairing())
        self._is_linked_here = True
        self._actions.append(Linked(event.account))
        self._up(now)

    def _up(self, now: datetime) -> None:
        """The connection is there; a limit that still holds is older than it."""
        self._is_silent = False
        self._up_since = self._up_since or now
        if self._limit.holds(now):
            self._move(self._silent())
        else:
            self._move(Standing(S.CONNECTED, reasons.CONNECTED))

    def _disconnected(self, event: events.Disconnected, now: datetime) -> None:
        self._is_silent = False
        if self.standing.state in UP:
            self._down(reasons.told(reasons.DISCONNECTED, event.reason), now)

    def _down(self, reason: str, now: datetime) -> None:
        self._up_since, self._is_steady = None, False
        self._move(Standing(S.DISCONNECTED, reason, now + PATIENCE))

    def _missed(self, event: events.KeepAliveMissed, now: datetime) -> None:
        if event.misses >= MOST_MISSES:
            self._is_silent = True
            self._down(reasons.SILENT, now)

    def _kept_alive(self, event: events.KeptAlive, now: datetime) -> None:
        """It brings back what silence took; a connection that was lost says so when it is back."""
        if self._is_silent:
            self._up(now)

    def _limited(self, event: events.RateLimited | CodeRefused, now: datetime) -> None:
        """A session that is up goes on listening. Before that there is nothing to hold on to."""
        self._limit.extend(event.retry_after, now=now)
        if self.standing.state in (S.STARTING, S.PAIRING):
            self._leave(Leaving.FINAL, self._silent())
        elif self.standing.state in UP:
            self._up(now)

    def _ended(self, event: Heard, now: datetime) -> None:
        if isinstance(event, events.LoggedOut):
            self._actions.append(Unlinked())
        self._leave(Leaving.FINAL, after(event, now=now))

    def _connect_failed(self, event: events.ConnectFailed, now: datetime) -> None:
        self._fail(reasons.told(reasons.CONNECT_FAILED, event.reason), now)

    def _no_connection(self, now: datetime) -> None:
        self._fail(reasons.NO_CONNECTION, now)

    def _fail(self, reason: str, now: datetime) -> None:
        """To be started again; not sooner than WhatsApp allows."""
        if self._limit.holds(now):
            self._leave(Leaving.FINAL, self._silent())
        else:
            self._leave(Leaving.AGAIN, Standing(S.FAILED, reason))

    def _settle(self, now: datetime) -> None:
        if self._up_since is None or self._is_steady or now - self._up_since < STEADY_AFTER:
            return
        self._is_steady = True
        self._actions.append(Steady())

    def _silent(self) -> Standing:
        return Standing(S.RATE_LIMITED, reasons.RATE_LIMITED, self._limit.until)

    def _leave(self, how: Leaving, standing: Standing) -> None:
        if self.standing.state == S.PAIRING:
            self._actions.append(ForgetPairing())
        if self._move(standing):
            self.leaving = how
            self._actions.append(Exit(how))

    def _move(self, standing: Standing) -> bool:
        if not may_follow(self.standing.state, self._cause, standing.state):
            self.ignored[f"{self.standing.state} to {standing.state}"] += 1
            return False
        self.standing = standing
        return True

    def _take(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions


def displayed(code: str) -> str:
    """Return a pairing code the way the phone asks for it: ``XXXX-XXXX``."""
    letters = "".join(one for one in code.upper() if one.isalnum())
    return f"{letters[:4]}-{letters[4:]}"


HANDLERS: Mapping[type, Callable[[Machine, Any, datetime], None]] = {
    events.QrShown: Machine._qr_shown,
    CodeGiven: Machine._code_given,
    CodeRefused: Machine._code_refused,
    events.PairingTimedOut: Machine._pairing_over,
    events.Paired: Machine._paired,
    events.Connected: Machine._connected,
    events.Disconnected: Machine._disconnected,
    events.KeepAliveMissed: Machine._missed,
    events.KeptAlive: Machine._kept_alive,
    events.RateLimited: Machine._limited,
    **dict.fromkeys(ENDS, Machine._ended),
    events.ConnectFailed: Machine._connect_failed,
}
# What is done when the time of a standing is over.
LAPSES: Mapping[S, Callable[[Machine, datetime], None]] = {
    S.STARTING: Machine._no_connection,
    S.DISCONNECTED: Machine._no_connection,
    S.PAIRING: lambda machine, now: machine._give_up(reasons.NOT_PAIRED_IN_TIME),
    S.RATE_LIMITED: Machine._up,
}
