"""Celery's worker while the broker is full or away: it waits and tries again, one line a state."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery.worker.consumer import Consumer

logger = logging.getLogger("sigma.whatsapp.broker")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
# After this long without an error the next one is a new trouble.
STEADY_SECONDS = 30.0


class PatientConsumer(Consumer):
    """Starts anew after an error of the broker, more and more slowly, and says so once.

    Celery's own says it with a traceback several times a second, and at an answer such as "out of
    memory" it ends the process (unless ``broker_channel_error_retry`` is set, as it is here).
    """

    _pause, _failed_at = 0.0, -STEADY_SECONDS

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Wait before the next attempt to connect."""
        self._wait(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Let go of the connection, and wait before the next one."""
        try:
            if self.connection is not None:
                self.connection.collect()
        except Exception as error:
            logger.debug("whatsapp broker: connection not closed", exc_info=error)
        self._wait(exc)

    def _wait(self, exc: Exception, sleep: Any = time.sleep) -> None:
        is_new = time.monotonic() - self._failed_at > STEADY_SECONDS
        if is_new:
            extra = {"error": type(exc).__name__}
            logger.warning("whatsapp broker is away or full; this worker waits", extra=extra)
        self._pause = FIRST_PAUSE if is_new else min(LONGEST_PAUSE, self._pause * 2)
        sleep(self._pause)
        self._failed_at = time.monotonic()
