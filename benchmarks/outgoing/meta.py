"""The simulated Meta in a process of its own, and what its journal says."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.processes import Server, answers, free_port
from connectors.simulator.meta import server, world
from connectors.simulator.meta.server import Control
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import World

PAGE = 10_000


@dataclass(slots=True)
class Meta:
    """A running simulator."""

    process: Server
    port: int
    control: Control

    @property
    def graph_url(self) -> str:
        """What ``SIGMA_GRAPH_URL`` must be."""
        return f"http://127.0.0.1:{self.port}/{server.NEWEST}"

    def requests(self) -> int:
        """Count the requests so far."""
        return int(self.control.state()["requests"])

    def journal(self) -> list[dict[str, object]]:
        """Return all requests, oldest first."""
        entries: list[dict[str, object]] = []
        while page := self.control.journal(len(entries)):
            entries += page
        return entries

    def is_busy(self) -> bool:
        """Tell whether callbacks are still to come."""
        state = self.control.state()
        return bool(state["waiting"] or state["scheduled"])

    def stop(self) -> None:
        """End it."""
        self.control.close()
        self.process.stop()


def start(described: World, home: Path, *, port: int = 0) -> Meta:
    """Start a simulator of this world; return it when it answers."""
    port = port or free_port()
    file = home / f"world-{port}.json"
    file.write_bytes(world.written(described))
    argv = [sys.executable, "-m", "benchmarks.outgoing.meta", str(file), str(port)]
    process = Server(argv, env={"PATH": ""}, log=home / f"meta-{port}.log")
    process.wait_until(lambda: answers(port))
    return Meta(process, port, Control(f"http://127.0.0.1:{port}"))


def busiest_second(times: Sequence[float]) -> int:
    """Return the most requests in any one second, wherever it begins; ``times`` ascend."""
    most = first = 0
    for last, moment in enumerate(times):
        while moment - times[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def fullest(times: Sequence[float], rate: float) -> float:
    """Return how much of a bucket of one second's requests was used at the most, from 0 to 1 (or
    more, where it overflowed); ``times`` ascend.
    """
    most = level = 0.0
    before = times[0] if times else 0.0
    for moment in times:
        level = max(0.0, level - (moment - before) * rate) + 1
        most, before = max(most, level), moment
    return most / rate


async def _serve(file: Path, port: int) -> None:
    simulator = Simulator(world.read(file.read_bytes()))
    async with server.serving(simulator, server.listen(server.HOST, port)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
