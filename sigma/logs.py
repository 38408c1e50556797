"""Log lines: one shape for people, one for machines, and a last net against personal data."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Network
from threading import Lock

from django.http import HttpRequest

# What a record carries anyway; everything else was passed as ``extra`` and belongs in the line.
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "data", "taskName"}
PHONE = re.compile(r"(?<![\w.:-])\+?\d(?:[ ().-]{0,2}\d){8,14}(?![\w:-])")
WAMID = re.compile(r"wamid\.[A-Za-z0-9+/=_-]+")
API_KEY = re.compile(r"sigma_[A-Za-z0-9_-]{30,}")
# Whatever is named like a token, a signature or a secret, in a header or in a query string.
BEARER = re.compile(
    r"(?i)(bearer\s+|(?:token|sig|signature|proof|secret|password)(?:=|%3d))[^\s&'\"<>]+"
)
REPEAT_SECONDS, MOST_SEEN = 60.0, 1_000
ENGINES = ("celery", "kombu")
# Counts and ids of ours, and addresses, which look like phone numbers as text; a phone number is
# never a number in this product.
HARMLESS = (int, float, type(None), IPv4Address, IPv6Network)


def redact(text: str) -> str:
    """Mask what looks like a phone number, a wamid or a token."""
    text = BEARER.sub(r"\1•••", WAMID.sub("wamid.•••", API_KEY.sub("sigma_•••", text)))
    return PHONE.sub("•••", text)


class Redact(logging.Filter):
    """Mask personal data that reached a log call in spite of the rule that none may."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record's message in place; always let it pass."""
        message = record.getMessage()
        masked = redact(message)
        if masked != message:
            record.msg, record.args = masked, ()
        return True


class OnceAMinute(logging.Filter):
    """Pass a line about trouble with an engine once a minute; the next tells how many were like it.

    Such lines are warnings of Celery and its parts, and those of ours that name an ``error`` and
    differ in nothing: they are repeated for as long as the trouble lasts.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock, self._lock = clock, Lock()
        self._seen: dict[object, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is written."""
        key = _trouble(record)
        if key is None:
            return True
        with self._lock:
            now = self._clock()
            since, more = self._seen.get(key, (now - REPEAT_SECONDS, 0))
            if now - since < REPEAT_SECONDS:
                self._seen[key] = since, more + 1
                return False
            if len(self._seen) >= MOST_SEEN:
                self._seen.clear()
            self._seen[key] = now, 0
        if more:
            record.repeated = more
        return True


def _trouble(record: logging.LogRecord) -> object | None:
    """Return what lines of the same trouble have in common; nothing for any other line."""
    if record.levelno < logging.WARNING:
        return None
    kind = record.exc_info[0] if record.exc_info else None
    if record.name.startswith(ENGINES):
        return record.name, str(record.msg), kind
    if not hasattr(record, "error"):
        return None
    return record.name, record.getMessage(), kind, tuple(sorted(_extras(record).items(), key=str))


def _extras(record: logging.LogRecord) -> dict[str, object]:
    extras = {k: v for k, v in vars(record).items() if k not in STANDARD and not k.startswith("_")}
    return {key: _safe(value) for key, value in extras.items()}


def _safe(value: object) -> object:
    """Mask a value; of an HTTP request keep method and path, for its query holds tokens."""
    if isinstance(value, HARMLESS):
        return value
    if isinstance(value, HttpRequest):
        return redact(f"{value.method} {value.path}")
    return redact(str(value))


class TextFormatter(logging.Formatter):
    """``2026-11-21T10:00:00.000Z WARNING logger message key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one line (plus a traceback where there is one)."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        extras = "".join(f" {key}={value}" for key, value in _extras(record).items())
        line = f"{moment[:-6]}Z {record.levelname:<7} {record.name} {record.getMessage()}{extras}"
        if record.exc_info:
            line += "\n" + redact(self.formatException(record.exc_info))
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one object; ``extra`` values become keys of their own."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            document["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(document, default=str, ensure_ascii=False)
