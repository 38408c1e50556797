"""The load generator, in processes of its own: requests made beforehand, then fired on a signal."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from connectors.simulator.client import Load, LoadPlan
from connectors.simulator.traffic import Mix, Traffic, kinds_of
from connectors.simulator.updates import Business
from connectors.simulator.wire import target


@dataclass(frozen=True, slots=True)
class Spec:
    """One generator: ``count`` different callbacks once, or again and again for ``seconds``."""

    url: str
    secret: str
    waba_id: str
    phone_number_id: str
    count: int
    seconds: float = 0
    connections: int = 64
    rate: float = 0
    types: str = "text"
    batch: int = 1
    seed: int = 1


@dataclass(slots=True)
class Outcome:
    """What a load did; latencies in seconds, of accepted requests only."""

    codes: Counter[int] = field(default_factory=Counter)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    seconds: float = 0.0
    started_at: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def accepted(self) -> int:
        """Return how many were answered with 200."""
        return self.codes[200]

    @property
    def refused(self) -> int:
        """Return how many were not."""
        return sum(self.codes.values()) - self.accepted

    @property
    def rate(self) -> float:
        """Return accepted requests per second."""
        return self.accepted / max(self.seconds, 1e-9)

    def milliseconds(self, share: float) -> float:
        """Return the latency that ``share`` of them kept to."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0


class Generator:
    """A started generator process that waits for its signal."""

    def __init__(self, spec: Spec) -> None:
        descriptor, self._result = tempfile.mkstemp(prefix="sigma-load-", suffix=".json")
        os.close(descriptor)
        order = json.dumps(dataclasses.asdict(spec))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load", order, self._result],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("The load generator did not start.")

    def fire(self) -> None:
        """Begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def outcome(self) -> Outcome:
        """Wait for the end."""
        self._process.communicate()
        path = Path(self._result)
        try:
            found = json.loads(path.read_text())
        finally:
            path.unlink()
        return Outcome(
            Counter({int(code): n for code, n in found["codes"].items()}),
            array("d", found["latencies"]),
            found["seconds"],
            found["started_at"],
            found["cpu"],
        )


def run(spec: Spec) -> Outcome:
    """Fire one generator and wait for it."""
    generator = Generator(spec)
    generator.fire()
    return generator.outcome()


def _requests(spec: Spec) -> list[bytes]:
    there = target(spec.url, spec.secret.encode())
    mix = Mix(kinds=kinds_of(spec.types), batch=spec.batch)
    business = Business(spec.waba_id, spec.phone_number_id)
    traffic = Traffic(business, mix, seed=spec.seed, now=int(time.time()))
    return [there.request(callback.body) for callback in traffic.callbacks(spec.count)]


def _again(requests: list[bytes], seconds: float) -> Iterator[bytes]:
    end = time.monotonic() + seconds
    return itertools.takewhile(lambda _: time.monotonic() < end, itertools.cycle(requests))


async def _fire(spec: Spec, requests: list[bytes]) -> dict[str, object]:
    source = _again(requests, spec.seconds) if spec.seconds else iter(requests)
    there = target(spec.url, b"")
    plan = LoadPlan(connections=spec.connections, rate=spec.rate or None)
    started_at, cpu = time.time(), time.process_time()
    report = await Load(there, source, plan).run()
    return {
        "codes": report.codes,
        "latencies": report.latencies.tolist(),
        "seconds": report.seconds,
        "started_at": started_at,
        "cpu": time.process_time() - cpu,
    }


def main() -> None:
    """Prepare, say ``ready``, wait for a line, fire, write the outcome as JSON."""
    spec = Spec(**json.loads(sys.argv[1]))
    requests = _requests(spec)
    print("ready", flush=True)
    sys.stdin.readline()
    Path(sys.argv[2]).write_text(json.dumps(uvloop.run(_fire(spec, requests))))


if __name__ == "__main__":
    main()
