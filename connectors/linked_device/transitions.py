"""Where a session may go from each of its states: by what it hears, and by time alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.linked_device import events
from connectors.linked_device.actions import CodeGiven, CodeRefused
from connectors.models import SessionState as S

States = frozenset[S]
# Whatever goes on, these end it; but a session that is connected lives through a limit, silently.
# While a limit lasts, a session that fails waits for its end.
ENDINGS: Mapping[type, States] = {
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
        **ENDINGS,
        events.Connected: UP,
        events.Paired: frozenset({S.STARTING}),
        # The latter where a store should have an account, and has none.
        events.QrShown: frozenset({S.STARTING, S.PAIRING, S.LOGGED_OUT}),
        events.Disconnected: frozenset({S.STARTING}),  # on the way to a connection
    },
    S.PAIRING: {
        **ENDINGS,
        events.Connected: UP,
        events.Paired: frozenset({S.STARTING}),
        events.QrShown: frozenset({S.PAIRING}),
        events.PairingTimedOut: frozenset({S.STOPPED}),
        CodeGiven: frozenset({S.PAIRING}),
        CodeRefused: frozenset({S.STOPPED, S.RATE_LIMITED}),
    },
    S.CONNECTED: {**ENDINGS, **LINK},
    S.RATE_LIMITED: {**ENDINGS, **LINK},
    S.DISCONNECTED: {
        **ENDINGS,
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


def is_meant(state: S, event: object) -> bool:
    """Return whether an event means something in a state."""
    return type(event) in BY_EVENT.get(state, {})


def may_follow(state: S, cause: object | None, target: S) -> bool:
    """Return whether ``cause`` (``None``: time) may move a session from a state to another."""
    if cause is None:
        return target in BY_TIME.get(state, frozenset())
    return target in BY_EVENT.get(state, {}).get(type(cause), frozenset())
