"""Read the message templates of accounts from Meta now."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from lib import clock, reports
from templates_wa.sync import describe, sync
from workspaces.channel_errors import ChannelError
from workspaces.lookup import find_tenant
from workspaces.models import HOSTED, TenantStatus, Workspace

DONE = (
    "{tenant}  {waba_id}  {added} added, {changed} changed, {removed} removed, "
    "{unchanged} as they were"
)
FAILED = "{tenant}  {waba_id}  {error}"


class Command(BaseCommand):
    """``manage.py sync_templates``: one line per account; exits 1 if one could not be read."""

    help = "Read the message templates of all accounts, or of one tenant's, from Meta now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the tenant, if any."""
        parser.add_argument("--tenant", help="slug or UUID; all tenants unless given")
        reports.add_json(parser)

    def handle(self, *, tenant: str | None, json: bool, **_: object) -> None:
        """Sync one account after the other."""
        rows = Workspace.objects.filter(is_active=True, tenant__status=TenantStatus.ACTIVE).exclude(
            transport__in=HOSTED
        )
        if tenant is not None:
            rows = rows.filter(tenant=find_tenant(tenant))
        known = rows.exclude(waba_id="").order_by("tenant_id", "waba_id", "id")
        found = known.distinct("tenant_id", "waba_id").select_related("tenant")
        lines = [self._sync(workspace) for workspace in found]
        failed = sum(bool(line["error"]) for line in lines)
        words = [(FAILED if line["error"] else DONE).format_map(line) for line in lines]
        words = words or ["No active workspace has a WABA ID yet."]
        reports.write(self.stdout, {"accounts": lines}, *words, json=json)
        if failed:
            raise CommandError(f"{failed} accounts could not be read.")

    def _sync(self, workspace: Workspace) -> dict[str, object]:
        line: dict[str, object] = {
            "tenant": workspace.tenant.slug,
            "waba_id": workspace.waba_id,
            "error": "",
        }
        try:
            done = sync(workspace, now=clock.now())
        except ChannelError as error:
            return {**line, "error": describe(error)}
        counts = ("added", "changed", "removed", "unchanged")
        return {**line, **{name: getattr(done, name) for name in counts}}
