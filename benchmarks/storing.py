"""How many messages per second are stored, end to end, against COPY and against an ORM pipeline."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import psycopg
from psycopg.types.json import Jsonb

from benchmarks.baseline import Plain
from benchmarks.load import Generator, Outcome, Spec
from benchmarks.product import Product
from benchmarks.report import Figure, median
from sigma import programs

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
# The rows, and what writes some of them in one commit.
Form: TypeAlias = tuple[Sequence[Any], Callable[[Sequence[Any]], None]]

# Rows per commit of the bare COPY: as many callbacks as one batch of ours may hold.
CHUNK = 500
BATCH = 10
# What one text leaves behind. The first decides how many messages there are.
STORED = ("messages", "webhook_deliveries", "contacts", "contact_identities")


@dataclass(slots=True)
class Rates:
    """Messages or rows per second, one value a round; ``answers`` are p99 in milliseconds."""

    ours: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    batched: list[float] = field(default_factory=list)
    copied: list[float] = field(default_factory=list)
    copied_all: list[float] = field(default_factory=list)
    copied_made: list[float] = field(default_factory=list)


def measure(
    product: Product, plain: Plain, *, messages: int, plain_messages: int, rounds: int
) -> list[Figure]:
    """Store ``messages`` texts in each round, alone and ten to a callback, and copy the rows."""
    rates = Rates()
    web, url = product.web()
    worker = product.worker()
    try:
        # The first run warms connections, statement caches and the worker's imports.
        for seed in range(rounds + 1):
            _round(product, replace(product.spec(url, count=messages), seed=seed), rates)
            if not seed:
                rates = Rates()
    finally:
        worker.stop()
        web.stop()
    orm = _plain(plain, plain_messages, reuse=0)
    orm_kind = _plain(plain, plain_messages, reuse=1000)
    return _figures(rates, orm, orm_kind, plain)


def _round(product: Product, spec: Spec, rates: Rates) -> None:
    rate, outcome = store(product, spec)
    rates.ours.append(rate)
    rates.answers.append(outcome.milliseconds(0.99))
    rates.copied.append(_copy(product.database_url, _as_text, chunk=CHUNK))
    rates.copied_all.append(_copy_all(product.database_url, chunk=CHUNK))
    rates.copied_made.append(_copy_made(product))
    product.empty()
    rate, _ = store(product, replace(spec, count=spec.count // BATCH, batch=BATCH))
    rates.batched.append(rate)
    product.empty()


def store(product: Product, spec: Spec) -> tuple[float, Outcome]:
    """Let everything be stored; return messages per second, and what came of the load."""
    messages = spec.count * spec.batch
    generator = Generator(spec)
    generator.fire()
    stored_at = product.wait_until_stored(messages, seconds=120)
    outcome = generator.outcome()
    assert outcome.accepted == spec.count
    assert product.count("messages") == messages
    return messages / (stored_at - outcome.started_at), outcome


def _copy(database_url: str, form: Callable[[Connection], Form], *, chunk: int) -> float:
    """Return rows per second of COPY into a table with the same columns and indexes."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        rows, write = form(connection)
        connection.execute("DROP TABLE IF EXISTS copied")
        connection.execute("CREATE TABLE copied (LIKE messages INCLUDING ALL)")
        connection.execute("CHECKPOINT")
        started = time.perf_counter()
        for first in range(0, len(rows), chunk):
            write(rows[first : first + chunk])
        seconds = time.perf_counter() - started
        connection.execute("DROP TABLE copied")
    return len(rows) / seconds


