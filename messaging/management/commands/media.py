"""``manage.py media``: how many files lie in the storage, how large they are, what is missing."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from rich.table import Table

from lib import reports
from messaging import archive, uploads
from messaging.archive import HeldArchive
from workspaces.lookup import find_tenant


class Command(BaseCommand):
    """Say how much lies there."""

    help = (
        "Say how many files are kept, to be sent and in archives, how large they are, and which "
        "an archive still waits for or could not get."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take a tenant, or none for all."""
        parser.add_argument("tenant", nargs="?", help="slug or UUID; all tenants if absent")
        reports.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a line per tenant."""
        tenant = find_tenant(options["tenant"]) if options["tenant"] else None
        wanted = tenant.id if tenant else None
        files, archives = uploads.held(tenant_id=wanted), archive.held(tenant_id=wanted)
        table = Table("tenant", "kept", "files", "bytes", "oldest (UTC)", "pending", "lost")
        for kept, rows in (("to send", files), ("archive", archives)):
            for one in rows:
                oldest = f"{one.oldest:%Y-%m-%d %H:%M}" if one.oldest else ""
                counts = [one.files, one.bytes]
                missing = [one.pending, one.lost] if isinstance(one, HeldArchive) else []
                table.add_row(
                    one.tenant, kept, *map("{:,}".format, counts), oldest, *map(str, missing)
                )
        report = {
            "files": [one._asdict() for one in files],
            "archive": [one._asdict() for one in archives],
        }
        words = (table,) if files or archives else ("No files are kept.",)
        reports.write(self.stdout, report, *words, json=options["json"])
