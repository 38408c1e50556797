"""``manage.py media``: how many files lie in the storage, and how large they are."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from rich.table import Table

from lib import reports
from messaging import uploads
from workspaces.lookup import find_tenant


class Command(BaseCommand):
    """Say how much lies there."""

    help = "Say how many files that applications gave us to send are kept, and how large they are."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take a tenant, or none for all."""
        parser.add_argument("tenant", nargs="?", help="slug or UUID; all tenants if absent")
        reports.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a line per tenant."""
        tenant = find_tenant(options["tenant"]) if options["tenant"] else None
        found = uploads.held(tenant_id=tenant.id if tenant else None)
        table = Table("tenant", "files", "bytes", "oldest (UTC)")
        for one in found:
            oldest = f"{one.oldest:%Y-%m-%d %H:%M}" if one.oldest else ""
            table.add_row(one.tenant, f"{one.files:,}", f"{one.bytes:,}", oldest)
        report = {"files": [one._asdict() for one in found]}
        words = (table,) if found else ("No files are kept.",)
        reports.write(self.stdout, report, *words, json=options["json"])
