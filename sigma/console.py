"""What ``make up`` shows: steps with their times, and each process's lines behind its name."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.text import Text

COLOURS = {
    "web": "cyan",
    "worker": "green",
    "maintenance": "yellow",
    "beat": "magenta",
    "sending": "bright_green",
    "simulator": "bright_black",
    "postgres": "blue",
    "valkey": "red",
}
NAME_WIDTH = max(map(len, COLOURS))
# The level word of our log lines, of uvicorn's and of Celery's.
LEVEL = re.compile(r"\b(?:(CRITICAL|ERROR|FATAL|PANIC|Traceback)|(WARNING))\b")


class Patient(Console):
    """A console whose reader may leave (``| head``) without ending what runs here."""

    def on_broken_pipe(self) -> None:
        """Say nothing from now on; rich would end the process."""
        self.quiet = True


class Terminal:
    """One writer for everything, so that lines of many processes never mix."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Patient(highlight=False)

    def log(self, name: str, line: str) -> None:
        """Show one line of a process behind its name; empty ones only cost room."""
        if not line:
            return
        found = LEVEL.search(line[:80])
        style = "" if not found else "red" if found[1] else "yellow"
        self._show(self._prefix(name), Text(line, style))

    def event(self, name: str, text: str) -> None:
        """Say what happened to a process: it died, or had to be killed."""
        self._show(self._prefix(name), Text(text, "bold yellow"))

    def note(self, text: str) -> None:
        """Say one sentence in passing."""
        self._show(Text(text, "dim"))

    def problem(self, text: str) -> None:
        """Say in one line why it does not go on."""
        self._show(Text("✗ ", "bold red"), Text(text, "red"))

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show that a step is under way, and when it succeeded how long it took."""
        started = time.monotonic()
        with self._console.status(title):
            yield
        seconds = f"{time.monotonic() - started:.1f} s"
        self._show(Text("✓ ", "bold green"), Text(f"{title} "), Text(seconds, "dim"))

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads along; else what is shown stays in a file or goes to a program."""
        return self._console.is_terminal

    def facts(self, title: str, rows: dict[str, str]) -> None:
        """Show names and values under each other, each value whole and on one line."""
        width = max(map(len, rows))
        self._show(Text(f"\n{title}", "bold"))
        for name, value in rows.items():
            self._show(Text(f"  {name:<{width}}  ", "dim"), Text(value, "cyan"))

    def paste(self, title: str, command: str) -> None:
        """Show a command without any decoration, to be copied."""
        self._show(Text(f"\n{title}", "bold"))
        self._show(Text(command))

    def _prefix(self, name: str) -> Text:
        return Text(f"{name:<{NAME_WIDTH}} │ ", COLOURS.get(name, "white"))

    def _show(self, *parts: Text) -> None:
        # soft_wrap: never break a line, or what is copied from the terminal would not work.
        try:
            self._console.print(Text.assemble(*parts), soft_wrap=True)
        except OSError:  # a full disk costs the line; rich would keep it and all that follow
            with suppress(OSError), self._console.capture():
                pass
