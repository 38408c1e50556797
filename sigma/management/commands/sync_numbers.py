"""``manage.py sync_numbers``: ask Meta about the numbers now, and show what it says."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.table import Table

from lib import clock, reports
from messaging import number_sync, numbers
from workspaces.channel_errors import ChannelError
from workspaces.keys import TenantHasNoKeys
from workspaces.models import HOSTED, Tenant, TenantStatus, Workspace


class Command(BaseCommand):
    """Sync what Meta says about numbers."""

    help = (
        "Ask Meta about every active number and show what it says. The schedule does this every "
        "hour; this command does it at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take one tenant, or all."""
        parser.add_argument("--tenant", default="", help="slug of a tenant; all unless given")
        reports.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per number."""
        table = Table("tenant", "number", "status", "quality", "limit", "per second", "may send")
        failed, lines = [], []
        for workspace in _workspaces(options["tenant"]):
            try:
                state = number_sync.sync(workspace, now=clock.now())
            except (ChannelError, TenantHasNoKeys) as error:
                failed.append(f"{workspace.tenant.slug}/{workspace.name}: {error}")
                continue
            limit, may_send = numbers.limit_of(state), numbers.is_sendable(state)
            shown = {
                "tenant": workspace.tenant.slug,
                "number": workspace.name,
                "status": state.status,
                "quality": state.quality_rating,
            }
            speed = numbers.messages_per_second(state)
            facts = {"limit": limit, "messages_per_second": speed, "may_send": may_send}
            lines.append({**shown, **facts, "problem": state.problem})
            most = state.messaging_limit if limit is None else f"{limit:,}"
            table.add_row(
                *shown.values(), most, str(speed), "yes" if may_send else f"no: {state.problem}"
            )
        report = {"numbers": lines, "failed": failed}
        reports.write(self.stdout, report, table, json=options["json"])
        if failed:
            raise CommandError("Not synced: " + "; ".join(failed))


def _workspaces(slug: str) -> list[Workspace]:
    if slug and not Tenant.objects.filter(slug=slug).exists():
        raise CommandError(f"There is no tenant with the slug {slug!r}.")
    rows = Workspace.objects.filter(is_active=True, tenant__status=TenantStatus.ACTIVE).exclude(
        transport__in=HOSTED
    )
    if slug:
        rows = rows.filter(tenant__slug=slug)
    return list(rows.select_related("tenant").order_by("tenant__slug", "name"))
