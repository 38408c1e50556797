"""``manage.py simulate inbound``: realistic signed callbacks to this machine's own receiver."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from connectors.simulator.client import Load, LoadPlan, LoadReport
from connectors.simulator.facts import TenantFacts, of_demo, of_tenant
from connectors.simulator.traffic import Mix, SimulatedCallback, Traffic, kinds_of
from connectors.simulator.wire import CallbackTarget, target
from lib import reports

DEMO = "demo"
HELP = "Callbacks as Meta sends them, to the receiver of this machine."


@dataclass(slots=True)
class Sending:
    """What was sent so far, by the number of the request, and whether somebody pressed Ctrl-C."""

    sizes: list[int]
    repeats: int = 0
    updates: int = 0
    is_interrupted: bool = False

    def requests(
        self, there: CallbackTarget, callbacks: Iterator[SimulatedCallback]
    ) -> Iterator[bytes]:
        """Yield signed requests and remember how many updates each holds."""
        for callback in callbacks:
            self.sizes.append(len(callback))
            self.repeats += callback.is_repeat
            yield there.request(callback.body)

    def count(self, index: int, status: int) -> None:
        """Count the updates of an accepted request."""
        if status == 200:
            self.updates += self.sizes[index]


def add_arguments(parser: ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("--count", type=int, default=1000, help="Callbacks to send (default 1000).")
    add("--rate", type=float, default=200, help="Per second; 0: as fast as possible.")
    add("--types", default="all", help="all, messages, statuses, or kinds: text,image,…")
    add("--batch", type=int, default=1, help="New updates per callback (default 1).")
    add("--duplicates", type=float, default=5, help="Percent that were sent before.")
    add("--foreign", type=float, default=0, help="Percent of updates for a stranger's number.")
    add("--tenant", default=DEMO, help="Slug or UUID; the demo's facts are in demo.json.")
    add("--url", default="", help="Base URL, by default the demo's; this machine only.")
    add("--seed", type=int, help="Repeat the same traffic; by default new every time.")
    add("--retry", action="store_true", help="Send again what is not answered with 200.")
    add("--connections", type=int, default=32, help="Keep-alive connections (default 32).")
    reports.add_json(parser)


def run(options: dict[str, Any]) -> tuple[str, bool]:
    """Send; return a table of what happened, or JSON, and whether it was interrupted.

    Raises:
        NobodyToWriteTo, NotLoopback, NothingListens, UnknownKind: see there.
    """
    report, sending = _inbound(options)
    if options["json"]:
        return reports.as_json(_plain(report, sending)) + "\n", sending.is_interrupted
    console = Console()
    with console.capture() as shown:
        console.print(_table(report, sending))
    return shown.get(), sending.is_interrupted


def _inbound(options: dict[str, Any]) -> tuple[LoadReport, Sending]:
    mix = Mix(
        kinds=kinds_of(options["types"]),
        batch=max(1, options["batch"]),
        duplicates=options["duplicates"],
        foreign=options["foreign"],
    )
    facts = _facts(options["tenant"], options["url"])
    there = target(facts.callback_url, facts.app_secret)
    # A seed of its own for every run: the same ids would all be duplicates.
    seed = secrets.randbits(63) if options["seed"] is None else options["seed"]
    traffic = Traffic(facts.business, mix, seed=seed, now=int(time.time()))
    plan = LoadPlan(
        connections=max(1, options["connections"]),
        rate=options["rate"] or None,
        retry=options["retry"],
    )
    sending = Sending(sizes=[])
    requests = sending.requests(there, traffic.callbacks(options["count"]))
    return asyncio.run(_send(there, requests, plan, sending, options["count"])), sending


def _facts(tenant: str, base_url: str) -> TenantFacts:
    if tenant == DEMO and not base_url:
        return of_demo(settings.SIGMA_HOME)
    return of_tenant(tenant, base_url=base_url or settings.SIGMA_PUBLIC_URL, now=datetime.now(UTC))


async def _send(
    there: CallbackTarget, requests: Iterator[bytes], plan: LoadPlan, sending: Sending, count: int
) -> LoadReport:
    columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("sending", total=count)

        def on_answer(index: int, status: int) -> None:
            sending.count(index, status)
            if status == 200 or not plan.retry:
                progress.advance(bar)

        def interrupted() -> None:
            sending.is_interrupted = True
            load.stop()

        load = Load(there, requests, plan, on_answer)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted)
        return await load.run()


def _plain(report: LoadReport, sending: Sending) -> dict[str, object]:
    return {
        "callbacks": len(sending.sizes),
        "repeats": sending.repeats,
        "sent": report.sent,
        "retried": report.retried,
        "answers": dict(sorted(report.codes.items())),
        "updates": sending.updates,
        "seconds": report.seconds,
        "p50": report.quantile(0.5),
        "p99": report.quantile(0.99),
        "is_interrupted": sending.is_interrupted,
    }


def _table(report: LoadReport, sending: Sending) -> Table:
    others = {code: n for code, n in sorted(report.codes.items()) if code != 200}
    shown = ", ".join(f"{code or 'no answer'}: {n}" for code, n in others.items())
    accepted = report.codes[200]
    table = Table(title="interrupted" if sending.is_interrupted else None, show_header=False)
    for name, value in (
        ("callbacks", f"{len(sending.sizes):,} ({sending.repeats:,} with repeats)"),
        ("requests sent", f"{report.sent:,} ({report.retried:,} of them again)"),
        ("answered 200", f"{accepted:,}"),
        ("other answers", shown or "none"),
        ("updates accepted", f"{sending.updates:,}"),
        ("time", f"{report.seconds:.1f} s, {accepted / max(report.seconds, 1e-9):,.0f}/s"),
        ("p50 / p99", f"{report.quantile(0.5) * 1000:.1f} / {report.quantile(0.99) * 1000:.1f} ms"),
    ):
        table.add_row(name, value)
    return table
