"""Say what is missing in a tenant's set-up."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from workspaces import secrets, setup_facts, token_checks
from workspaces.lookup import NoSuchTenant, find_tenant
from workspaces.models import SecretKind, Tenant
from workspaces.setup_check import Finding, Severity


class Command(BaseCommand):
    """``manage.py check_tenant acme``: exits 1 while something does not work."""

    help = "Say what is missing in a tenant's set-up, with the remedy; exits 1 on errors."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the tenant."""
        parser.add_argument("tenant", help="slug or UUID")
        parser.add_argument(
            "--ask", action="store_true", help="try its secrets and access tokens at Meta first"
        )

    def handle(self, *, tenant: str, ask: bool, **_: object) -> None:
        """Print each finding."""
        try:
            whose = find_tenant(tenant)
        except NoSuchTenant as error:
            raise CommandError(str(error)) from error
        if ask:
            self._ask(whose)
        found = setup_facts.findings_of(whose, now=timezone.now())
        for finding in found:
            self._print(finding)
        if not found:
            self.stdout.write(self.style.SUCCESS("Nothing is missing."))
        if any(finding.severity == Severity.ERROR for finding in found):
            sys.exit(1)

    def _ask(self, tenant: Tenant) -> None:
        now = timezone.now()
        kinds = (SecretKind.ACCESS_TOKEN, SecretKind.APP_SECRET)
        for secret in secrets.live(now).filter(tenant=tenant, kind__in=kinds).order_by("id"):
            answer = token_checks.try_out(secret, now=now)
            self.stdout.write(f"{secret.get_kind_display()} {secret.label}: {answer.sentence}")

    def _print(self, finding: Finding) -> None:
        error = finding.severity == Severity.ERROR
        style = self.style.ERROR if error else self.style.WARNING
        self.stdout.write(f"{style(finding.severity)}: {finding.message}\n    {finding.remedy}")
