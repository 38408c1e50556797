"""Issue an API key from a shell."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from lib import clock, reports
from workspaces import access
from workspaces.access import Scope
from workspaces.lookup import find_tenant
from workspaces.models import Tenant, Workspace

# What a key for the sender service may do unless told otherwise.
SENDER_SCOPES = (Scope.MESSAGES_SEND, Scope.MESSAGES_READ)


class Command(BaseCommand):
    """``manage.py issue_api_key acme --name CRM --scope messages:read``."""

    help = "Issue an API key. The key alone goes to standard output, once; all else to the error."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take whose key it is and what it may do."""
        scopes = [scope.value for scope in Scope]
        parser.add_argument("tenant", help="slug or UUID")
        parser.add_argument("--name", required=True, help="who uses it")
        parser.add_argument(
            "--scope", action="append", choices=scopes, help="may be repeated; default: all"
        )
        parser.add_argument(
            "--workspace",
            type=UUID,
            help="bind it to this workspace: it then opens the sender service, and nothing else",
        )
        parser.add_argument("--days", type=int, help="days until it expires; default: never")
        reports.add_json(parser)

    def handle(
        self,
        *,
        tenant: str,
        name: str,
        scope: list[str] | None,
        workspace: UUID | None,
        days: int | None,
        json: bool,
        **_: object,
    ) -> None:
        """Print the key."""
        if days is not None and days < 1:
            raise CommandError("--days must be at least 1.")
        owner = find_tenant(tenant)
        bound = self._workspace(owner, workspace)
        row, clear = access.issue_api_key(
            tenant=owner,
            name=name,
            workspace=bound,
            scopes=scope or sorted(SENDER_SCOPES if bound else Scope),
            expires_at=clock.now() + timedelta(days=days) if days else None,
        )
        whose = f"{owner.slug}, for the workspace {bound.name}" if bound else owner.slug
        self.stderr.write(f"Key of {whose}, shown this once; it may: {', '.join(row.scopes)}")
        made = {
            "id": row.id,
            "tenant": owner.slug,
            "key": clear,
            "scopes": row.scopes,
            "workspace": bound and bound.id,
            "expires_at": row.expires_at,
        }
        reports.write(self.stdout, made, clear, json=json)

    def _workspace(self, owner: Tenant, wanted: UUID | None) -> Workspace | None:
        if wanted is None:
            return None
        found = Workspace.objects.filter(tenant=owner, pk=wanted).first()
        if found is None:
            raise CommandError(f"{owner.slug} has no workspace {wanted}.")
        return found
