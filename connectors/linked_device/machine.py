"""A session's state machine: events and time in, statuses and actions out. Pure.

``BY_EVENT`` and ``BY_TIME`` are all transitions there are. An event that has no transition in a
state is counted and otherwise ignored, never an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto
from typing import Any

from connectors.linked_device import events, reasons
from connectors.linked_device.models import PairBy
from connectors.linked_device.models import SessionState as S
from connectors.linked_device.status import SessionStatus


@dataclass(frozen=True, slots=True)
class ShowPairing:
    """Let an operator see a QR text or pairing code until ``expires_at``."""

    by: PairBy
    code: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Linked:
    """An account is linked; record which."""

    account: events.LinkedAccount


class BareAction(Enum):
    """An action that its name says whole."""

    # Ask the device for a code to type; answer with `CodeGiven` or `CodeRefused`.
    ASK_PAIR_CODE = auto()
    # Remove the QR text or pairing code: the pairing ended.
    FORGET_PAIRING = auto()
    # No phone was linked in time: the operator has to ask again.
    GIVE_UP_PAIRING = auto()
    # No account is linked any more: its keys are void.
    UNLINK = auto()
    # The connection has held for a while: earlier failures do not count any more.
    FORGET_FAILURES = auto()


class ExitMode(StrEnum):
    """Disconnect and end the process: to be started again by itself, or only once an operator
    decided what to do, or the time is over that WhatsApp named.
    """

    RESTART = "RESTART"
    FINAL = "FINAL"


Action = ShowPairing | Linked | BareAction | ExitMode


@dataclass(frozen=True, slots=True)
class CodeGiven:
    """The device gave the code that `BareAction.ASK_PAIR_CODE` asked for."""

    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CodeRefused:
    """WhatsApp gave no code. ``retry_after``: seconds it asks to wait, if it named them;
    ``is_limit``: it asks to slow down.
    """

    reason: str
    is_limit: bool = False
    retry_after: float | None = None


MachineEvent = events.Event | CodeGiven | CodeRefused


States = frozenset[S]
# These end a session in any state; but one that is connected stays up through a rate limit and
# sends nothing. While a rate limit lasts, a session that fails waits for its end.
TERMINAL: Mapping[type, States] = {
    events.Replaced: frozenset({S.CONFLICT}),
    events.LoggedOut: frozenset({S.LOGGED_OUT}),
    events.TemporarilyBanned: frozenset({S.BANNED}),
    events.ClientOutdated: frozenset({S.OUTDATED}),
    events.RateLimited: frozenset({S.RATE_LIMITED}),
    events.ConnectFailed: frozenset({S.FAILED, S.RATE_LIMITED}),
}
UP = frozenset({S.CONNECTED, S.RATE_LIMITED})
DOWN = frozenset({S.DISCONNECTED})
# A connected session may miss keep-alives now and then.
LINK: Mapping[type, States] = {
    events.Connected: UP,
    events.Disconnected: DOWN,
    events.KeepAliveMissed: UP | DOWN,
    events.KeptAlive: UP,
}
BY_EVENT: Mapping[S, Mapping[type, States]] = {
    S.STARTING: {
        **TERMINAL,
        events.Connected: UP,
        events.Paired: frozenset({S.STARTING}),
        # The latter where a store should have an account, and has none.
        events.QrShown: frozenset({S.STARTING, S.PAIRING, S.LOGGED_OUT}),
        events.Disconnected: frozenset({S.STARTING}),  # on the way to a connection
    },
    S.PAIRING: {
        **TERMINAL,
        events.Connected: UP,
        events.Paired: frozenset({S.STARTING}),
        events.QrShown: frozenset({S.PAIRING}),
        events.PairingTimedOut: frozenset({S.STOPPED}),
        CodeGiven: frozenset({S.PAIRING}),
        CodeRefused: frozenset({S.STOPPED, S.RATE_LIMITED}),
    },
    S.CONNECTED: {**TERMINAL, **LINK},
    S.RATE_LIMITED: {**TERMINAL, **LINK},
    S.DISCONNECTED: {
        **TERMINAL,
        events.Connected: UP,
        events.KeptAlive: UP | DOWN,
        events.Disconnected: DOWN,
        events.RateLimited: DOWN,  # remembered until it is connected again
    },
}
BY_TIME: Mapping[S, States] = {
    S.STARTING: frozenset({S.FAILED, S.RATE_LIMITED}),
    S.PAIRING: frozenset({S.STOPPED}),
    S.RATE_LIMITED: frozenset({S.CONNECTED}),
    S.DISCONNECTED: frozenset({S.FAILED, S.RATE_LIMITED}),
}
# whatsmeow shows QR codes for 60 s and then five times 20 s; a pairing code is good as long.
PAIRING_LASTS = timedelta(seconds=160)
# The library's own event that the time is over should come first.
PAIRING_GRACE = timedelta(seconds=5)
# whatsmeow forces a new connection after 3 minutes of silence; where that does not help, a new
# process may.
PATIENCE = timedelta(minutes=3)
MOST_MISSES = 3
STEADY_AFTER = timedelta(seconds=60)
SHORTEST, LONGEST = timedelta(hours=1), timedelta(hours=24)
# After so long without a limit the next wait is the shortest again.
FORGOTTEN_AFTER = timedelta(hours=24)
# When WhatsApp does not say how long.
BAN_LASTS = timedelta(hours=24)


def is_expected(state: S, event: object) -> bool:
    """Return whether an event has a transition in a state."""
    return type(event) in BY_EVENT.get(state, {})


def may_follow(state: S, cause: object | None, target: S) -> bool:
    """Return whether ``cause`` (``None``: time) may move a session from a state to another."""
    if cause is None:
        return target in BY_TIME.get(state, frozenset())
    return target in BY_EVENT.get(state, {}).get(type(cause), frozenset())


class Machine:
    """The status of one session. ``is_paired``: its store should have an account; else a phone is
    paired by ``pair_by``. ``limit`` is what is left of an earlier wait.
    """

    def __init__(
        self, *, is_paired: bool, pair_by: PairBy = PairBy.QR, limit: RateLimitWait, now: datetime
    ) -> None:
        self.status = SessionStatus(S.STARTING, reasons.STARTING, now + PATIENCE)
        self.ignored: Counter[str] = Counter()
        self.exit_mode: ExitMode | None = None
        self._is_paired, self._pair_by, self._limit = is_paired, pair_by, limit
        self._pairing_until: datetime | None = None
        self._up_since: datetime | None = None
        self._is_linked_here = self._is_steady = self._is_silent = False
        self._actions: list[Action] = []
        self._cause: MachineEvent | None = None

    @property
    def may_send(self) -> bool:
        """Whether messages may leave now."""
        return self.status.state == S.CONNECTED and self.exit_mode is None

    def stopped(self, status: SessionStatus, *, now: datetime) -> SessionStatus:
        """Return the status of a session whose process ends because it was asked to."""
        return self._rate_limited() if self._limit.holds(now) else status

    def handle(self, event: MachineEvent, *, now: datetime) -> list[Action]:
        """Take an event; return the actions to do now, in order."""
        if self.exit_mode is not None or not is_expected(self.status.state, event):
            self.ignored[type(event).__name__] += 1
            return []
        self._cause = event
        HANDLERS[type(event)](self, event, now)
        return self._taken_actions()

    def tick(self, *, now: datetime) -> list[Action]:
        """Let time pass; return the actions to do now, in order."""
        if self.exit_mode is not None:
            return []
        self._cause = None
        until = self.status.until
        if self.status.state in TIMEOUTS and until is not None and now >= until:
            TIMEOUTS[self.status.state](self, now)
        self._forget_failures(now)
        return self._taken_actions()

    def _qr_shown(self, event: events.QrShown, now: datetime) -> None:
        if self._is_linked_here:
            return
        if self._is_paired:
            self._exit(ExitMode.FINAL, SessionStatus(S.LOGGED_OUT, reasons.NO_ACCOUNT))
            return
        is_first = self._pairing_until is None
        ends = self._pairing_until = self._pairing_until or now + PAIRING_LASTS
        self._move(SessionStatus(S.PAIRING, reasons.PAIRING[self._pair_by], ends + PAIRING_GRACE))
        if self._pair_by == PairBy.QR:
            expires_at = min(ends, now + timedelta(seconds=event.seconds))
            self._actions.append(ShowPairing(PairBy.QR, event.code, expires_at))
        elif is_first:
            self._actions.append(BareAction.ASK_PAIR_CODE)

    def _code_given(self, event: CodeGiven, now: datetime) -> None:
        if self._pairing_until is not None:
            code = format_pair_code(event.code)
            self._actions.append(ShowPairing(PairBy.CODE, code, self._pairing_until))

    def _code_refused(self, event: CodeRefused, now: datetime) -> None:
        if event.is_limit:
            self._limited(event, now)
        else:
            self._give_up(reasons.with_detail(reasons.NO_CODE, event.reason))

    def _pairing_over(self, event: object, now: datetime) -> None:
        self._give_up(reasons.NOT_PAIRED_IN_TIME)

    def _give_up(self, reason: str) -> None:
        self._actions.append(BareAction.GIVE_UP_PAIRING)
        self._exit(ExitMode.FINAL, SessionStatus(S.STOPPED, reason))

    def _paired(self, event: events.Paired, now: datetime) -> None:
        self._is_linked_here = True
        self._actions += [BareAction.FORGET_PAIRING, Linked(event.account)]
        self._move(SessionStatus(S.STARTING, reasons.LINKED, now + PATIENCE))

    def _connected(self, event: events.Connected, now: datetime) -> None:
        if self.status.state == S.PAIRING:
            self._actions.append(BareAction.FORGET_PAIRING)
        self._is_linked_here = True
        self._actions.append(Linked(event.account))
        self._up(now)

    def _up(self, now: datetime) -> None:
        """The connection is there; a rate limit that still holds began before it."""
        self._is_silent = False
        self._up_since = self._up_since or now
        if self._limit.holds(now):
            self._move(self._rate_limited())
        else:
            self._move(SessionStatus(S.CONNECTED, reasons.CONNECTED))

    def _disconnected(self, event: events.Disconnected, now: datetime) -> None:
        self._is_silent = False
        if self.status.state in UP:
            self._down(reasons.with_detail(reasons.DISCONNECTED, event.reason), now)

    def _down(self, reason: str, now: datetime) -> None:
        self._up_since, self._is_steady = None, False
        self._move(SessionStatus(S.DISCONNECTED, reason, now + PATIENCE))

    def _missed(self, event: events.KeepAliveMissed, now: datetime) -> None:
        if event.misses >= MOST_MISSES:
            self._is_silent = True
            self._down(reasons.SILENT, now)

    def _kept_alive(self, event: events.KeptAlive, now: datetime) -> None:
        """End a silence. A connection that was lost reports `Connected` when it is back."""
        if self._is_silent:
            self._up(now)

    def _limited(self, event: events.RateLimited | CodeRefused, now: datetime) -> None:
        """A session that is up goes on receiving; one that is not yet connected ends."""
        self._limit.extend(event.retry_after, now=now)
        if self.status.state in (S.STARTING, S.PAIRING):
            self._exit(ExitMode.FINAL, self._rate_limited())
        elif self.status.state in UP:
            self._up(now)

    def _ended(self, event: MachineEvent, now: datetime) -> None:
        if isinstance(event, events.LoggedOut):
            self._actions.append(BareAction.UNLINK)
        self._exit(ExitMode.FINAL, TERMINAL_STATUS[type(event)](event, now))

    def _connect_failed(self, event: events.ConnectFailed, now: datetime) -> None:
        self._fail(reasons.with_detail(reasons.CONNECT_FAILED, event.reason), now)

    def _no_connection(self, now: datetime) -> None:
        self._fail(reasons.NO_CONNECTION, now)

    def _fail(self, reason: str, now: datetime) -> None:
        """End, to be started again; not sooner than WhatsApp allows."""
        if self._limit.holds(now):
            self._exit(ExitMode.FINAL, self._rate_limited())
        else:
            self._exit(ExitMode.RESTART, SessionStatus(S.FAILED, reason))

    def _forget_failures(self, now: datetime) -> None:
        if self._up_since is None or self._is_steady or now - self._up_since < STEADY_AFTER:
            return
        self._is_steady = True
        self._actions.append(BareAction.FORGET_FAILURES)

    def _rate_limited(self) -> SessionStatus:
        return SessionStatus(S.RATE_LIMITED, reasons.RATE_LIMITED, self._limit.until)

    def _exit(self, mode: ExitMode, status: SessionStatus) -> None:
        if self.status.state == S.PAIRING:
            self._actions.append(BareAction.FORGET_PAIRING)
        if self._move(status):
            self.exit_mode = mode
            self._actions.append(mode)

    def _move(self, status: SessionStatus) -> bool:
        if not may_follow(self.status.state, self._cause, status.state):
            self.ignored[f"{self.status.state} to {status.state}"] += 1
            return False
        self.status = status
        return True

    def _taken_actions(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions


def format_pair_code(code: str) -> str:
    """Return a pairing code as the phone asks for it: ``XXXX-XXXX``."""
    letters = "".join(one for one in code.upper() if one.isalnum())
    return f"{letters[:4]}-{letters[4:]}"


@dataclass(slots=True)
class RateLimitWait:
    """How long a session waits after ``429 rate-overlimit``: as long as WhatsApp says, else one
    hour, doubled each time it happens again, up to a day.

    ``until`` is the end of this wait, or of the last one; ``lasts`` is its length.
    """

    until: datetime | None = None
    lasts: timedelta = timedelta()

    def holds(self, now: datetime) -> bool:
        """Return whether nothing may be sent now."""
        return self.until is not None and now < self.until

    def extend(self, retry_after: float | None, *, now: datetime) -> None:
        """Begin to wait, ``retry_after`` seconds or longer than the last time; a wait that is on
        becomes no shorter, and a limit without a time while it is on does not double it.
        """
        if retry_after is not None:
            lasts = timedelta(seconds=max(0.0, retry_after))
        elif self.holds(now):
            return
        else:
            lasts = self._next(now)
        until = now + lasts
        if self.until is None or until > self.until:
            self.until, self.lasts = until, lasts

    def _next(self, now: datetime) -> timedelta:
        if self.until is None or now - self.until > FORGOTTEN_AFTER:
            return SHORTEST
        return min(LONGEST, max(SHORTEST, 2 * self.lasts))


def _banned(event: events.TemporarilyBanned, now: datetime) -> SessionStatus:
    return SessionStatus(S.BANNED, reasons.ban(event.code), event.until or now + BAN_LASTS)


def _logged_out(event: events.LoggedOut, now: datetime) -> SessionStatus:
    return SessionStatus(S.LOGGED_OUT, reasons.with_detail(reasons.LOGGED_OUT, event.reason))


TERMINAL_STATUS: Mapping[type, Callable[[Any, datetime], SessionStatus]] = {
    events.Replaced: lambda event, now: SessionStatus(S.CONFLICT, reasons.REPLACED),
    events.LoggedOut: _logged_out,
    events.TemporarilyBanned: _banned,
    events.ClientOutdated: lambda event, now: SessionStatus(S.OUTDATED, reasons.OUTDATED),
}
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
    **dict.fromkeys(TERMINAL_STATUS, Machine._ended),
    events.ConnectFailed: Machine._connect_failed,
}
# What is done when the time of a status is over.
TIMEOUTS: Mapping[S, Callable[[Machine, datetime], None]] = {
    S.STARTING: Machine._no_connection,
    S.DISCONNECTED: Machine._no_connection,
    S.PAIRING: lambda machine, now: machine._give_up(reasons.NOT_PAIRED_IN_TIME),
    S.RATE_LIMITED: Machine._up,
}
