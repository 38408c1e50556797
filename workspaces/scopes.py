"""What an API key may be allowed to do."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Scope(StrEnum):
    """One permission; a key holds any number of them."""

    MESSAGES_READ = "messages:read"
    RAW_READ = "raw:read"
    MEDIA_READ = "media:read"
    WORKSPACES_READ = "workspaces:read"
    WORKSPACES_WRITE = "workspaces:write"
    LEDGER_READ = "ledger:read"
    MESSAGES_SEND = "messages:send"
    TEMPLATES_READ = "templates:read"
    TEMPLATES_WRITE = "templates:write"
    BROADCASTS_READ = "broadcasts:read"
    BROADCASTS_WRITE = "broadcasts:write"
    EVENTS_READ = "events:read"
    EVENTS_WRITE = "events:write"
    SENDING_MANAGE = "sending:manage"
    NUMBERS_READ = "numbers:read"
    SENDER_READ = "sender:read"
    SENDER_MANAGE = "sender:manage"


ALL_SCOPES = frozenset(Scope)


class UnknownScope(ValueError):
    """A scope that does not exist was asked for."""


def check_scopes(scopes: Iterable[str]) -> None:
    """Refuse anything that is not a scope.

    Raises:
        UnknownScope: names the first unknown one.
    """
    for scope in scopes:
        if scope not in ALL_SCOPES:
            raise UnknownScope(f"{scope!r} is not a scope; there are: {', '.join(sorted(Scope))}.")
