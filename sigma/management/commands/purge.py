"""``manage.py purge``: apply the retention windows now, or say what would go."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Collection
from datetime import UTC, datetime
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table

from connectors.events import retention as outgoing
from connectors.whatsapp import retention
from lib import reports
from lib.clock import database_now
from messaging.broadcasts import retention as broadcasts
from workspaces import purging
from workspaces.purging import PurgeRefused


class Command(BaseCommand):
    """Purge Raw past every tenant's retention window."""

    help = (
        "Destroy the keys of Raw past every tenant's retention window, then what they sealed. "
        "Lists of broadcasts and events that are past their time go as well. "
        "The schedule does this every 15 minutes; this command shows it or does it at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Ask for one of the two ways."""
        way = parser.add_mutually_exclusive_group(required=True)
        way.add_argument("--dry-run", action="store_true", help="say what would go, change nothing")
        way.add_argument("--now", action="store_true", help="purge at once and say what went")
        parser.add_argument(
            "--force",
            action="store_true",
            help="though the clocks differ, or more days would go than since the last run",
        )

        reports.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per tenant."""
        now, force = datetime.now(UTC), options["force"]
        if options["dry_run"]:
            plan = list(retention.plan(now=database_now()))
            if options["json"]:
                self.stdout.write(reports.as_json({"would_be_purged": plan}))
            else:
                self._show(plan, "would be purged")
            return
        try:
            lines = retention.purge_all(now=now, force=force)
            if not options["json"]:
                self._show(lines, "purged")
            moment = purging.moment(host=now, force=force)
            lists = broadcasts.purge(now=moment, force=force)
            events = outgoing.purge(now=moment, force=force)
        except PurgeRefused as refusal:
            raise CommandError(f"{refusal} {PurgeRefused.__doc__}") from refusal
        if options["json"]:
            purged = {"purged": lines, "list_rows": lists, "events": events.delivered + events.dead}
            self.stdout.write(reports.as_json(purged))
        else:
            gone = f"{lists:,} rows of broadcasts' lists, {events.delivered + events.dead:,} events"
            self.stdout.write(f"And {gone}.")
        failed = [f"{line.slug} ({line.error})" for line in lines if line.error]
        if failed:
            raise CommandError(f"Not everything was purged of {', '.join(failed)}.")

    def _show(self, lines: Collection[retention.PurgedRaw], title: str) -> None:
        table = Table(
            "tenant", "before (UTC)", "day keys", "callbacks", "parked", "days kept", title=title
        )
        for line in lines:
            counts = (line.keys, line.callbacks, line.parked, len(line.kept))
            table.add_row(line.slug, str(line.before), *(f"{count:,}" for count in counts))
        console = Console(file=cast(IO[str], self.stdout))
        console.print(table)
        if any(line.kept for line in lines):
            console.print("Days are kept whole while callbacks of them are pending.")
