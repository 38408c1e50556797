"""For somebody who has lost their device and their recovery codes."""

from __future__ import annotations

from argparse import ArgumentParser

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from lib import reports
from workspaces import second_factors


class Command(BaseCommand):
    """``manage.py reset_second_factor <user>``."""

    help = (
        "Remove a user's second factor. Their password then does alone; that of a superuser "
        "outside the embedded default opens the page where they set up another."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take whose."""
        parser.add_argument("user", help="user name")
        reports.add_json(parser)

    def handle(self, *, user: str, json: bool, **_: object) -> None:
        """Say what was done."""
        found = User.objects.filter(username=user).first()
        if found is None:
            raise CommandError(f"There is no user {user!r}.")
        if not second_factors.remove(found):
            raise CommandError(f"{user} has no second factor.")
        words = f"The second factor of {user} is removed."
        reports.write(self.stdout, {"user": user, "is_removed": True}, words, json=json)
