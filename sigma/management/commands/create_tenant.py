"""Make a tenant from a shell."""

from __future__ import annotations

import secrets as random
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from lib import reports
from workspaces import provisioning, secrets
from workspaces.models import SecretKind


class Command(BaseCommand):
    """``manage.py create_tenant --slug acme --name "Acme Ltd"``."""

    help = "Create a tenant with keys and a verify token of its own; both facts are printed once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what a tenant is made of."""
        parser.add_argument("--slug", required=True, help="part of the callback URL")
        parser.add_argument("--name", required=True)
        parser.add_argument("--retention-days", type=int, default=30)
        reports.add_json(parser)

    def handle(self, *, slug: str, name: str, retention_days: int, json: bool, **_: object) -> None:
        """Print what goes into Meta's app dashboard, and what to do next."""
        if not 1 <= retention_days <= 3650:
            raise CommandError("--retention-days must be between 1 and 3650.")
        token = random.token_urlsafe(32)
        try:
            with transaction.atomic():
                tenant = provisioning.create_tenant(
                    slug=slug, name=name, retention_days=retention_days
                )
                secrets.add(
                    tenant=tenant, kind=SecretKind.VERIFY_TOKEN, value=token, label="generated"
                )
        except provisioning.UnableToCreateTenant as error:
            raise CommandError(str(error)) from error
        url = provisioning.callback_url(tenant.slug)
        made = {"id": tenant.id, "slug": tenant.slug, "verify_token": token, "callback_url": url}
        reports.write(
            self.stdout,
            made,
            f"Tenant        {tenant.slug} ({tenant.id})",
            f"Callback URL  {url}",
            f"Verify token  {token}",
            f"Next: manage.py check_tenant {tenant.slug} says what is still missing.",
            json=json,
        )
