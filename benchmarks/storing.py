"""How many messages per second are stored, end to end, against COPY and against an ORM pipeline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import psycopg

from benchmarks.baseline import Plain
from benchmarks.load import Generator, Outcome, Spec
from benchmarks.product import Product
from benchmarks.report import Figure, median

# Rows per commit of the bare COPY: as many callbacks as one batch of ours may hold.
CHUNK = 500


def measure(
    product: Product, plain: Plain, *, messages: int, plain_messages: int, rounds: int
) -> list[Figure]:
    """Store ``messages`` single-text callbacks in each round, and copy the same rows."""
    ours, answers, copied, copied_at_once = [], [], [], []
    web, url = product.web()
    worker = product.worker()
    try:
        # The first run warms connections, statement caches and the worker's imports.
        for seed in range(rounds + 1):
            spec = replace(product.spec(url, count=messages), seed=seed)
            rate, outcome = _ours(product, spec)
            if seed:
                ours.append(rate)
                answers.append(outcome.milliseconds(0.99))
                copied.append(_copy(product.database_url, chunk=CHUNK))
                copied_at_once.append(_copy(product.database_url, chunk=messages))
            product.empty()
    finally:
        worker.stop()
        web.stop()
    orm = _plain(plain, plain_messages, reuse=0)
    orm_kind = _plain(plain, plain_messages, reuse=1000)
    return _figures(ours, answers, copied, copied_at_once, orm, orm_kind, plain)


def _ours(product: Product, spec: Spec) -> tuple[float, Outcome]:
    generator = Generator(spec)
    generator.fire()
    stored_at = product.wait_until_stored(spec.count, seconds=120)
    outcome = generator.outcome()
    assert outcome.accepted == product.count("messages") == spec.count
    return spec.count / (stored_at - outcome.started_at), outcome


def _copy(database_url: str, *, chunk: int) -> float:
    """Return rows per second of COPY into a table with the same columns and indexes."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        with connection.cursor().copy("COPY messages TO STDOUT") as source:
            rows = b"".join(source).splitlines(keepends=True)
        connection.execute("DROP TABLE IF EXISTS copied")
        connection.execute("CREATE TABLE copied (LIKE messages INCLUDING ALL)")
        connection.execute("CHECKPOINT")
        started = time.perf_counter()
        for first in range(0, len(rows), chunk):
            with connection.cursor().copy("COPY copied FROM STDIN") as sink:
                sink.write(b"".join(rows[first : first + chunk]))
        seconds = time.perf_counter() - started
        connection.execute("DROP TABLE copied")
    return len(rows) / seconds


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


def _figures(
    ours: Sequence[float], answers: Sequence[float], copied: Sequence[float],
    copied_at_once: Sequence[float], orm: float, orm_kind: float, plain: Plain,
) -> list[Figure]:  # fmt: skip
    group, stored, copy = "end to end", median(ours), median(copied)
    return [
        Figure(
            group, "messages stored", stored, "/s",
            note=f"closed loop, web and worker at once; answer p99 {median(answers):.1f} ms",
        ),
        Figure(group, "bare COPY of the same rows", copy, "/s", note=f"{CHUNK} rows a commit"),
        Figure(
            group, "bare COPY, one commit", median(copied_at_once), "/s",
            note=f"ours ÷ this: {stored / max(1, median(copied_at_once)):.2f}",
        ),
        Figure(
            group, ".delay() + get_or_create", orm, "/s",
            note=f"Celery's defaults, 2 processes; {plain.server_name}",
        ),
        Figure(
            group, "the same, connections kept", orm_kind, "/s",
            note=f"CELERY_DB_REUSE_MAX=1000; ours ÷ this: {stored / max(1, orm_kind):.0f}×",
        ),
        Figure(group, "÷ COPY", stored / max(1, copy), target=0.25),
        Figure(group, "÷ .delay() + get_or_create", stored / max(1, orm), "×", target=30),
    ]  # fmt: skip
