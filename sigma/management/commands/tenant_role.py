"""Let a tenant's analyst read that tenant's rows by SQL."""

from __future__ import annotations

from argparse import ArgumentParser
from contextlib import suppress
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from lib import reports
from sigma import readers
from sigma.readers import UnableToMakeRole
from workspaces.lookup import NoSuchTenant, find_tenant
from workspaces.models import Tenant


class Command(BaseCommand):
    """``manage.py tenant_role acme``."""

    help = (
        "Make a role of the database that reads one tenant's rows and nothing else, without LOGIN; "
        "the statement that gives it LOGIN goes to standard output. Repeat it after each upgrade, "
        "for tables that are new."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the tenant."""
        parser.add_argument(
            "tenant", help="slug or UUID; --remove takes that of an erased one, too"
        )
        parser.add_argument("--remove", action="store_true", help="remove the role instead")
        reports.add_json(parser)

    def handle(self, *, tenant: str, remove: bool, json: bool, **_: object) -> None:
        """Make the role, or remove it."""
        try:
            if remove:
                self._remove(tenant, json=json)
            else:
                self._make(find_tenant(tenant), json=json)
        except UnableToMakeRole as error:
            raise CommandError(str(error)) from error

    def _make(self, owner: Tenant, *, json: bool) -> None:
        role = readers.make(owner.id)
        self.stderr.write(f"{role.name} reads {len(role.tables)} tables of {owner.slug}.")
        report = {
            "tenant": owner.slug,
            "role": role.name,
            "tables": role.tables,
            "login": role.login,
        }
        reports.write(self.stdout, report, role.login, json=json)

    def _remove(self, tenant: str, *, json: bool) -> None:
        slug, tenant_id = _with_role(tenant)
        name, was_there = readers.name_of(tenant_id), readers.remove(tenant_id)
        words = f"{name} is removed." if was_there else f"{slug} has no such role."
        report = {"tenant": slug, "role": name, "is_removed": was_there}
        reports.write(self.stdout, report, words, json=json)


def _with_role(name: str) -> tuple[str, UUID]:
    """Return what to call the tenant, and its id: a role may be left of one that is erased."""
    try:
        tenant = find_tenant(name)
    except NoSuchTenant:
        with suppress(ValueError):
            if readers.exists(tenant_id := UUID(name)):
                return name, tenant_id
        raise
    return tenant.slug, tenant.id
