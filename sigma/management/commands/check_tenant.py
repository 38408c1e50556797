"""Say what is missing in a tenant's set-up."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from workspaces import setup_facts
from workspaces.lookup import NoSuchTenant, find_tenant
from workspaces.setup_check import Finding, Severity


class Command(BaseCommand):
    """``manage.py check_tenant acme``: exits 1 while something does not work."""

    help = "Say what is missing in a tenant's set-up, with the remedy; exits 1 on errors."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the tenant."""
        parser.add_argument("tenant", help="slug or UUID")

    def handle(self, *, tenant: str, **_: object) -> None:
        """Print each finding."""
        try:
            found = setup_facts.findings_of(find_tenant(tenant), now=timezone.now())
        except NoSuchTenant as error:
            raise CommandError(str(error)) from error
        for finding in found:
            self._print(finding)
        if not found:
            self.stdout.write(self.style.SUCCESS("Nothing is missing."))
        if any(finding.severity == Severity.ERROR for finding in found):
            sys.exit(1)

    def _print(self, finding: Finding) -> None:
        error = finding.severity == Severity.ERROR
        style = self.style.ERROR if error else self.style.WARNING
        self.stdout.write(f"{style(finding.severity)}: {finding.message}\n    {finding.remedy}")
