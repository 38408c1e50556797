"""Every place where something is at rest, as text that can be searched."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from django.conf import settings
from django.db import connection
from redis import Redis

from sigma.logs import TextFormatter
from sigma.privacy import database_files, disguises, found_in_bytes

# The command's own, which it proves to find numbers before it looks for any.
__all__ = ("database_files", "disguises", "found_in_bytes")

SEPARATORS = re.compile(r"[\s().\-/_+\u2010-\u2015]")
READERS = {
    "string": lambda broker, key: [broker.get(key)],
    "list": lambda broker, key: broker.lrange(key, 0, -1),
    "set": lambda broker, key: broker.smembers(key),
    "hash": lambda broker, key: [*broker.hkeys(key), *broker.hvals(key)],
    "zset": lambda broker, key: broker.zrange(key, 0, -1),
}


def found_in(content: str, disguised: Iterable[str]) -> set[str]:
    """Return what of it stands in ``content``, with or without separators."""
    bare = SEPARATORS.sub("", content)
    return {one for one in disguised if one in content or one in bare}


def rows() -> Iterator[tuple[str, str]]:
    """Yield every row of every table (bytea as hexadecimal digits), with the table's name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_type = 'BASE TABLE' "
            "AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        )
        for schema, table in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{schema}"."{table}" t')  # noqa: S608
            yield from ((table, row) for (row,) in cursor.fetchall())


def wal_position() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_lsn()")
        return str(cursor.fetchone()[0])


def wal_since(position: str) -> bytes:
    """Return the write-ahead log from a position to now."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT string_agg(pg_read_binary_file('pg_wal/' || name), '' ORDER BY name)
            FROM pg_ls_waldir() WHERE name BETWEEN pg_walfile_name(%s)
                AND pg_walfile_name(pg_current_wal_insert_lsn()) AND length(name) = 24
            """,
            [position],
        )
        return bytes(cursor.fetchone()[0])


def engine_logs() -> Iterator[tuple[str, bytes]]:
    """Yield what the engines that these tests started have logged."""
    home = os.environ.get("SIGMA_TESTS_HOME")
    for path in Path(home).glob("*.log") if home else ():
        yield path.name, path.read_bytes()


def broker_entries() -> Iterator[tuple[str, str]]:
    """Yield every key and every value of the broker."""
    broker = Redis.from_url(settings.REDIS_URL)
    for key in broker.scan_iter():
        name = key.decode("latin-1")
        yield "key", name
        kind = broker.type(key).decode()
        # Its time may have run out since it was found.
        for value in () if kind == "none" else READERS[kind](broker, key):
            yield name, (value or b"").decode("latin-1")
    broker.close()


def log_lines(records: Iterable[logging.LogRecord]) -> Iterator[str]:
    """Yield what was logged as it would be printed, but unmasked; not the test's own client."""
    for record in records:
        if not record.name.startswith(("httpx", "httpcore", "asyncio")):
            yield TextFormatter().format(record)
