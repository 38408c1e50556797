"""What goes wrong on our side, told without its details: those are in the log."""

from __future__ import annotations

import logging

from django.db import InterfaceError, OperationalError

from connectors.sender.refusals import Refused, unavailable
from lib import incidents

logger = logging.getLogger("sigma.whatsapp.sender")

AWAY = "The database cannot be reached, or took too long; try again."


def refusal_of(error: Exception) -> Refused:
    """Return what the caller is told of a request that ended in ``error``."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, OperationalError | InterfaceError):
        return unavailable(AWAY)
    return Refused(500, "INTERNAL", incidents.hide(logger, "whatsapp sender request", error))