def _copy_all(database_url: str, *, chunk: int) -> float:
    """Return messages per second of COPY, from Python values, of all that they left behind."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        forms = [_as_values(connection, table) for table in STORED]
        messages = len(forms[0][0])
        connection.execute("CHECKPOINT")
        started = time.perf_counter()
        for first in range(0, messages, chunk):
            with connection.transaction():
                for rows, write in forms:
                    if share := rows[first : first + chunk]:
                        write(share)
        seconds = time.perf_counter() - started
        for table in STORED:
            connection.execute(f"DROP TABLE copied_{table}")
    return messages / seconds


def _copy_made(product: Product) -> float:
    """Return messages per second of COPY with the making of the rows (``benchmarks.copying``)."""
    code = "from benchmarks.copying import main; main()"
    argv = programs.manage("copying", product.env, "shell", "-v", "0", "-c", code).argv
    done = subprocess.run(argv, env=product.env, check=True, capture_output=True, text=True)
    return float(done.stdout)


def _as_text(connection: Connection) -> Form:
    """Rows as COPY itself wrote them: the client only passes bytes on."""
    with connection.cursor().copy("COPY messages TO STDOUT") as source:
        lines = b"".join(source).splitlines(keepends=True)

    def write(rows: Sequence[Any]) -> None:
        with connection.cursor().copy("COPY copied FROM STDIN") as sink:
            sink.write(b"".join(rows))

    return lines, write


def _as_values(connection: Connection, table: str) -> Form:
    """Rows as Python values, and how to COPY them in binary into a table with the same indexes."""
    cursor = connection.execute(f"SELECT * FROM {table}")  # noqa: S608 - a table of ours
    names = ", ".join(column.name for column in cursor.description or ())
    types = [column.type_code for column in cursor.description or ()]
    values = [[Jsonb(v) if isinstance(v, dict) else v for v in row] for row in cursor]

    connection.execute(f"DROP TABLE IF EXISTS copied_{table}")
    connection.execute(f"CREATE TABLE copied_{table} (LIKE {table} INCLUDING ALL)")
    into = f"COPY copied_{table} ({names}) FROM STDIN (FORMAT binary)"

    def write(rows: Sequence[Any]) -> None:
        with connection.cursor().copy(into) as sink:
            sink.set_types(types)
            for row in rows:
                sink.write_row(row)

    return values, write


def _plain(plain: Plain, messages: int, *, reuse: int) -> float:
    plain.empty()
    web, url = plain.web()
    worker = plain.worker(reuse=reuse)
    try:
        warm_up = Generator(plain.spec(url, count=50, seed=99))
        warm_up.fire()
        warm_up.outcome()
        plain.wait_until_stored(50, seconds=60)
        generator = Generator(plain.spec(url, count=messages))
        generator.fire()
        stored_at = plain.wait_until_stored(messages + 50, seconds=180)
        return messages / (stored_at - generator.outcome().started_at)
    finally:
        worker.stop()
        web.stop()


def _figures(rates: Rates, orm: float, orm_kind: float, plain: Plain) -> list[Figure]:
    group, stored, copy = "end to end", median(rates.ours), median(rates.copied_made)
    ready, prepared = median(rates.copied_all), median(rates.copied)
    return [
        Figure(
            group,
            "messages stored, one to a callback",
            stored,
            "/s",
            note=f"closed loop, 64 connections; answer p99 {median(rates.answers):.1f} ms",
        ),
        Figure(
            group,
            f"messages stored, {BATCH} to a callback",
            median(rates.batched),
            "/s",
            note=f"÷ bare COPY: {median(rates.batched) / max(1, copy):.2f}",
        ),
        Figure(
            group,
            "bare COPY of the same messages",
            copy,
            "/s",
            note=f"open, parse, digest, seal, COPY; no dedupe; {CHUNK} a commit",
        ),
        Figure(
            group,
            "COPY of all their rows, made before",
            ready,
            "/s",
            note=f"{', '.join(STORED)}; ours ÷ this: {stored / max(1, ready):.2f}",
        ),
        Figure(
            group,
            "COPY of the messages' text, made before",
            prepared,
            "/s",
            note=f"no client at all; ours ÷ this: {stored / max(1, prepared):.2f}",
        ),
        Figure(
            group,
            ".delay() + get_or_create",
            orm,
            "/s",
            note=f"Celery's defaults, 2 processes; {plain.server_name}",
        ),
        Figure(
            group,
            "the same, connections kept",
            orm_kind,
            "/s",
            note=f"CELERY_DB_REUSE_MAX=1000; ours ÷ this: {stored / max(1, orm_kind):.0f}×",
        ),
        Figure(group, "÷ COPY", stored / max(1, copy), target=0.25),
        Figure(group, "÷ .delay() + get_or_create", stored / max(1, orm), "×", target=30),
    ]
