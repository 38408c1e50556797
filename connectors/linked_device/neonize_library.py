"""The library neonize, loaded for one session's process and kept quiet. Import it nowhere else.

It wraps a Go program (whatsmeow) whose threads do not survive a fork and whose bugs end the
process. By default it prints QR codes and states to the terminal, and logs identities.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

logger = logging.getLogger("sigma.whatsapp.sender")

# What may be an identity: words with a digit or an @, and long ones, which are keys.
_IDENTITY = re.compile(r"\S*[\d@]\S*|\S{30,}")
_LIMITED = re.compile(r"connect failure.*(?:\b429\b|rate-overlimit)", re.IGNORECASE | re.DOTALL)
MOST = 200
SQLITE = b"SQLite format 3\0"
ITS_LOGGERS = ("neonize", "whatsmeow", "Whatsmeow")


class NoLibmagic(Exception):
    """Only files need libmagic, and a linked device sends texts."""


def redacted(text: str) -> str:
    """Return a sentence of the library without anything that may be an identity or a key."""
    return _IDENTITY.sub("…", text)[:MOST]


class Quiet(logging.Handler):
    """Logs what the library logs, redacted, and reports a rate limit, which it reports in no other
    way.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.on_limit: Callable[[], None] = lambda: None

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a warning on."""
        text = record.getMessage()
        logger.warning("whatsapp library: %s", redacted(text))
        if _LIMITED.search(text):
            self.on_limit()


def _stand_in_for_magic() -> None:
    """Let neonize be imported on a machine without libmagic, which it needs for files only."""
    try:
        importlib.import_module("magic")
    except ImportError:
        stand_in: Any = ModuleType("magic")
        stand_in.from_buffer = stand_in.from_file = _no_libmagic
        sys.modules["magic"] = stand_in


def _no_libmagic(*_: object, **__: object) -> str:
    raise NoLibmagic("Files need the system's libmagic, which this machine does not have.")


def _load() -> ModuleType:
    """Import the library without the handlers that it gives the root logger.

    Raises:
        ImportError: it, or what it needs, is not installed; the message says what to do.
    """
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        return importlib.import_module("neonize.client")
    except (ImportError, OSError) as error:
        raise ImportError(
            f"Linked devices need requirements-linked.txt: {redacted(str(error))}"
        ) from error
    finally:
        root.handlers[:], root.level = before, level


def take_logs(handler: Quiet) -> None:
    """Pass what the library logs, from warnings on, to ``handler`` alone."""
    for name in ITS_LOGGERS:
        its = logging.getLogger(name)
        its.handlers, its.propagate = [handler], False
        its.setLevel(logging.WARNING)
    # The level that is passed on to Go is that of this one.
    logging.getLogger("neonize.utils.log").setLevel(logging.WARNING)
    # It warns of a missing ffmpeg, which only files need.
    logging.getLogger("neonize.utils.ffmpeg").setLevel(logging.ERROR)


def close_standard_output() -> None:
    """Discard what the Go program prints: errors of sends, with their numbers."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.close(sink)


def run_for(call: Callable[[], object], seconds: float) -> None:
    """Wait so many seconds for a call that may hang."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))


def require_database(store: Path) -> None:
    """Make the store, or refuse one that is none: the library would find out later.

    Raises:
        OSError: it is no SQLite file, or cannot be opened.
    """
    file = os.open(store, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        head = os.read(file, len(SQLITE))
    finally:
        os.close(file)
    if head and head != SQLITE:
        raise OSError("The store cannot be opened: it is no SQLite file.")


def _daemon(*args: Any, **options: Any) -> threading.Thread:
    return threading.Thread(*args, **{**options, "daemon": True})


_stand_in_for_magic()
client: Any = _load()
pb: Any = importlib.import_module("neonize.proto.Neonize_pb2")
e2e: Any = importlib.import_module("neonize.proto.waE2E.WAWebProtobufsE2E_pb2")
registration: Any = importlib.import_module(
    "neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2"
)
version = str(importlib.import_module("neonize").__version__)
# Its worker may never return (after QR codes ran out): the process must be able to end without it.
client.Thread = _daemon
