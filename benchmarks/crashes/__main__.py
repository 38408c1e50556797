"""``make crashes`` (``python -m benchmarks.crashes``): senders that are ended between every two
steps of a send, then the journal of the simulated Meta compared with the table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random

from rich.console import Console
from rich.table import Table

from benchmarks import engines, product
from benchmarks.crashes.victims import STEPS
from benchmarks.outgoing import meta as metas
from benchmarks.outgoing import verdict
from benchmarks.outgoing.meta import Meta
from benchmarks.outgoing.queued import Order, enqueue
from benchmarks.processes import Server
from benchmarks.product import Product
from connectors.simulator.meta.world import World, joined, single
from sigma import programs

ANSWER_MS = 100
NUMBERS = 2
SETTLE_SECONDS = 120


class Zygote:
    """A process that makes senders and waits for their end."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crashes.victims"],
            env=dict(env),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def begin(self, step: str, times: int) -> None:
        """Let a sender live until it dies at a step."""
        assert self._process.stdin is not None
        print(step, times, file=self._process.stdin, flush=True)

    def end(self) -> int:
        """Wait for its end; return its exit code."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline().split()[1])

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> int:
    """Crash, judge, return 1 unless the verdict is clean."""
    options = _options()
    with engines.running() as running:
        ours = product.install(running)
        web, url = ours.web()
        orders = _orders(options.messages)
        meta = metas.start(_world(orders, url), ours.home)
        env = {**ours.env, "SIGMA_GRAPH_URL": meta.graph_url}
        servers = [web, ours.worker(), _beat(ours, env)]
        try:
            for order in orders:
                enqueue(order, env)
            killed = _crash(env, options.crashes, options.senders, Random(options.seed))
            _finish(ours, env, meta)
            found = verdict.judge(meta.journal(), verdict.rows_of(ours.database_url))
        finally:
            for server in (*servers, meta):
                server.stop()
    _show(found, killed)
    return 0 if found.is_clean and killed.total() >= options.crashes else 1


def _crash(env: Mapping[str, str], crashes: int, senders: int, chance: Random) -> Counter[str]:
    """Let senders die, several at a time, until there were so many crashes."""
    zygotes = [Zygote(env) for _ in range(senders)]
    killed: Counter[str] = Counter()
    steps = [step for step in STEPS if step != "none"]
    number = 0
    while killed.total() < crashes:
        begun = []
        for zygote in zygotes:
            # Every tenth dies at a moment instead of a step.
            step = steps[number % len(steps)] if number % 10 else str(chance.randint(20, 600))
            zygote.begin(
                step, chance.randint(1, 6 if step in ("marked", "left", "answered") else 2)
            )
            begun.append("any moment" if step.isdecimal() else step)
            number += 1
        for zygote, step in zip(zygotes, begun, strict=True):
            killed[step] += zygote.end() != 0
    for zygote in zygotes:
        zygote.close()
    return killed


def _finish(ours: Product, env: Mapping[str, str], meta: Meta) -> None:
    """Send the rest in peace, and wait until every report is in."""
    sending = ours.sending(env)
    try:
        _wait(lambda: not verdict.are_moving(ours.database_url))
        _wait(lambda: not meta.is_busy())
        _wait(lambda: not ours.count("webhook_pending"))
    finally:
        sending.stop()


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("It did not come to rest.")
        time.sleep(0.2)


def _orders(messages: int) -> list[Order]:
    return [
        Order(
            slug=f"tenant-{number}",
            phone_number_id=f"10654035229{number:04}",
            waba_id=f"10229012939{number:04}",
            access_token=f"EAAG-crashes-{number}",
            app_secret=f"crashes-app-secret-{number}",
            count=messages // NUMBERS,
            first_phone=15_550_000_000 + number * 1_000_000,
            wakes=False,
        )
        for number in range(NUMBERS)
    ]


def _world(orders: Sequence[Order], url: str) -> World:
    world = joined(
        *(
            single(
                app_secret=order.app_secret,
                access_token=order.access_token,
                waba_id=order.waba_id,
                phone_number_id=order.phone_number_id,
                callback_url=f"{url}/webhooks/whatsapp/{order.slug}",
            )
            for order in orders
        )
    )
    for token in world.tokens:
        token.accounts = []
    world.options.answer_delay_ms, world.options.window = ANSWER_MS, "off"
    world.options.obeys_magic_numbers = False
    return world


def _beat(ours: Product, env: Mapping[str, str]) -> Server:
    return Server(programs.beat(env).argv, env=env, log=ours.home / "beat.log")


def _show(found: verdict.Verdict, killed: Counter[str]) -> None:
    table = Table(title="crashes", show_header=False, title_justify="left")
    ended = ", ".join(f"{step} {killed[step]}" for step in (*STEPS, "any moment") if killed[step])
    for name, value in (
        ("senders killed", f"{killed.total()} ({ended})"),
        ("messages", f"{found.messages:,}: {found.states}"),
        ("requests at Meta", f"{found.requests:,}"),
        ("in doubt, never posted (unknown for good)", f"{found.in_doubt:,}"),
        ("posted twice", f"{found.twice:,}"),
        ("lost", f"{found.lost:,}"),
        ("unknown though Meta accepted it", f"{found.unsettled:,}"),
    ):
        table.add_row(name, value)
    Console(width=120).print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crashes", description=__doc__)
    add = parser.add_argument
    add("--crashes", type=int, default=216, help="senders to end")
    add("--messages", type=int, default=8_000, help="messages pending at the start")
    add("--senders", type=int, default=2, help="senders at once")
    add("--seed", type=int, default=1, help="of the moments and counts")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
