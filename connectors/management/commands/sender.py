"""``manage.py sender``: run linked devices, pair them, look after them."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from connectors.linked_device.commands import arguments, verbs


class Command(BaseCommand):
    """Operate linked devices."""

    help = (
        "WhatsApp accounts that are linked as a device: run them, pair them, look after them. "
        "Automating one is outside WhatsApp's terms and may get its number banned."
    )
    # Cron and the session host call this; the web process has made the checks.
    requires_system_checks: tuple[str, ...] = ()
    stealth_options = ("stdin",)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take a verb and what it is about."""
        arguments.add(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; the exit code says whether it came true."""
        ask = options.pop("stdin", sys.stdin)
        code = verbs.VERBS[options["verb"]](self.stdout, ask, options)
        if code:
            sys.exit(code)
