"""``manage.py ledger``: where every accepted update ended, per tenant."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from rich.table import Table

from connectors.whatsapp import ledger
from lib import reports
from workspaces.lookup import find_tenant
from workspaces.models import INSTALLATION_ID, Tenant

# Wide enough for the headings; a narrower terminal folds the lines.
WIDTH = 130
COLUMNS = ("accepted", "processed", "quarantined", "dead", "pending", "duplicates", "unhandled")


class Command(BaseCommand):
    """Print the outcome ledger."""

    help = (
        "Print the outcome ledger: accepted updates = processed + quarantined + dead + pending. "
        "Exits 1 if it does not balance."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take an optional tenant."""
        parser.add_argument("tenant", nargs="?", help="slug or UUID; all tenants if absent")
        parser.add_argument("--verify", action="store_true", help="also count Raw itself (slower)")
        reports.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per tenant, then the kinds that are kept but not modelled."""
        entries = [
            (slug, ledger.read(tenant_id, verify=options["verify"]))
            for slug, tenant_id in self._tenants(options["tenant"])
        ]
        plain = [
            {"tenant": slug, **asdict(entry), "balanced": entry.balanced} for slug, entry in entries
        ]
        kinds = (
            f"{slug}: unhandled {kind.field}/{kind.kind}: {kind.count:,}"
            for slug, entry in entries
            for kind in entry.unhandled_kinds
        )
        report = {"tenants": plain}
        table = _table(entries)
        reports.write(self.stdout, report, table, *kinds, json=options["json"], width=WIDTH)
        if wrong := [slug for slug, entry in entries if not entry.balanced]:
            raise CommandError(f"The ledger does not balance for {', '.join(wrong)}.")

    def _tenants(self, name: str | None) -> list[tuple[str, UUID]]:
        if name is None:
            rows = Tenant.objects.order_by("slug").values_list("slug", "id")
            return [*rows, ("(shared apps)", INSTALLATION_ID)]
        tenant = find_tenant(name)
        return [(tenant.slug, tenant.id)]


def _table(entries: list[tuple[str, ledger.Balance]]) -> Table:
    table = Table("tenant", *COLUMNS, "balanced")
    for slug, entry in entries:
        counts = (f"{getattr(entry, column):,}" for column in COLUMNS)
        table.add_row(slug, *counts, "yes" if entry.balanced else "NO")
    return table
