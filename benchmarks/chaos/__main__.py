"""``make chaos``: callbacks and sends into a whole installation while its processes are killed
with -9, or callbacks while a column is missing (``--rename``).

Exit code 1 on any accepted update that is lost, stored twice, or not accounted for, and on any
accepted send that was posted twice at Meta, or neither posted nor in a state that says so.
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

from benchmarks.chaos import installation, sends
from benchmarks.chaos.installation import Installation
from benchmarks.chaos.killing import ROLES, Killer
from benchmarks.chaos.renaming import Renamer
from benchmarks.outgoing import writer
from connectors.simulator.client import Load, LoadPlan, LoadReport
from connectors.simulator.traffic import Mix, SimulatedCallback, Traffic
from connectors.simulator.updates import Business
from connectors.simulator.wire import target

DRAIN_SECONDS = 90.0
# Callbacks a second; how many, and how many sends beside them, while things are killed; for how
# many seconds they go on before and after a column is missing.
RATE, COUNT, SENDS = 200.0, 20_000, 3_000
SECONDS_BESIDE = 20.0


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
    """What is offered to the installation, and the numbers of what it accepted."""

    callbacks: list[SimulatedCallback]
    sends: list[bytes]
    accepted: set[int] = field(default_factory=set)
    promised: set[int] = field(default_factory=set)

    def heard(self, index: int, status: int) -> None:
        """Remember a callback that was accepted."""
        if status == 200:
            self.accepted.add(index)

    def heard_of_send(self, index: int, status: int) -> None:
        """Remember a send that was accepted."""
        if status in sends.ACCEPTED:
            self.promised.add(index)

    def progress(self) -> float:
        """Return the share that was accepted."""
        done = len(self.accepted) + len(self.promised)
        return done / (len(self.callbacks) + len(self.sends))

    @property
    def is_over(self) -> bool:
        """Whether everything was accepted in the end."""
        return self.progress() == 1


def main() -> int:
    """Run, print what happened, return the exit code."""
    options = _options()
    with installation.running(writer.world) as system:
        business = Business(system.facts.waba_id, system.facts.phone_number_id)
        mix = Mix(batch=options.batch, duplicates=10, foreign=1)
        traffic = Traffic(business, mix, seed=options.seed, now=int(time.time()))
        rate = options.rate
        if options.rename:
            trouble: Trouble = Renamer(system, options.rename)
            count = options.count or int(rate * (options.rename + SECONDS_BESIDE))
            asked = options.sends or 0
        else:
            trouble = Killer(system, tuple(options.roles), options.rounds)
            count = options.count or COUNT
            asked = SENDS if options.sends is None else options.sends
        sent = Traffick(list(traffic.callbacks(count)), sends.requests(system, asked))
        report = uvloop.run(_storm(system, sent, trouble, rate))
        healthy = installation.wait_until_healthy(system.facts, seconds=60)
        if sent.sends:
            sends.settle(system, hurry=options.hurry)
        is_clean = _judge(system, sent, trouble, report) and healthy
        if not is_clean:
            print(system.log.read_text(errors="replace")[-6000:])
    return 0 if is_clean else 1


async def _storm(system: Installation, sent: Traffick, trouble: Trouble, rate: float) -> LoadReport:
    there = target(system.facts.callback_url, system.facts.app_secret.encode())
    requests = (there.request(callback.body) for callback in sent.callbacks)
    load = Load(there, requests, LoadPlan(rate=rate, retry=True, attempts=1000), sent.heard)
    making_it = asyncio.create_task(trouble.run(sent.progress))
    report, _ = await asyncio.gather(load.run(), _send(system, sent, rate))
    await asyncio.wait_for(making_it, 30)
    return report


async def _send(system: Installation, sent: Traffick, rate: float) -> None:
    """Ask for the sends, spread over the time that the callbacks take."""
    if not sent.sends:
        return
    share = len(sent.sends) / len(sent.callbacks)
    plan = LoadPlan(
        connections=4, rate=rate * share, retry=True, attempts=1000, accepts=sends.ACCEPTED
    )
    there = target(system.facts.base_url, b"")
    await Load(there, iter(sent.sends), plan, sent.heard_of_send).run()


def _judge(system: Installation, sent: Traffick, trouble: Trouble, report: LoadReport) -> bool:
    os.environ.clear()  # nothing of ours may name other engines or keys
    os.environ.update(system.env, DJANGO_SETTINGS_MODULE="sigma.settings")
    django.setup()
    # Only now: the models need Django, and Django needs the installation's settings.
    from benchmarks.chaos import verdict

    waited = verdict.wait_until_drained(seconds=DRAIN_SECONDS)
    accepted = [sent.callbacks[index] for index in sorted(sent.accepted)]
    tenant_id = UUID(system.facts.tenant_id)
    found = verdict.judge(tenant_id, accepted, seconds_to_drain=waited)
    sending = sends.judge(system, len(sent.promised))
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
        ("sends accepted", f"{len(sent.promised):,} of {len(sent.sends):,}"),
        ("messages of them", f"{sending.messages:,}: {sending.states}"),
        ("posted at Meta", f"{sending.requests:,}"),
        ("posted twice", f"{sending.twice:,}"),
        ("lost sends", f"{sending.lost:,}"),
        ("unknown, never posted (their sender was killed)", f"{sending.in_doubt:,}"),
        ("unknown though Meta accepted it", f"{sending.unsettled:,}"),
    ):
        table.add_row(name, value)
    Console(width=120).print(table)
    return found.is_clean and sending.is_clean and trouble.is_proof and sent.is_over


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    add = parser.add_argument
    add("--rename", type=float, metavar="SECONDS", help="kill nothing, but rename a column so long")
    add("--count", type=int, help="callbacks to send (20,000; with --rename, as many as it takes)")
    add("--rate", type=float, default=RATE, help="callbacks offered per second")
    add("--sends", type=int, help="messages to send meanwhile (3,000; with --rename, none)")
    add("--hurry", action="store_true", help="do not wait until leases of killed senders end")
    add("--batch", type=int, default=1, help="new updates per callback")
    add("--rounds", type=int, default=5, help="how often each role is killed")
    add("--roles", nargs="+", choices=ROLES, default=ROLES, help="which processes are killed")
    add("--seed", type=int, default=1, help="of the traffic")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
