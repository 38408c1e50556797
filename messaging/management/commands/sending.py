"""``manage.py sending``: what is pending, what holds it back, and what releases it."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand
from rich.table import Table

from lib import clock, reports
from messaging.delivery import overview, pauses
from messaging.delivery.queues import SENDS
from workspaces.lookup import find_tenant
from workspaces.models import Tenant

WIDTH = 130


class Command(BaseCommand):
    """Show how delivering stands, or resume it."""

    help = "Show what is queued, under way, unknown and failed, with the pauses; or end pauses."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what to do and for whom."""
        actions = parser.add_subparsers(dest="action", required=True)
        status = actions.add_parser("status", help="counts per number, and the open pauses")
        status.add_argument("tenant", nargs="?", help="slug or UUID; all tenants if absent")
        status.add_argument(
            "--days", type=int, default=7, help="unknown and failed of so many days"
        )
        reports.add_json(status)
        resume = actions.add_parser("resume", help="end the pauses of a tenant")
        resume.add_argument("tenant", help="slug or UUID")
        resume.add_argument("--code", type=int, help="only the pause with this code")
        reports.add_json(resume)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do one of the two."""
        tenant = _tenant(options["tenant"])
        now = clock.now()
        if options["action"] == "status":
            self._status(tenant.slug if tenant else None, options, now)
        elif tenant is not None:
            ended = pauses.lift(
                tenant_id=tenant.id, code=options["code"], by="manage.py sending", now=now
            )
            SENDS.notify()
            words = f"{ended} pause{'' if ended == 1 else 's'} ended."
            reports.write(self.stdout, {"ended": ended}, words, json=options["json"])

    def _status(self, slug: str | None, options: dict[str, Any], now: datetime) -> None:
        numbers = overview.backlog(slug=slug, days=options["days"], now=now)
        open_pauses = overview.open_pauses(slug=slug, now=now)
        table = Table("tenant", "workspace", "queued", "oldest due", "sending", "unknown", "failed")
        for one in numbers:
            due = f"{(now - one.oldest_due).total_seconds():,.0f} s ago" if one.oldest_due else ""
            counts = (f"{n:,}" for n in (one.sending, one.unknown, one.failed))
            table.add_row(one.tenant, one.workspace, f"{one.queued:,}", due, *counts)
        lines = []
        for pause in open_pauses:
            where = f"workspace {pause.workspace_id}" if pause.workspace_id else "all numbers"
            until = f", until {pause.until:%Y-%m-%d %H:%M} UTC" if pause.until else ""
            since = f"since {pause.since:%Y-%m-%d %H:%M} UTC{until}"
            lines.append(f"{pause.tenant}, {where}: paused {since} ({pause.code}): {pause.reason}")
        found = {"numbers": _plain(numbers), "pauses": _plain(open_pauses)}
        reports.write(self.stdout, found, table, *lines, json=options["json"], width=WIDTH)


def _tenant(name: str | None) -> Tenant | None:
    return None if name is None else find_tenant(name)


def _plain(rows: list[Any]) -> list[dict[str, Any]]:
    return [row._asdict() for row in rows]
