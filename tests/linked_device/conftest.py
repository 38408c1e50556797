"""The sender's command, as an operator of one machine types it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django.fixtures import Settings

from connectors.linked_device import supervisor
from connectors.linked_device.commands import pairing, running

Sender = Callable[..., str]


class Typed(io.StringIO):
    """What somebody types at a terminal."""

    def isatty(self) -> bool:
        """A person is there."""
        return True


@pytest.fixture
def sender(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sender:
    """Run a verb on a machine of its own, where a host is up; return what it printed."""
    for module in (pairing, running):
        monkeypatch.setattr(module, "STEP_SECONDS", 0.02)
    settings.SIGMA_SENDER_STORE = tmp_path / "sender"
    settings.SIGMA_SENDER_HOST = "desk"
    (tmp_path / "sender").mkdir(mode=0o700)
    (tmp_path / "sender" / supervisor.ALIVE).touch()

    def run(
        *arguments: object, stdin: io.StringIO | None = None, out: io.StringIO | None = None
    ) -> str:
        out = out or io.StringIO()
        call_command("sender", *map(str, arguments), stdout=out, stdin=stdin or io.StringIO())
        return out.getvalue()

    return run
