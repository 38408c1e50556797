"""Wrap every tenant's keys under the newest master key."""

from __future__ import annotations

from django.core.management.base import BaseCommand, CommandError

from workspaces import rotation
from workspaces.master import UnknownMasterKey

EVERY = 1_000


class Command(BaseCommand):
    """``manage.py rotate_master_key``: afterwards the older master keys may go."""

    help = (
        "Wrap every data key under the first key of SIGMA_MASTER_KEYS. Put the new key in front of "
        "the old one, restart every process, run this, then remove the old one. Safe to run again."
    )

    def handle(self, *args: object, **options: object) -> None:
        """Say how far it is and how many keys were wrapped."""
        done = 0
        try:
            for done in rotation.rewrap():
                if done % EVERY == 0:
                    self.stderr.write(f"{done:,} keys wrapped …")
        except UnknownMasterKey as error:
            raise CommandError(f"{error} {done:,} keys were wrapped before.") from error
        self.stdout.write(f"{done:,} keys are wrapped under the first master key.")
