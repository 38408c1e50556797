"""``manage.py purge-tenant``: remove a tenant and everything of it."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from lib import clock, reports
from sigma import erasure
from sigma.erasure import PartlyErased
from workspaces.lookup import find_tenant
from workspaces.models import Tenant


class Command(BaseCommand):
    """Erase a tenant."""

    help = "Remove a tenant: its keys first, then everything else. It cannot be undone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Ask which tenant, and whether that is meant."""
        parser.add_argument("tenant", help="slug or UUID")
        parser.add_argument("--dry-run", action="store_true", help="say what would go")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        reports.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Report every table and how many rows went."""
        tenant = find_tenant(options["tenant"])
        steps: Iterable[erasure.Step]
        left = erasure.users_of(tenant)
        if options["dry_run"]:
            steps = erasure.plan(tenant)
        elif options["yes"] or self._is_confirmed(tenant):
            steps = erasure.erase(tenant, now=clock.now())
        else:
            raise CommandError("Nothing was removed.")
        done = self._run(steps, say=not options["json"])
        verb = "would be removed" if options["dry_run"] else "is removed"
        words = [f"Tenant {tenant.slug} ({tenant.id}) {verb}."]
        if left:
            names = ", ".join(left)
            words.append(f"Users of this tenant only are left, delete them yourself: {names}.")
        facts = {"tenant": tenant.slug, "id": tenant.id, "is_removed": not options["dry_run"]}
        report = {**facts, "steps": done, "users_left": left}
        reports.write(self.stdout, report, *words, json=options["json"])

    def _run(self, steps: Iterable[erasure.Step], *, say: bool) -> list[erasure.Step]:
        done = []
        try:
            for step in steps:
                done.append(step)
                if say:
                    self.stdout.write(f"{step.count:>12,}  {step.what}")
        except PartlyErased as error:
            raise CommandError(str(error)) from error
        return done

    def _is_confirmed(self, tenant: Tenant) -> bool:
        self.stdout.write(f"This removes {tenant.name} and all of its messages for good.")
        return input(f"Type {tenant.slug} to go on: ").strip() == tenant.slug
