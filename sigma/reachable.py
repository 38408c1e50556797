"""What to say about an engine that cannot be used: one sentence with the remedy, no traceback."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import psycopg
from django.db import Error as DjangoError
from redis import Redis
from redis.exceptions import RedisError

from sigma.engines.engine import UnableToStart

ANSWER_SECONDS = 5
DATABASE = (
    "The database cannot be used: {}. Start it, or correct DATABASE_URL; "
    "without one, 'make up' runs a database of its own."
)
BROKER = (
    "The broker cannot be used: {}. Start it, or correct REDIS_URL; "
    "without one, 'make up' runs a Valkey of its own."
)
SCHEMA = "The database does not have this version's tables: {}. Run: manage.py migrate"
BEFORE = (
    "The data are from before 1.0, and no migration leads from there: nothing was changed. Use "
    "another folder (make up SIGMA_HOME=/path/to/folder) or an empty database (DATABASE_URL), or "
    "remove the data: make fresh"
)
OWNER = (
    "The database's role may not do this: {}. Migrations are the owner's: set DATABASE_URL to the "
    "owner's address ('owner_url' in engines.json beside 'make up')"
)
# No connection, no room for one, the server ends or begins; none at all before one is there.
AWAY = ("08", "53", "57P")
DENIED = "42501"
# What PostgreSQL calls a table, a column and a function that it does not have.
NOT_MIGRATED = frozenset({"42P01", "42703", "42883"})


class EngineUnreachable(UnableToStart):
    """An engine that is named by its URL does not answer, or does not let us in."""


class DataFromBefore(UnableToStart):
    """The database has tables that this version's migrations can neither use nor change."""


def check_database(url: str) -> None:
    """Connect to the database that a URL names, and look what is in it.

    Raises:
        EngineUnreachable: it does not answer, or refuses.
        DataFromBefore: as :func:`check_form`.
    """
    parts = urlsplit(url)
    query = {"connect_timeout": str(ANSWER_SECONDS), **dict(parse_qsl(parts.query))}
    try:
        with psycopg.connect(parts._replace(query=urlencode(query)).geturl()) as connection:
            check_form(connection)
    except psycopg.Error as error:
        raise EngineUnreachable(DATABASE.format(_first_line(error))) from None


def check_form(connection: psycopg.Connection[Any]) -> None:
    """Look whether migrations may run; before any of them does.

    Raises:
        DataFromBefore: older migrations made the tables.
    """
    (table,) = connection.execute("SELECT to_regclass('django_migrations')").fetchone() or (None,)
    # All that were made before 1.0 began with the app of this name, which is now several.
    before = "SELECT FROM django_migrations WHERE app = 'connectors' LIMIT 1"
    if table and connection.execute(before).fetchone() is not None:
        raise DataFromBefore(BEFORE)


def check_broker(url: str) -> None:
    """Ask the broker that a URL names.

    Raises:
        EngineUnreachable: it does not answer, or refuses.
    """
    try:
        with Redis.from_url(
            url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS
        ) as client:
            client.ping()
    except RedisError as error:
        raise EngineUnreachable(BROKER.format(_first_line(error))) from None


def remedy_for(error: BaseException) -> str:
    """Return the sentence for a failure that lies with an engine; empty: it is ours."""
    if isinstance(error, DataFromBefore):
        return str(error)
    if isinstance(error, RedisError):
        return BROKER.format(_first_line(error))
    cause = error.__cause__ if isinstance(error, DjangoError) else error
    if not isinstance(cause, psycopg.Error):
        return ""
    if cause.sqlstate == DENIED:
        return OWNER.format(_first_line(cause)) + "."
    if cause.sqlstate in NOT_MIGRATED:
        return SCHEMA.format(_first_line(cause))
    is_away = _is_lost(cause) and (cause.sqlstate or AWAY[0]).startswith(AWAY)
    return DATABASE.format(_first_line(cause)) if is_away else ""


def _is_lost(error: psycopg.Error) -> bool:
    """Whether it may be the connection's; the driver's other InterfaceErrors are bugs of ours."""
    if isinstance(error, psycopg.InterfaceError):
        return "the connection is" in str(error)
    return isinstance(error, psycopg.OperationalError)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".")
