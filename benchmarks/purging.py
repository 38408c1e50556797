"""How long until Raw that is past its window is unreadable, and until it is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import psycopg

from benchmarks.product import Product
from benchmarks.report import Figure

# Meta's usual update, sealed; past every retention window of the demo tenant.
BYTES, DAYS_AGO = 1_200, 40
FILL = """
INSERT INTO webhook_deliveries (id, received_at, tenant_id, size, digest, body)
SELECT -n, %(day)s::timestamptz + n * interval '10 milliseconds', %(tenant)s, %(bytes)s,
       sha256(n::text::bytea), decode(repeat('ab', %(bytes)s), 'hex')
FROM generate_series(1, %(count)s) AS n
"""


def measure(product: Product, *, callbacks: int) -> list[Figure]:
    """Fill a day with ``callbacks`` and let ``manage.py purge --now`` take it away."""
    _fill(product, callbacks)
    started = time.monotonic()
    purge = subprocess.Popen(
        [sys.executable, "manage.py", "purge", "--now"],
        env={**os.environ, **product.env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    unreadable = gone = 0.0
    with psycopg.connect(product.database_url, autocommit=True) as connection:
        while purge.poll() is None:
            if not unreadable and not _has_old_key(connection):
                unreadable = time.monotonic() - started
            time.sleep(0.005)
        gone = time.monotonic() - started
        left = connection.execute("SELECT count(*) FROM webhook_deliveries").fetchone()
    assert purge.returncode == 0, purge.stderr.read() if purge.stderr else ""
    assert left == (0,), left
    product.empty()
    group, start = f"purge of {callbacks:,} Raw", _start_up(product)
    return [
        Figure(
            group,
            "unreadable after",
            max(0.0, unreadable - start),
            "s",
            2,
            at_least=False,
            note="the day's key is destroyed; Django's start-up not counted",
        ),
        Figure(group, "rows gone after", max(0.0, gone - start), "s", note="partition dropped"),
    ]


def _fill(product: Product, callbacks: int) -> None:
    day = datetime.now(UTC).date() - timedelta(days=DAYS_AGO)
    tenant = product.facts.tenant_id
    with psycopg.connect(product.database_url, autocommit=True) as connection:
        name = f"webhook_deliveries_{day:%Y%m%d}"
        connection.execute(
            f"CREATE TABLE {name} PARTITION OF webhook_deliveries "
            f"FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
        )
        values = {"day": day, "tenant": tenant, "bytes": BYTES, "count": callbacks}
        connection.execute(FILL, values)
        key = "INSERT INTO raw_keys (tenant_id, day, wrapped) VALUES (%s, %s, %s)"
        connection.execute(key, (tenant, day, os.urandom(72)))
        connection.execute("CHECKPOINT")


def _has_old_key(connection: psycopg.Connection) -> bool:
    old = "SELECT EXISTS (SELECT FROM raw_keys WHERE day < current_date - 30)"
    row = connection.execute(old).fetchone()
    return bool(row and row[0])


def _start_up(product: Product) -> float:
    """Return how long ``manage.py`` takes to do nothing."""
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "manage.py", "purge", "--dry-run"],
        env={**os.environ, **product.env},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - started
