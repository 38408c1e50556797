"""Wrap every tenant's keys under the newest master key."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from lib import reports
from workspaces import keys
from workspaces.keys import UnknownMasterKey

EVERY = 1_000


class Command(BaseCommand):
    """``manage.py rotate_master_key``: afterwards the older master keys may go."""

    help = (
        "Wrap every data key under the first key of SIGMA_MASTER_KEYS. Put the new key in front of "
        "the old one, restart every process, run this, then remove the old one. Safe to run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the form of the report."""
        reports.add_json(parser)

    def handle(self, *, json: bool, **_: object) -> None:
        """Say how far it is and how many keys were wrapped."""
        done = 0
        try:
            for done in keys.rewrap():
                if done % EVERY == 0:
                    self.stderr.write(f"{done:,} keys wrapped …")
        except UnknownMasterKey as error:
            raise CommandError(f"{error} {done:,} keys were wrapped before.") from error
        words = f"{done:,} keys are wrapped under the first master key."
        reports.write(self.stdout, {"wrapped": done}, words, json=json)
