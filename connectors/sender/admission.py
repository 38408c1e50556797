"""Let a request in: with a key that is bound to a workspace, or without one where that is open."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings

from connectors.sender import callers, keyless
from connectors.sender.callers import Caller
from lib import clock
from lib.requests import Headers
from workspaces.scopes import Scope


def is_anonymous(headers: Headers) -> bool:
    """Return whether a request has no key, and there is nobody it could be for without one."""
    return callers.key_in(headers) is None and settings.SIGMA_SENDER_OPEN_WORKSPACE is None


def to_send(headers: Headers) -> Caller:
    """Return who wants to send; blocks while the database answers.

    Raises:
        Refused: he may not.
    """
    caller = _identify(headers, callers.MAY_SEND)
    if callers.key_in(headers) is None:
        keyless.insist_on_json(headers)
    return caller


def to_look(headers: Headers) -> Caller:
    """Return who wants to know something of his workspace; blocks while the database answers.

    Raises:
        Refused: he may not.
    """
    return _identify(headers, callers.MAY_LOOK)


def _identify(headers: Headers, scopes: Collection[Scope]) -> Caller:
    key = callers.key_in(headers)
    if key is not None:
        caller = callers.with_key(key, now=clock.now())
    else:
        caller = callers.without_key(settings.SIGMA_SENDER_OPEN_WORKSPACE)
        keyless.admit(headers)
    caller.require(scopes)
    return caller
