"""Typed readers of the environment: a wrong value stops the start instead of meaning something
else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off", ""})


class InvalidSetting(Exception):
    """A setting has a value that cannot be used."""


class Env:
    """Read settings from ``source`` (default: the process environment)."""

    def __init__(self, source: Mapping[str, str] | None = None) -> None:
        self._source = os.environ if source is None else source

    def text(self, name: str, default: str = "") -> str:
        """Return the value of ``name``, or ``default`` where it is unset or empty."""
        return self._source.get(name, "").strip() or default

    def secret(self, name: str, default: str = "") -> str:
        """Return ``name``, or the content of the file that ``<name>_FILE`` points at.

        Raises:
            InvalidSetting: both are set, or the file cannot be read.
        """
        value, path = self.text(name), self.text(f"{name}_FILE")
        if value and path:
            raise InvalidSetting(f"Set either {name} or {name}_FILE, not both.")
        if not path:
            return value or default
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise InvalidSetting(f"{name}_FILE: {error.strerror}: {path}") from error

    def integer(self, name: str, default: int, *, low: int = 0, high: int = 2**31) -> int:
        """Return an integer between ``low`` and ``high``.

        Raises:
            InvalidSetting: not an integer, or out of bounds.
        """
        raw = self.text(name, str(default))
        try:
            value = int(raw)
        except ValueError:
            raise InvalidSetting(f"{name} must be a whole number, not {raw!r}.") from None
        if not low <= value <= high:
            raise InvalidSetting(f"{name} must be between {low} and {high}, not {value}.")
        return value

    def boolean(self, name: str, default: bool = False) -> bool:
        """Return a boolean.

        Raises:
            InvalidSetting: anything but 1/0, true/false, yes/no, on/off.
        """
        raw = self.text(name, "true" if default else "false").lower()
        if raw in TRUE:
            return True
        if raw in FALSE:
            return False
        raise InvalidSetting(f"{name} must be true or false, not {raw!r}.")

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """Return one of ``choices`` (lower case).

        Raises:
            InvalidSetting: any other value.
        """
        value = self.text(name, default).lower()
        if value not in choices:
            raise InvalidSetting(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
        return value

    def items(self, name: str, default: str = "") -> list[str]:
        """Return a comma-separated list without empty items."""
        return [item.strip() for item in self.text(name, default).split(",") if item.strip()]
