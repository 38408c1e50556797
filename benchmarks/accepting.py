"""How many callbacks a second are durable before their 200, against no store and .delay()."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

from benchmarks.baseline import Plain
from benchmarks.load import Outcome, Spec, run
from benchmarks.processes import Server
from benchmarks.product import Product
from benchmarks.report import Figure, median

DIFFERENT = 2_000


@dataclass(slots=True)
class Contender:
    """A running server, its load, and what came out in each round."""

    name: str
    server: Server
    spec: Spec
    outcomes: list[Outcome] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def measure(self, seconds: float) -> None:
        """Fire for ``seconds`` after a short warm-up."""
        run(replace(self.spec, seconds=seconds / 4))
        before = self.server.cpu_seconds()
        outcome = run(replace(self.spec, seconds=seconds))
        self.outcomes.append(outcome)
        self.cpu.append((self.server.cpu_seconds() - before) / max(1, outcome.accepted) * 1e6)

    def rate(self) -> float:
        """Return the median of accepted requests per second."""
        return median([outcome.rate for outcome in self.outcomes])

    def milliseconds(self, share: float) -> float:
        """Return the median over the rounds of a latency quantile."""
        return median([outcome.milliseconds(share) for outcome in self.outcomes])


def measure(product: Product, plain: Plain, *, seconds: float, rounds: int) -> list[Figure]:
    """Run the three in turn, ``rounds`` times, and compare."""
    started: list[Server] = []
    try:
        contenders = _start(product, plain, started)
        for _ in range(rounds):
            for contender in contenders:
                contender.measure(seconds)
                product.empty()
                plain.empty()
    finally:
        for server in started:
            server.stop()
    return _figures(contenders, plain)


def _start(product: Product, plain: Plain, started: list[Server]) -> list[Contender]:
    found = []
    for name, (server, url) in (
        ("durable", product.web()),
        ("no store", product.web(application="benchmarks.nostore:application")),
    ):
        started.append(server)
        found.append(Contender(name, server, product.spec(url, count=DIFFERENT)))
    server, url = plain.web()
    started.append(server)
    return [*found, Contender(".delay()", server, plain.spec(url, count=DIFFERENT))]


def _figures(contenders: list[Contender], plain: Plain) -> list[Figure]:
    by_name = {contender.name: contender for contender in contenders}
    durable, nothing, delay = (by_name[name] for name in ("durable", "no store", ".delay()"))
    group = "accept"
    codes: dict[int, int] = defaultdict(int)
    for outcome in durable.outcomes:
        for code, count in outcome.codes.items():
            codes[code] += count
    note = f"64 connections, closed loop; web {median(durable.cpu):.0f} µs CPU each; {dict(codes)}"
    return [
        Figure(group, "durable accepts", durable.rate(), "/s", note=note),
        Figure(group, "answer p50", durable.milliseconds(0.5), "ms"),
        Figure(group, "answer p99", durable.milliseconds(0.99), "ms"),
        Figure(
            group,
            "(a) same server without a store",
            nothing.rate(),
            "/s",
            note=f"web {median(nothing.cpu):.0f} µs CPU each",
        ),
        Figure(
            group,
            "(b) Django view + .delay()",
            delay.rate(),
            "/s",
            note=f"{plain.server_name}; p99 {delay.milliseconds(0.99):.0f} ms",
        ),
        Figure(group, "÷ (a)", durable.rate() / max(1, nothing.rate()), target=0.40),
        Figure(group, "÷ (b)", durable.rate() / max(1, delay.rate()), "×", target=10),
    ]
