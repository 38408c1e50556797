"""Every command of ours and its parser, verbs included."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from django.core.management import get_commands, load_command_class

ROOT = Path(__file__).parents[2]


def is_ours(app: str) -> bool:
    """Whether a Django app lies in this repository."""
    return (ROOT / app.replace(".", "/")).is_dir()


def names() -> dict[str, str]:
    """Return the app of each of our commands."""
    return {name: app for name, app in get_commands().items() if is_ours(app)}


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers by name: ``purge``, ``sender status``."""
    return dict(pair for command in names().items() for pair in _verbs(*command))


def _verbs(name: str, app: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    parser = load_command_class(app, name).create_parser("manage.py", name)
    found = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for action in found:
        yield from ((f"{name} {verb}", each) for verb, each in action.choices.items())
    if not found:
        yield name, parser
