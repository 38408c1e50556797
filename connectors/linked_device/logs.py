"""The sender's log files: what was sent and what was not, kept on the machine for its operators.

They say no more than the process's own log does, and never a whole number. They exist beside that
log because an operator greps for ``message sent`` and ``ERROR`` without asking where a container
writes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from io import TextIOWrapper
from logging.config import DictConfigurator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from uuid import UUID

from django.conf import settings

from lib.masking import mask, mask_number

logger = logging.getLogger("sigma.whatsapp.sender")
# What is wrong with the files themselves must not go through them.
complaints = logging.getLogger("sigma.whatsapp.logs")

# Bytes of a file, and how many there are of each name, the one that is written included.
SIZE, FILES = 5_000_000, 5


class PrivateRotatingFile(RotatingFileHandler):
    """A rotating log file that only its owner may read, and whose failure stops no sending.

    It complains once: a full disk would otherwise write as much to the standard error.
    """

    has_complained = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Say once that lines are lost, and begin with a fresh file: disks become free again."""
        with suppress(OSError, ValueError):
            if self.stream is not None:
                self.stream.close()
        self.stream = None  # opened again by the next line
        if not self.has_complained:
            self.has_complained = True
            _complain(Path(self.baseFilename))

    def _open(self) -> TextIOWrapper:
        file = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(file, "a", encoding=self.encoding)


def attach(name: str, *, size: int = SIZE, files: int = FILES) -> None:
    """Write what the sender logs to ``<store>/logs/<name>.log`` as well, at most ``files`` files of
    ``size`` bytes; where that cannot be, say so once and go on without.

    One process per name: two would rotate each other's file away.
    """
    path = Path(settings.SIGMA_SENDER_STORE) / "logs" / f"{name}.log"
    if any(getattr(one, "baseFilename", "") == str(path) for one in logger.handlers):
        return
    try:
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = PrivateRotatingFile(path, maxBytes=size, backupCount=files - 1, encoding="utf-8")
    except OSError:
        _complain(path)
        return
    # The same words as in the process's log, from the same settings.
    configured = DictConfigurator(settings.LOGGING)
    handler.addFilter(configured.configure_filter(configured.config["filters"]["redact"]))
    handler.setFormatter(configured.configure_formatter(configured.config["formatters"]["text"]))
    logger.addHandler(handler)


def sent(*, message_id: UUID, workspace_id: UUID, number: str, transport: str) -> None:
    """Log that the platform took a message for ``number`` (digits)."""
    facts = _facts(message_id, workspace_id, number)
    logger.info("message sent", extra={**facts, "transport": transport})


def failed(
    *, message_id: UUID, workspace_id: UUID, number: str | None, code: int | str, message: str
) -> None:
    """Log that a message for ``number`` (digits) was not sent, and why.

    The word ``ERROR`` is part of the message: as JSON the level is in lower case.
    """
    facts = _facts(message_id, workspace_id, number or "")
    logger.error("ERROR message not sent: %s", mask(message), extra={**facts, "code": code})


def session_status(
    *, state: str, reason: str, until: datetime | None, ids: Mapping[str, str]
) -> None:
    """Log a session's status now, with the words that operators search for in its reason.

    A wait that WhatsApp asks for is not an error: it ends by itself.
    """
    level = logging.WARNING if until else logging.INFO
    logger.log(level, "session %s: %s", state, mask(reason), extra={**ids, "until": until})


def pairing_code(code: str, *, ids: Mapping[str, str]) -> None:
    """Log the code to type into the phone; it is good for minutes, and for that phone alone."""
    logger.info("Pairing code: %s", code, extra=ids)


def logged_in(*, ids: Mapping[str, str]) -> None:
    """Log that a phone was linked."""
    logger.info("Successfully logged in", extra=ids)


def _facts(message_id: UUID, workspace_id: UUID, number: str) -> dict[str, object]:
    return {"message_id": message_id, "workspace_id": workspace_id, "to": mask_number(number)}


def _complain(path: Path) -> None:
    text = "whatsapp sender cannot write its log file; sending goes on"
    complaints.warning(text, extra={"file": path}, exc_info=True)
