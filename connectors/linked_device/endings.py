"""What WhatsApp's last words to a session mean: each ends it, and says what to do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from connectors.linked_device import events, reasons
from connectors.linked_device.standing import Standing
from connectors.models import SessionState as S

# When WhatsApp does not say how long.
BAN_LASTS = timedelta(hours=24)


def after(event: object, *, now: datetime) -> Standing:
    """Return where one of these events leaves a session."""
    return ENDS[type(event)](event, now)


def _banned(event: events.TemporarilyBanned, now: datetime) -> Standing:
    return Standing(S.BANNED, reasons.ban(event.code), event.until or now + BAN_LASTS)


def _logged_out(event: events.LoggedOut, now: datetime) -> Standing:
    return Standing(S.LOGGED_OUT, reasons.told(reasons.LOGGED_OUT, event.reason))


ENDS: Mapping[type, Callable[[Any, datetime], Standing]] = {
    events.Replaced: lambda event, now: Standing(S.CONFLICT, reasons.REPLACED),
    events.LoggedOut: _logged_out,
    events.TemporarilyBanned: _banned,
    events.ClientOutdated: lambda event, now: Standing(S.OUTDATED, reasons.OUTDATED),
}
