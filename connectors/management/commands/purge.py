"""``manage.py purge``: apply the retention windows now, or say what would go."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table

from connectors.webhooks import retention


class Command(BaseCommand):
    """Purge Raw past every tenant's retention window."""

    help = (
        "Destroy the keys of Raw past every tenant's retention window, then what they sealed. "
        "The schedule does this every 15 minutes; this command shows it or does it at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Ask for one of the two ways."""
        way = parser.add_mutually_exclusive_group(required=True)
        way.add_argument("--dry-run", action="store_true", help="say what would go, change nothing")
        way.add_argument("--now", action="store_true", help="purge at once and say what went")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per tenant."""
        now = datetime.now(UTC)
        purge = retention.plan if options["dry_run"] else retention.purge_all
        title = "would be purged" if options["dry_run"] else "purged"
        table = Table("tenant", "before (UTC)", "day keys", "callbacks", "set aside", title=title)
        lines = purge(now=now)
        for line in lines:
            counts = (line.keys, line.callbacks, line.set_aside)
            table.add_row(line.slug, str(line.before), *(f"{count:,}" for count in counts))
        Console(file=cast(IO[str], self.stdout)).print(table)
        failed = [f"{line.slug} ({line.error})" for line in lines if line.error]
        if failed:
            raise CommandError(f"Not everything was purged of {', '.join(failed)}.")
