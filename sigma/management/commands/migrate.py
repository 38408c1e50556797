"""``manage.py migrate``: Django's own, where the database is of a form that it can change."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import migrate
from django.db import connections

from sigma import reachable


class Command(migrate.Command):
    """Bring the database up to date, or refuse before anything is changed."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Look first, then migrate."""
        database = connections[options["database"]]
        database.ensure_connection()
        reachable.check_form(database.connection)
        super().handle(*args, **options)
