"""``monitor``: one line and an exit code, for cron."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError

from connectors.linked_device import health
from connectors.linked_device.commands import choosing
from connectors.linked_device.health import Health
from workspaces.models import HOSTED, Workspace


def monitor(names: Sequence[str], *, worst_rate: float) -> tuple[bool, str]:
    """Return whether numbers are well (all linked devices, if none is named), and the line that
    says so; it never raises for what an operator has to hear of.
    """
    try:
        found = choosing.numbers(names, transports=() if names else HOSTED)
        now = datetime.now(UTC)
        looks = [(each, health.look(each, now=now, worst_rate=worst_rate)) for each in found]
    except CommandError as error:
        return _error([str(error)])
    except (DatabaseError, InterfaceError):
        return _error(["The database does not answer."])
    if not looks:
        return _error([choosing.NONE])
    problems = [f"{choosing.label(each)}: {_sentence(look)}" for each, look in looks if not look.ok]
    return _error(problems) if problems else (True, _well(looks))


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
