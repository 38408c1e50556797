"""``make chaos``: traffic into a whole installation while its processes are killed with -9, or
while a column is missing (``--rename``).

Exit code 1 on any accepted update that is lost, stored twice, or not accounted for.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import django
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.chaos import installation
from benchmarks.chaos.installation import Installation
from benchmarks.chaos.killing import ROLES, Killer
from benchmarks.chaos.renaming import Renamer
from connectors.simulator.client import Load, Plan, Report
from connectors.simulator.traffic import Callback, Mix, Traffic
from connectors.simulator.updates import Business
from connectors.simulator.wire import target

DRAIN_SECONDS = 90.0
# Callbacks and how many a second: while things are killed, and while a column is missing; that
# traffic goes on for so many seconds more.
KILLED_COUNT, KILLED_RATE = 20_000, 400.0
RENAMED_RATE, SECONDS_BESIDE = 200.0, 20.0


class Trouble(Protocol):
    """What happens to the installation under traffic."""

    async def run(self, progress: Callable[[], float]) -> None:
        """Make it, until ``progress`` (0 to 1) says that the traffic is over."""

    @property
    def is_proof(self) -> bool:
        """Whether it hit."""

    def facts(self) -> tuple[str, str]:
        """Return what was done, as a row of the table."""


@dataclass(slots=True)
class Traffick:
    """What is sent and what was answered with 200, by number."""

    callbacks: list[Callback]
    accepted: set[int] = field(default_factory=set)

    def heard(self, index: int, status: int) -> None:
        """Remember an acceptance."""
        if status == 200:
            self.accepted.add(index)

    def progress(self) -> float:
        """Return the share that was accepted."""
        return len(self.accepted) / len(self.callbacks)


def main() -> int:
    """Run, print what happened, return the exit code."""
    options = _options()
    with installation.running() as system:
        business = Business(system.facts.waba_id, system.facts.phone_number_id)
        mix = Mix(batch=options.batch, duplicates=10, foreign=1)
        traffic = Traffic(business, mix, seed=options.seed, now=int(time.time()))
        if options.rename:
            trouble: Trouble = Renamer(system, options.rename)
            rate = options.rate or RENAMED_RATE
            count = options.count or int(rate * (options.rename + SECONDS_BESIDE))
        else:
            trouble = Killer(system, tuple(options.roles), options.rounds)
            rate, count = options.rate or KILLED_RATE, options.count or KILLED_COUNT
        sent = Traffick(list(traffic.callbacks(count)))
        report = uvloop.run(_storm(system, sent, trouble, rate))
        healthy = installation.wait_until_healthy(system.facts, seconds=60)
        is_clean = _judge(system, sent, trouble, report) and healthy
        if not is_clean:
            print(system.log.read_text(errors="replace")[-6000:])
    return 0 if is_clean else 1


async def _storm(system: Installation, sent: Traffick, trouble: Trouble, rate: float) -> Report:
    there = target(system.facts.callback_url, system.facts.app_secret.encode())
    requests = (there.request(callback.body) for callback in sent.callbacks)
    load = Load(there, requests, Plan(rate=rate, retry=True, attempts=1000), sent.heard)
    making_it = asyncio.create_task(trouble.run(sent.progress))
    report = await load.run()
    await asyncio.wait_for(making_it, 30)
    return report


def _judge(system: Installation, sent: Traffick, trouble: Trouble, report: Report) -> bool:
    os.environ.clear()  # nothing of ours may name other engines or keys
    os.environ.update(system.env, DJANGO_SETTINGS_MODULE="sigma.settings")
    django.setup()
    # Only now: the models need Django, and Django needs the installation's settings.
    from benchmarks.chaos import verdict

    waited = verdict.wait_until_drained(seconds=DRAIN_SECONDS)
    accepted = [sent.callbacks[index] for index in sorted(sent.accepted)]
    tenant_id = UUID(system.facts.tenant_id)
    found = verdict.judge(tenant_id, accepted, seconds_to_drain=waited)
    others = {code or "none": n for code, n in sorted(report.codes.items()) if code != 200}
    table = Table(title="chaos", show_header=False, title_justify="left")
    for name, value in (
        trouble.facts(),
        ("callbacks", f"{len(sent.callbacks):,} in {report.seconds:.0f} s"),
        ("answered 200", f"{len(accepted):,} ({sum(map(len, accepted)):,} updates)"),
        ("other answers", str(others or "none")),
        ("sent again", f"{report.retried:,}"),
        ("stored without an answer", f"{found.deliveries - len(accepted):,}"),
        ("drained after", f"{found.seconds_to_drain:.1f} s"),
        ("messages, statuses", f"{found.messages:,}, {found.statuses:,}"),
        ("quarantined, duplicates", f"{found.quarantined:,}, {found.duplicates:,}"),
        ("still pending, dead", f"{found.pending:,}, {found.dead:,}"),
        ("ledger", "UNBALANCED" if found.unbalanced else "balanced"),
        ("lost", f"{found.lost:,}"),
        ("doubled", f"{found.doubled:,}"),
        ("never sent", f"{found.invented:,}"),
    ):
        table.add_row(name, value)
    Console().print(table)
    return found.is_clean and trouble.is_proof and len(accepted) == len(sent.callbacks)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    add = parser.add_argument
    add("--rename", type=float, metavar="SECONDS", help="kill nothing, but rename a column so long")
    add("--count", type=int, help="callbacks to send (20,000; with --rename, as many as it takes)")
    add("--rate", type=float, help="callbacks offered per second (400; with --rename, 200)")
    add("--batch", type=int, default=1, help="new updates per callback")
    add("--rounds", type=int, default=3, help="how often each role is killed")
    add("--roles", nargs="+", choices=ROLES, default=ROLES, help="which processes are killed")
    add("--seed", type=int, default=1, help="of the traffic")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
