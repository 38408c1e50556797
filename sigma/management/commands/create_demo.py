"""Make the demo tenant and write its facts for scripts."""

from __future__ import annotations

from argparse import ArgumentParser

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from lib import clock, reports
from workspaces import demo, roles


class Command(BaseCommand):
    """``manage.py create_demo``: may be run any number of times."""

    help = "Create the demo tenant and admin user, or complete them; write demo.json (mode 0600)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the addresses under which this installation is reached."""
        # Beside 'make up' its own addresses, else those of an installation with usual ports.
        running = settings.ENGINES
        parser.add_argument("--base-url", default=running.base_url or settings.SIGMA_PUBLIC_URL)
        parser.add_argument("--sender-url", default=settings.SIGMA_SENDER_URL)
        parser.add_argument(
            "--simulator-url",
            default=running.graph_url.rpartition("/")[0],
            help="of the simulator of Meta, if any",
        )
        parser.add_argument(
            "--migrate", action="store_true", help="bring the database up to date before"
        )
        reports.add_json(parser)

    def handle(
        self,
        *,
        base_url: str,
        sender_url: str,
        simulator_url: str,
        migrate: bool,
        json: bool,
        **_: object,
    ) -> None:
        """Run it and say what was renewed; the facts themselves are in the file only."""
        if migrate and _pending():
            call_command("migrate", interactive=False, stdout=self.stderr if json else self.stdout)
        elif migrate:
            roles.secure()
        try:
            made = demo.ensure(
                home=settings.SIGMA_HOME,
                base_url=base_url,
                sender_url=sender_url,
                now=clock.now(),
                graph_url=settings.SIGMA_GRAPH_URL,
                simulator_url=simulator_url,
            )
        except demo.DemoIsBeingErased as error:
            raise CommandError(str(error)) from error
        for note in () if json else made.notes:
            self.stdout.write(self.style.WARNING(note))
        report = {"path": str(made.path), "notes": made.notes}
        words = f"The demo tenant's facts are in {made.path}"
        reports.write(self.stdout, report, words, json=json)


def _pending() -> bool:
    """Whether the database lacks migrations; 'migrate' takes longer to find that out."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
