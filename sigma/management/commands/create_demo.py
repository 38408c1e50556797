"""Make the demo tenant and write its facts for scripts."""

from __future__ import annotations

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from workspaces import demo


class Command(BaseCommand):
    """``manage.py create_demo``: may be run any number of times."""

    help = "Create the demo tenant and admin user, or complete them; write demo.json (mode 0600)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the addresses under which this installation is reached."""
        parser.add_argument("--base-url", default=settings.SIGMA_PUBLIC_URL)
        parser.add_argument("--sender-url", default="http://127.0.0.1:8081")
        parser.add_argument("--simulator-url", default="", help="of the simulator of Meta, if any")

    def handle(self, *, base_url: str, sender_url: str, simulator_url: str, **_: object) -> None:
        """Run it and say what was renewed; the facts themselves are in the file only."""
        try:
            made = demo.ensure(
                home=settings.SIGMA_HOME,
                base_url=base_url,
                sender_url=sender_url,
                now=timezone.now(),
                graph_url=settings.SIGMA_GRAPH_URL,
                simulator_url=simulator_url,
            )
        except demo.DemoIsBeingErased as error:
            raise CommandError(str(error)) from error
        for note in made.notes:
            self.stdout.write(self.style.WARNING(note))
        self.stdout.write(f"The demo tenant's facts are in {made.path}")
