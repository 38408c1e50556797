"""At 4,000 callbacks a second offered: how fast the answer, how soon stored, at what cost."""

from __future__ import annotations

from dataclasses import replace

import psycopg

from benchmarks.engines import Engines
from benchmarks.load import Generator, Outcome
from benchmarks.processes import Server
from benchmarks.product import Product
from benchmarks.report import Figure, median

RATE = 4_000
# xmin's commit is that of the batch that stored the row; received_at is before the callback's own
# commit, so the lag is overstated by that.
LAG = """
SELECT percentile_cont(%s::float8[]) WITHIN GROUP (ORDER BY
    extract(epoch FROM pg_xact_commit_timestamp(m.xmin) - d.received_at))
FROM messages m JOIN webhook_deliveries d ON d.id = m.delivery_id
"""


def measure(product: Product, engines: Engines, *, seconds: float, rounds: int) -> list[Figure]:
    """Offer ``RATE`` single-text callbacks a second for ``seconds``, ``rounds`` times."""
    web, url = product.web()
    worker = product.worker()
    servers = {"web": web, "worker": worker, "postgres": engines.servers.get("postgres")}
    outcomes: list[Outcome] = []
    lags: list[list[float]] = []
    costs: list[dict[str, float]] = []
    try:
        for seed in range(rounds + 1):
            # The first is a short warm-up.
            count = int(RATE * (seconds if seed else min(2.0, seconds)))
            spec = replace(product.spec(url, count=count), seed=seed, rate=RATE)
            before = _cost(product, servers)
            generator = Generator(spec)
            generator.fire()
            outcome = generator.outcome()
            product.wait_until_stored(outcome.accepted, seconds=60)
            after = _cost(product, servers)
            if seed:
                outcomes.append(outcome)
                lags.append(_lag(product))
                per = {name: (after[name] - before[name]) / count for name in after}
                costs.append(per)
            product.empty()
    finally:
        worker.stop()
        web.stop()
    return _figures(outcomes, lags, costs)


def _cost(product: Product, servers: dict[str, Server | None]) -> dict[str, float]:
    found = {name: server.cpu_seconds() * 1e6 for name, server in servers.items() if server}
    with psycopg.connect(product.database_url) as connection:
        row = connection.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()
    return {**found, "wal": float(row[0]) if row else 0.0}


def _lag(product: Product) -> list[float]:
    with psycopg.connect(product.database_url) as connection:
        setting = connection.execute("SHOW track_commit_timestamp").fetchone()
        if setting != ("on",):
            return []
        row = connection.execute(LAG, ([0.5, 0.99, 1.0],)).fetchone()
    return [float(value) for value in row[0]] if row else []


def _figures(
    outcomes: list[Outcome], lags: list[list[float]], costs: list[dict[str, float]]
) -> list[Figure]:
    group = f"{RATE:,}/s offered"
    refused = sum(outcome.refused for outcome in outcomes)
    figures = [
        Figure(group, "accepted", median([o.rate for o in outcomes]), "/s", note="open loop"),
        Figure(group, "answer p50", _median_ms(outcomes, 0.5), "ms"),
        Figure(group, "answer p99", _median_ms(outcomes, 0.99), "ms", 25, at_least=False),
        Figure(group, "answer p99.9", _median_ms(outcomes, 0.999), "ms"),
        Figure(group, "refused or unanswered", refused, "", 0, at_least=False),
    ]
    if all(lags):
        p50, p99, worst = (median([lag[i] for lag in lags]) * 1000 for i in range(3))
        figures += [
            Figure(group, "lag accepted → stored, p50", p50, "ms"),
            Figure(
                group,
                "lag accepted → stored, p99",
                p99,
                "ms",
                1000,
                at_least=False,
                note=f"worst {worst:.0f} ms",
            ),
        ]
    else:
        figures.append(Figure(group, "lag: needs track_commit_timestamp", float("nan")))
    cpu = {name: median([c[name] for c in costs]) for name in costs[0]}
    shown = ", ".join(f"{name} {value:.0f}" for name, value in cpu.items() if name != "wal")
    total = sum(value for name, value in cpu.items() if name != "wal")
    figures.append(Figure(group, "CPU per stored update", total, "µs", note=shown))
    figures.append(Figure(group, "WAL per stored update", cpu["wal"], "bytes"))
    return figures


def _median_ms(outcomes: list[Outcome], share: float) -> float:
    return median([outcome.milliseconds(share) for outcome in outcomes])
