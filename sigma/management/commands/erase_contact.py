"""``manage.py erase_contact``: remove everything that is known of one person."""

from __future__ import annotations

from argparse import ArgumentParser
from base64 import b64encode
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from lib import clock, reports
from lib.numbering import NotInternational, international
from messaging import person_erasure
from messaging.models import PersonErasure
from messaging.person_erasure import UnableToErase
from messaging.sending.parties import ContactCache
from messaging.sending.requests import Recipient
from sigma import erasure
from workspaces.lookup import find_tenant
from workspaces.models import Tenant


class Command(BaseCommand):
    """Erase a person."""

    help = "Remove everything that is known of one person of a tenant. It cannot be undone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Ask who, and whether that is meant."""
        parser.add_argument("tenant", help="slug or UUID")
        parser.add_argument("person", help="the contact's UUID, or the phone number: +27…")
        parser.add_argument("--dry-run", action="store_true", help="say what would go")
        parser.add_argument(
            "--forget-opt-out", action="store_true", help="keep no stop of marketing either"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask")
        reports.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Report what went of every table, and the receipt."""
        tenant = find_tenant(options["tenant"])
        contacts = _contacts(tenant, options["person"])
        asks = not (options["dry_run"] or options["yes"])
        if asks and input("This cannot be undone. Type erase to go on: ").strip() != "erase":
            raise CommandError("Nothing was removed.")
        done = [_erase(tenant, contact_id, options) for contact_id in sorted(contacts)]
        report = [
            {
                "removed": one.removed,
                "receipt": one.receipt,
                "signature": b64encode(bytes(one.signature or b"")).decode(),
                "public_key": b64encode(person_erasure.public_key(tenant.id)).decode(),
            }
            for one in done
        ]
        words = []
        for one in done:
            words += [f"{count:>12,}  {table}" for table, count in one.removed.items() if count]
            verb = "would be removed" if one.is_dry_run else "is removed"
            words.append(f"Contact {one.contact_id} {verb}; the receipt is {one.pk}.")
        reports.write(self.stdout, report, *words, json=options["json"])


def _contacts(tenant: Tenant, person: str) -> set[UUID]:
    try:
        if not person.startswith("+"):
            return {UUID(person)}
        recipient = Recipient(phone=international(person))
    except NotInternational as error:
        raise CommandError(str(error)) from None
    except ValueError:
        raise CommandError("Name a contact's UUID, or a phone number with its +.") from None
    cache = ContactCache(tenant.id)
    cache.look_up([recipient])
    if not (found := cache.contacts_of(recipient)):
        raise CommandError(f"{tenant.slug} knows nobody with this number.")
    return found


def _erase(tenant: Tenant, contact_id: UUID, options: dict[str, Any]) -> PersonErasure:
    try:
        pending = person_erasure.request(
            tenant_id=tenant.id,
            contact_id=contact_id,
            by="manage.py",
            is_dry_run=options["dry_run"],
            keeps_opt_out=not options["forget_opt_out"],
            now=clock.now(),
        )
    except UnableToErase as error:
        raise CommandError(error.message) from None
    return erasure.erase_person(pending, now=clock.now())
