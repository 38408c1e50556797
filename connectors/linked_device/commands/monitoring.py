"""``monitor``: one line and an exit code, for cron."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import httpx
from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError

from connectors.linked_device import health
from connectors.linked_device.commands import choosing
from connectors.linked_device.health import Health
from workspaces.models import Workspace

HEALTH_SECONDS = 10


def monitor(names: Sequence[str], *, worst_rate: float, url: str) -> tuple[bool, str]:
    """Return whether the sender service at ``url`` (empty: not asked) and its numbers are well, and
    the line that says so; it never raises for what an operator has to hear of.

    Without ``names`` these are the linked devices that have ever been paired or should run; where
    there are none, the numbers of the Cloud API.
    """
    try:
        found = choosing.numbers(names) if names else choosing.in_use()
        now = datetime.now(UTC)
        looks = [(each, health.look(each, now=now, worst_rate=worst_rate)) for each in found]
    except CommandError as error:
        return _error([str(error)])
    except (DatabaseError, InterfaceError):
        return _error(["The database does not answer."])
    if not looks:
        return _error([choosing.NONE])
    problems = [f"{choosing.label(each)}: {_sentence(look)}" for each, look in looks if not look.ok]
    if url and (trouble := _service(url)):
        problems.insert(0, trouble)
    return _error(problems) if problems else (True, _well(looks))


def _service(url: str) -> str:
    """Ask the sender service what its callers ask; return what is wrong with it."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=HEALTH_SECONDS)
        body = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return (
            f"The sender service does not answer at {url} ({type(error).__name__}). Is it running? "
            "--url names another address, --no-service leaves it out."
        )
    if answer.status_code == httpx.codes.OK:
        return ""
    reason = body.get("reason") if isinstance(body, dict) else ""
    return f"The sender service is not healthy ({answer.status_code}): {reason or 'no reason'}"


def _well(looks: Sequence[tuple[Workspace, Health]]) -> str:
    messages = sum(look.last_day.messages for _, look in looks)
    errors = sum(look.last_day.errors for _, look in looks)
    names = ", ".join(choosing.label(each) for each, _ in looks)
    return _line("OK", f"{names}: {messages:,} messages and {errors:,} errors in 24 hours.")


def _error(problems: Sequence[str]) -> tuple[bool, str]:
    return False, _line("ERROR", " | ".join(problems))


def _sentence(look: Health) -> str:
    return " ".join(look.problems)


def _line(word: str, text: str) -> str:
    return f"{word}: {' '.join(text.split())}"
