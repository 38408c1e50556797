"""Look for phone numbers at rest, after proving that they would be found."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from lib import clock, reports
from lib.numbering import NotInternational, international
from sigma import privacy, reachable


class Command(BaseCommand):
    """``manage.py privacy_check``: exits 1 where a number was found, 2 where it could not look."""

    help = (
        "Plant a phone number, prove that a search finds numbers, and look for it in every table "
        "and, where the database allows it, in its files. Exits 1 if one is found, 2 if it could "
        "not look. Reads all tables once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take further numbers."""
        parser.add_argument(
            "--phone",
            action="append",
            default=[],
            metavar="+27821234567",
            help="look for this number too; any number of times",
        )
        reports.add_json(parser)

    def handle(self, *, phone: list[str], json: bool, **_: object) -> None:
        """Print what was looked at, and where a number was found."""
        try:
            numbers = [international(one) for one in phone]
            report = privacy.check(numbers, now=clock.now())
        except NotInternational as error:
            raise CommandError(str(error)) from error
        except (privacy.CouldNotLook, DatabaseError) as error:
            reason = reachable.remedy_for(error) or str(error)
            raise CommandError(f"Could not look: {reason}", returncode=2) from error
        reports.write(self.stdout, report, *self._words(report), json=json)
        if report.found:
            sys.exit(1)

    def _words(self, report: privacy.PrivacyReport) -> Iterator[str]:
        yield "The search finds numbers: one was written in five forms and found."
        yield f"Looked at {report.rows} rows of {report.tables} tables."
        files = f"Looked at {report.files} files of the database."
        if report.files_reason:
            files = f"Files of the database were not looked at: {report.files_reason}"
        yield files
        for place, found in sorted(report.found.items()):
            yield self.style.ERROR(f"FOUND in {place}: {found}")
        if not report.found:
            yield self.style.SUCCESS("No number was found.")
