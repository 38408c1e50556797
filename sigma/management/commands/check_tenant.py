"""Say what is missing in a tenant's set-up."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from django.core.management.base import BaseCommand

from lib import clock, reports
from workspaces import secrets, setup_check, token_checks
from workspaces.lookup import find_tenant
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
        reports.add_json(parser)

    def handle(self, *, tenant: str, ask: bool, json: bool, **_: object) -> None:
        """Print each finding."""
        whose = find_tenant(tenant)
        asked = _asked(whose) if ask else []
        found = setup_check.findings_of(whose, now=clock.now())
        words = [*asked, *map(self._words, found)]
        if not found:
            words.append(self.style.SUCCESS("Nothing is missing."))
        reports.write(self.stdout, {"asked": asked, "findings": found}, *words, json=json)
        if any(finding.severity == Severity.ERROR for finding in found):
            sys.exit(1)

    def _words(self, finding: Finding) -> str:
        error = finding.severity == Severity.ERROR
        style = self.style.ERROR if error else self.style.WARNING
        return f"{style(finding.severity)}: {finding.message}\n    {finding.remedy}"


def _asked(tenant: Tenant) -> list[str]:
    """Try a tenant's secrets at the platform; return a sentence for each."""
    now = clock.now()
    kinds = (SecretKind.ACCESS_TOKEN, SecretKind.APP_SECRET)
    live = secrets.live(now).filter(tenant=tenant, kind__in=kinds).order_by("id")
    tried = [(secret, token_checks.try_out(secret, now=now)) for secret in live]
    return [f"{one.get_kind_display()} {one.label}: {found.sentence}" for one, found in tried]
