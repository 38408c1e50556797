"""``manage.py purge``: apply the retention windows now, or say what would go."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Collection
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.table import Table

from connectors.events import retention as outgoing
from connectors.whatsapp import retention
from lib import clock, reports
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
        now, force = clock.host_now(), options["force"]
        if options["dry_run"]:
            plan = list(retention.plan(now=database_now()))
            words = _words(plan, "would be purged")
            reports.write(self.stdout, {"would_be_purged": plan}, *words, json=options["json"])
            return
        try:
            lines = retention.purge_all(now=now, force=force)
            if not options["json"]:  # what follows may be refused
                reports.write(self.stdout, lines, *_words(lines, "purged"), json=False)
            moment = purging.moment(host=now, force=force)
            lists = broadcasts.purge(now=moment, force=force)
            events = outgoing.purge(now=moment, force=force)
        except PurgeRefused as refusal:
            raise CommandError(f"{refusal} {PurgeRefused.__doc__}") from refusal
        gone = events.delivered + events.dead
        purged = {"purged": lines, "list_rows": lists, "events": gone}
        others = f"And {lists:,} rows of broadcasts' lists, {gone:,} events."
        reports.write(self.stdout, purged, others, json=options["json"])
        failed = [f"{line.slug} ({line.error})" for line in lines if line.error]
        if failed:
            raise CommandError(f"Not everything was purged of {', '.join(failed)}.")


def _words(lines: Collection[retention.PurgedRaw], title: str) -> tuple[str | Table, ...]:
    names = ("tenant", "before (UTC)", "day keys", "callbacks", "parked", "days kept")
    table = Table(*names, title=title)
    for line in lines:
        counts = (line.keys, line.callbacks, line.parked, len(line.kept))
        table.add_row(line.slug, str(line.before), *(f"{count:,}" for count in counts))
    if any(line.kept for line in lines):
        return table, "Days are kept whole while callbacks of them are pending."
    return (table,)
