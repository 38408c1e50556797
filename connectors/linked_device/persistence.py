"""Go on when the database comes back. What gives up for good is the process, by its lease."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

logger = logging.getLogger("sigma.whatsapp.sender")

T = TypeVar("T")
AWAY = (OperationalError, InterfaceError)
PAUSE_SECONDS = 0.5


class Persistence:
    """One thread's way through outages; ``what`` names its work in the log.

    ``wait`` blocks for some seconds.
    """

    def __init__(self, what: str, *, wait: Callable[[float], object]) -> None:
        self._what, self._wait, self._is_away = what, wait, False

    def insist(self, work: Callable[[], T]) -> T:
        """Do it until the database answered, however long that takes."""
        while True:
            try:
                done = work()
            except AWAY as error:
                self.missed(error)
                self._wait(PAUSE_SECONDS)
            else:
                self.worked()
                return done

    def missed(self, error: Exception) -> None:
        """Note that the database is away; one line per outage."""
        if not self._is_away:
            extra = {"work": self._what, "error": type(error).__name__}
            logger.warning("whatsapp session waits for the database", extra=extra)
        self._is_away = True
        connection.close()

    def worked(self) -> None:
        """Note that the database answers."""
        if self._is_away:
            logger.warning("whatsapp session goes on", extra={"work": self._what})
        self._is_away = False
