"""Delivering: one number at 1,000 messages a second, and how soon a second tenant's send starts
behind another's backlog.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count as counting
from typing import LiteralString

import psycopg

from benchmarks.engines import Engines
from benchmarks.outgoing import meta as metas
from benchmarks.outgoing.meta import Meta, busiest_second, fullest
from benchmarks.outgoing.queued import Order, enqueue
from benchmarks.processes import Server
from benchmarks.product import Product
from benchmarks.report import Figure, median
from connectors.simulator.meta.world import World, joined, single

RATE = 1_000
ANSWER_MS = 100
GROUP = "sending, 1,000 mps number"
FAIR = "sending, two tenants"
_numbers = counting(1)


def measure(product: Product, engines: Engines, *, messages: int, backlog: int) -> list[Figure]:
    """Send ``messages`` of one number; then put one message beside a backlog of another tenant."""
    return [*_throughput(product, engines, messages), *_fairness(product, backlog)]


def _order(product: Product, slug: str, count: int, throughput: str = "HIGH") -> Order:
    number = next(_numbers)
    return Order(
        slug=slug,
        phone_number_id=f"1065403522{number:05}",
        waba_id=f"1022901293{number:05}",
        access_token=f"EAAG-benchmark-{number}",
        app_secret=f"benchmark-app-secret-{number}",
        count=count,
        throughput=throughput,
        wakes=False,
    )


def _world(*orders: Order) -> World:
    worlds = [
        single(
            app_secret=order.app_secret,
            access_token=order.access_token,
            waba_id=order.waba_id,
            phone_number_id=order.phone_number_id,
        )
        for order in orders
    ]
    for order, world in zip(orders, worlds, strict=True):
        world.accounts[0].numbers[0].throughput = order.throughput
    world = joined(*worlds)
    world.options.answer_delay_ms, world.options.window = ANSWER_MS, "off"
    world.options.obeys_magic_numbers = False
    return world


@contextmanager
def _running(product: Product, world: World) -> Iterator[tuple[Meta, dict[str, str]]]:
    meta = metas.start(world, product.home)
    try:
        yield meta, {**product.env, "SIGMA_GRAPH_URL": meta.graph_url}
    finally:
        meta.stop()
        product.empty()


def _throughput(product: Product, engines: Engines, messages: int) -> list[Figure]:
    order = _order(product, "throughput", messages)
    with _running(product, _world(order)) as (meta, env):
        enqueue(order, env)
        sending = product.sending(env)
        database = engines.servers.get("postgres")
        before = _cpu(sending, database)
        try:
            enqueue(replace(order, count=0, wakes=True), env)
            _wait(lambda: _left(product) == 0, seconds=60 + messages / 200)
            cost = [after - was for was, after in zip(before, _cpu(sending, database), strict=True)]
        finally:
            sending.stop()
        entries, states, lag = meta.journal(), _states(product), _lag(product)
    times = sorted(float(str(entry["time"])) for entry in entries)
    took = times[-1] - times[0]
    refused = sum(entry["outcome"] == "error" for entry in entries)
    ids = {entry["biz_opaque_callback_data"] for entry in entries if entry["is_processed"]}
    return [
        Figure(
            GROUP,
            "sent",
            (len(times) - 1) / took,
            "/s",
            0.9 * RATE,
            note=f"{len(times):,} requests in {took:.1f} s, answers after {ANSWER_MS} ms",
        ),
        Figure(
            GROUP,
            "most of the number's bucket used at once",
            fullest(times, RATE) * 100,
            "%",
            100,
            at_least=False,
            note=f"busiest second, as arrived: {busiest_second(times):,}",
        ),
        Figure(GROUP, "refused for being too fast", refused, "", 0, at_least=False),
        Figure(
            GROUP,
            "sent twice, or not recorded as accepted",
            len(times) - len(ids) + messages - states.get("accepted", 0),
            "",
            0,
            at_least=False,
            note=str(states),
        ),
        Figure(
            GROUP,
            "CPU per send",
            sum(cost) / messages * 1e6,
            "µs",
            note=f"sender {cost[0] / messages * 1e6:.0f}, postgres {cost[1] / messages * 1e6:.0f}",
        ),
        Figure(GROUP, "answer → recorded, p50", lag * 1e3, "ms"),
    ]


def _fairness(product: Product, backlog: int) -> list[Figure]:
    big, small = (_order(product, slug, n) for slug, n in (("backlog", backlog), ("other", 1)))
    with _running(product, _world(big, small)) as (meta, env):
        enqueue(big, env)
        sending = product.sending(env)
        try:
            enqueue(replace(big, count=0, wakes=True), env)
            _wait(lambda: meta.requests() > RATE, seconds=30)
            enqueue(small, env)
            _wait(lambda: _sent_by(meta, small) is not None, seconds=30)
            moment = _sent_by(meta, small) or 0.0
            return [
                Figure(
                    FAIR,
                    "the other's send starts after",
                    moment - _queued(product, small),
                    "s",
                    1.0,
                    at_least=False,
                    note=f"behind a backlog of {_left(product):,}",
                ),
            ]
        finally:
            sending.stop()


def _sent_by(meta: Meta, order: Order) -> float | None:
    for entry in meta.journal():
        if entry["phone_number_id"] == order.phone_number_id:
            return float(str(entry["time"]))
    return None


def _wait(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("The messages were not sent in time.")
        time.sleep(0.1)


def _left(product: Product) -> int:
    return sum(n for state, n in _states(product).items() if state in ("queued", "sending"))


def _states(product: Product) -> dict[str, int]:
    rows = _select(product, "SELECT status, count(*) FROM messages GROUP BY 1")
    return {str(state): int(str(count)) for state, count in rows}


def _lag(product: Product) -> float:
    """Return the median time from an answer to its record's commit, where commits are timed."""
    if _select(product, "SHOW track_commit_timestamp") != [("on",)]:
        return float("nan")
    rows = _select(
        product,
        "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - "
        "(delivery->>'accepted_at')::timestamptz) FROM messages WHERE status = 'accepted'",
    )
    return median([float(str(row[0])) for row in rows])


def _queued(product: Product, order: Order) -> float:
    rows = _select(
        product,
        "SELECT extract(epoch FROM max((m.delivery->>'queued_at')::timestamptz)) FROM messages m "
        "JOIN workspaces w ON w.id = m.workspace_id WHERE w.external_id = %s",
        order.phone_number_id,
    )
    return float(str(rows[0][0]))


def _select(product: Product, statement: LiteralString, *values: str) -> list[tuple[object, ...]]:
    with psycopg.connect(product.database_url, autocommit=True) as connection:
        return connection.execute(statement, values).fetchall()


def _cpu(*servers: Server | None) -> list[float]:
    return [server.cpu_seconds() if server else 0.0 for server in servers]
