"""What goes wrong on our side, told without its details: those are in the log."""

from __future__ import annotations

import logging
from uuid import uuid4

from django.db import InterfaceError, OperationalError

from connectors.sender.refusals import Refused, unavailable

logger = logging.getLogger("sigma.whatsapp.sender")

AWAY = "The database cannot be reached, or took too long; try again."


def refusal_of(error: Exception) -> Refused:
    """Return what the caller is told of a request that ended in ``error``."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, OperationalError | InterfaceError):
        return unavailable(AWAY)
    incident = uuid4().hex[:12]
    logger.error("whatsapp sender request failed, incident %s", incident, exc_info=error)
    return Refused(
        500, "INTERNAL", f"Something went wrong on our side; the log has it as {incident}."
    )
