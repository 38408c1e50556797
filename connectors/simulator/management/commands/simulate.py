"""``manage.py simulate``: Meta on this machine, as a sender of callbacks or as a whole."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from connectors.simulator import inbound
from connectors.simulator.client import NothingListens
from connectors.simulator.facts import NobodyToWriteTo
from connectors.simulator.meta import command as meta
from connectors.simulator.meta.world import UnreadableWorld
from connectors.simulator.traffic import UnknownKind
from connectors.simulator.wire import NotLoopback

INTERRUPTED = 130


class Command(BaseCommand):
    """Simulate Meta."""

    help = "Play Meta for this machine (never for another one)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe the subcommands and their options."""
        add = parser.add_subparsers(dest="what", required=True).add_parser
        inbound.add_arguments(add("inbound", help=inbound.HELP))
        meta.add_arguments(add("meta", help=meta.HELP, description=meta.DESCRIPTION))

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the subcommand."""
        try:
            if options["what"] == "meta":
                meta.run(options, say=self._say)
                return
            shown, is_interrupted = inbound.run(options)
        except (NobodyToWriteTo, NotLoopback, NothingListens, UnknownKind) as error:
            raise CommandError(str(error)) from error
        except (UnreadableWorld, meta.UnableToServe) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(shown, ending="")
        if is_interrupted:
            sys.exit(INTERRUPTED)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
