"""``make broadcast-proof``: a broadcast to many people through every door and process, while the
workers that feed and send it are killed with -9; then the journal of the simulated Meta is asked
who was written to, and how often.

Exit code 1 if anybody was written to twice, or not at all without being in doubt: a message in the
hands of a sender that was killed is never sent again blindly.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import engines, product
from benchmarks.outgoing import meta as metas
from benchmarks.outgoing.meta import Meta
from benchmarks.outgoing.queued import enqueue
from benchmarks.outgoing.writer import FIRST, WRITER, world
from benchmarks.processes import Server
from benchmarks.product import Product
from sigma import programs

SETTLE_SECONDS = 400.0
CREATE = """mutation($input: CreateBroadcastInput!) {
    createBroadcast(input: $input) { broadcast { id } errors { message } } }"""
START = """mutation($input: StartBroadcastInput!) {
    startBroadcast(input: $input) { broadcast { id } errors { message } } }"""
READ = """query($id: ID!) { broadcast(id: $id) { state reason
    counts { total pending queued accepted sent delivered read failed unknown refused } } }"""


@dataclass(frozen=True, slots=True)
class Door:
    """The API, for the tenant's key."""

    url: str
    key: str
    workspace_id: str

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Send a GraphQL document."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        answer = self.post("/graphql", body, "application/json")
        assert "errors" not in answer, answer
        found: dict[str, Any] = answer["data"]
        return found

    def post(self, path: str, body: bytes, kind: str) -> dict[str, Any]:
        """Post something."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": kind}
        request = urllib.request.Request(self.url + path, body, headers)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
        return found


@dataclass(slots=True)
class Workers:
    """The processes that are killed, by role; each is started anew."""

    start: Mapping[str, Callable[[], Server]]
    running: dict[str, Server] = field(default_factory=dict)
    killed: Counter[str] = field(default_factory=Counter)

    def begin(self) -> None:
        """Start all."""
        self.running = {role: start() for role, start in self.start.items()}

    def kill(self, role: str) -> None:
        """Kill one with all its processes, and start it again."""
        os.killpg(self.running[role].pid, signal.SIGKILL)
        self.running[role].stop()
        self.killed[role] += 1
        self.running[role] = self.start[role]()

    def stop(self) -> None:
        """Stop all."""
        for server in self.running.values():
            server.stop()


def main() -> int:
    """Run, print what happened, return the exit code."""
    options = _options()
    with engines.running() as running:
        ours = product.install(running)
        web, url = ours.web()
        meta = metas.start(world(url), ours.home)
        env = {**ours.env, "SIGMA_GRAPH_URL": meta.graph_url}
        workers = Workers(
            {
                "feeding": ours.worker,
                "sending": lambda: ours.sending(env),
                "clock": lambda: Server(
                    programs.beat(env).argv, env=env, log=ours.home / "beat.log"
                ),
            }
        )
        try:
            door = _prepare(url, env)
            workers.begin()
            started = time.monotonic()
            broadcast_id = begin_broadcast(door, options.people)
            _storm(ours, workers, options.people, options.kills)
            shown = _settle(door, broadcast_id, ours, meta)
            seconds = time.monotonic() - started
            journal = meta.journal()
        finally:
            for server in (workers, web, meta):
                server.stop()
    return _judge(journal, shown, workers.killed, options.people, seconds)


def _prepare(url: str, env: Mapping[str, str]) -> Door:
    """Make the tenant, its number, its templates and a key."""
    enqueued = enqueue(WRITER, env)
    return Door(url, enqueued.api_key, enqueued.workspace_id)


def begin_broadcast(door: Door, people: int) -> str:
    given = {
        "workspaceId": door.workspace_id,
        "name": "Proof",
        "templateName": "welcome_message",
        "language": "en",
    }
    broadcast_id = str(door.ask(CREATE, input=given)["createBroadcast"]["broadcast"]["id"])
    lines = (f"+{FIRST + n},Person {n}" for n in range(people))
    path = f"/api/v1/broadcasts/{broadcast_id}/recipients"
    report = door.post(path, "\n".join(("phone,1", *lines)).encode(), "text/csv")
    assert report["total"] == people, report
    assert not door.ask(START, input={"id": broadcast_id})["startBroadcast"]["errors"]
    return broadcast_id


def _storm(ours: Product, workers: Workers, people: int, kills: int) -> None:
    """Kill feeding and sending workers in turn, and the clock, evenly over the messages."""
    roles = ("feeding", "sending", "feeding", "clock")
    for number in range(kills):
        _wait(lambda number=number: ours.count("messages") >= people * (number + 0.5) / (kills + 1))
        workers.kill(roles[number % len(roles)])


def _settle(door: Door, broadcast_id: str, ours: Product, meta: Meta) -> dict[str, Any]:
    """Wait until it is complete and every receipt is in; return it as callers see it."""

    def is_over() -> bool:
        return bool(door.ask(READ, id=broadcast_id)["broadcast"]["state"] == "COMPLETED")

    _wait(is_over)
    _wait(lambda: not meta.is_busy())
    _wait(lambda: not ours.count("webhook_pending"))
    shown: dict[str, Any] = door.ask(READ, id=broadcast_id)["broadcast"]
    return shown


def _judge(
    journal: Sequence[Mapping[str, object]],
    shown: Mapping[str, Any],
    killed: Counter[str],
    people: int,
    seconds: float,
) -> int:
    posted = Counter(str(e["to"]).lstrip("+") for e in journal if e.get("is_processed"))
    wanted = {str(FIRST + n) for n in range(people)}
    twice = sum(count > 1 for count in posted.values())
    missed, strangers = len(wanted - posted.keys()), len(posted.keys() - wanted)
    counted = {name: count for name, count in shown["counts"].items() if count}
    in_doubt = int(shown["counts"]["unknown"])
    table = Table(title="broadcast", show_header=False, title_justify="left")
    for name, value in (
        ("killed with -9", ", ".join(f"{role} {n}" for role, n in sorted(killed.items()))),
        ("people", f"{people:,} in {seconds:.0f} s"),
        ("state", f"{shown['state']} {shown['reason'] or ''}"),
        ("counted", str(counted)),
        ("written to once", f"{sum(count == 1 for count in posted.values()):,}"),
        ("written to twice", f"{twice:,}"),
        ("not written to, in doubt (their sender was killed)", f"{missed:,}"),
        ("never in the list", f"{strangers:,}"),
    ):
        table.add_row(name, value)
    Console(width=120).print(table)
    # Who is in doubt was either written to, and a receipt settled it, or was not: never twice.
    return 1 if twice or strangers or missed != in_doubt or counted["total"] != people else 0


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("It did not come to rest.")
        time.sleep(0.1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.broadcasting", description=__doc__)
    add = parser.add_argument
    add("--people", type=int, default=10_000, help="recipients of the broadcast")
    add("--kills", type=int, default=12, help="how many workers are killed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
