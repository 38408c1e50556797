"""The settings of the sender service that a wrong value of would open or break something."""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

from sigma.env import InvalidSetting

DEVICES = ("whatsapp", "simulated")
_ORIGIN = re.compile(r"https?://[^/\s*]+")


def device(chosen: str, *, for_trying: bool) -> str:
    """Return what linked devices are; a simulated one sends nothing to anybody.

    Raises:
        InvalidSetting: a simulated one in production.
    """
    if chosen == "simulated" and not for_trying:
        raise InvalidSetting(
            "SIGMA_SENDER_DEVICE=simulated is for trying out (SIGMA_DEBUG or embedded engines)."
        )
    return chosen


def origins(values: Sequence[str]) -> list[str]:
    """Return web origins, each written out: no wildcard, no path.

    Raises:
        InvalidSetting: one is not an origin such as https://app.example.com.
    """
    for value in values:
        if not _ORIGIN.fullmatch(value):
            raise InvalidSetting(
                f"SIGMA_SENDER_ORIGINS: {value!r} is not an origin such as https://app.example.com."
            )
    return [value.lower() for value in values]


def workspace(value: str) -> UUID | None:
    """Return the workspace that is served without a key, if there is to be one.

    Raises:
        InvalidSetting: not a UUID.
    """
    try:
        return UUID(value) if value else None
    except ValueError:
        raise InvalidSetting("SIGMA_SENDER_OPEN_WORKSPACE must be a workspace's UUID.") from None
