"""Give a text to the device, and make of its answer what sending goes by."""

from __future__ import annotations

import logging
from datetime import datetime
from random import Random

from django.conf import settings

from connectors.linked_device import logs, pacing
from connectors.linked_device.claiming import Ready
from connectors.linked_device.device import Device
from messaging.attempts import fate_of
from workspaces.channel_errors import ChannelError, OutcomeUnknown, Reach, Throttled, Unavailable
from workspaces.channel_facts import Accepted

logger = logging.getLogger("sigma.whatsapp.sender")


class Caller:
    """One device; remembers how often in a row it asked to slow down, or was not connected."""

    def __init__(self, device: Device, *, transport: str, chance: Random) -> None:
        self._device, self._transport, self._chance = device, transport, chance
        self._throttled = self._away = 0

    @property
    def pause(self) -> float:
        """How many seconds nothing should be tried now: who is not connected takes no message."""
        return pacing.away_seconds(self._away) if self._away else 0.0

    def send(self, ready: Ready, *, now: datetime) -> Accepted | ChannelError:
        """Send, and return what came of it; blocks as long as the device does."""
        result = self._answer(ready)
        self._throttled = self._throttled + 1 if isinstance(result, Throttled) else 0
        self._away = self._away + 1 if isinstance(result, Unavailable) else 0
        self._tell(ready, result, now)
        return self._widened(result) if isinstance(result, Throttled) else result

    def _answer(self, ready: Ready) -> Accepted | ChannelError:
        try:
            return Accepted(self._device.send_text(ready.number, ready.text).message_id)
        except ChannelError as error:
            return error
        except Exception as error:
            # A bug of the library's, whose words may hold the number; the message may have left.
            extra = {"message_id": ready.attempt.message_id, "error": type(error).__name__}
            logger.error("whatsapp send failed in a way nobody thought of", extra=extra)
            return OutcomeUnknown(f"The send failed ({type(error).__name__}).")

    def _widened(self, error: Throttled) -> Throttled:
        """Return it as one about the whole account, whose other messages wait too."""
        return Throttled(
            error.retry_after or pacing.throttled_seconds(self._throttled), code=error.code,
            reach=Reach.ACCOUNT, details=error.details, trace_id=error.trace_id,
        )  # fmt: skip

    def _tell(self, ready: Ready, result: Accepted | ChannelError, now: datetime) -> None:
        attempt = ready.attempt
        message_id, workspace_id = attempt.message_id, attempt.workspace_id
        if isinstance(result, Accepted):
            logs.sent(
                message_id=message_id, workspace_id=workspace_id, number=ready.number,
                transport=self._transport,
            )  # fmt: skip
            return
        most = int(settings.SIGMA_SEND_MAX_ATTEMPTS)
        fate = fate_of(result, attempt, now=now, most_attempts=most, chance=self._chance)
        if fate.status != "queued":
            logs.failed(
                message_id=message_id, workspace_id=workspace_id, number=ready.number,
                code=result.code, message=result.message,
            )  # fmt: skip
