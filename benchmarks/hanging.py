"""``make hangs``: the receiver's inbox over a database connection that hangs, delays and drops.

Each round is a process of its own under uvloop, whose loop is blocked now and then. It fails when
the process is aborted, does not end, does not recover, or lost what it had confirmed.
"""

from __future__ import annotations

# First, because what follows needs Django's apps.
from sigma.ready import IS_READY

# isort: split
import argparse
import asyncio
import faulthandler
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from random import Random
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import uvloop

from benchmarks import engines
from connectors.whatsapp.inbox import Inbox, InboxFull, InboxUnavailable, VerifiedCallback
from connectors.whatsapp.store import PostgresStore

__all__ = ("IS_READY", "main", "rounds")

CALLERS = 30
MODES = ("ok", "ok", "hang", "delay", "drop")
# How long the loop stands still: more than the driver's interval (0.1 s) and the time-outs.
STILL = (0.05, 0.6)
TIMEOUT = 0.25
# What stands in a commit (psycopg's name of a prepared statement), and the probe after it failed.
COMMIT, PROBE = b"_pg3_", b"SELECT 1"
# A process that has not ended this long after its time is hanging.
PATIENCE = 60


class Proxy:
    """Stand before the database and do with what passes as ``mode`` says."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target, self._lines = target, set[socket.socket]()
        self.mode = "ok"
        # What does not pass; who is told; and how long a connection takes.
        self.held: tuple[bytes, ...] = ()
        self.on_held: Callable[[bytes], object] = bool
        self.slowness = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        _start(self._accept)

    def drop(self) -> None:
        """End every connection."""
        for line in list(self._lines):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            time.sleep(self.slowness)
            server = socket.create_connection(self._target)
            self._lines |= {client, server}
            _start(self._pump, client, server)
            _start(self._pump, server, client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self._hold(data)
                sink.sendall(data)
        for line in (source, sink):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            self._lines.discard(line)

    def _hold(self, data: bytes) -> None:
        if self.mode == "delay":
            time.sleep(0.15)
        for mark in (mark for mark in self.held if mark in data):
            self.on_held(mark)
            while self.held:
                time.sleep(0.01)
        while self.mode == "hang":
            time.sleep(0.01)


def _start(run: object, *arguments: object) -> None:
    threading.Thread(target=run, args=arguments, daemon=True).start()  # type: ignore[arg-type]


class Round:
    """One process' work: callers, a proxy that changes its mind, and a loop that stands still."""

    def __init__(self, tenant_id: UUID, seed: int, *, max_batch: int) -> None:
        self._tenant_id, self._random = tenant_id, Random(seed)
        url = urlsplit(os.environ["DATABASE_URL"])
        self._proxy = Proxy((url.hostname or "127.0.0.1", url.port or 5432))
        address = f"{url.username}:{url.password or ''}@127.0.0.1:{self._proxy.port}"
        store = PostgresStore(
            conninfo=url._replace(netloc=address, query="").geturl(), run_sync=asyncio.to_thread
        )
        self._inbox = Inbox(
            store,
            on_commit=lambda: None,
            max_waiting=5_000,
            max_bytes=10_000_000,
            max_batch=max_batch,
            timeout=TIMEOUT,
        )
        self._stored: list[bytes] = []
        self.counts: Counter[str] = Counter()

    async def chaos(self, seconds: float) -> None:
        """Everything at random for a while, then a database that is well."""
        until = time.monotonic() + seconds
        _start(self._change_modes, until)
        await asyncio.gather(self._stand_still(until), *(self._call(until) for _ in range(CALLERS)))
        await self._recover()

    async def coincide(self, times: int) -> None:
        """Let the driver's timer fall due a little before ours, in one round of the loop."""
        loop = asyncio.get_running_loop()

        def stand_still(mark: bytes) -> None:
            if mark == PROBE:
                loop.call_soon_threadsafe(loop.call_later, 0.07, time.sleep, 0.2)

        self._proxy.on_held, self._proxy.slowness = stand_still, 0.06
        await self._recover()
        for _ in range(times):
            self._proxy.held = (COMMIT, PROBE)
            # The second waits behind the first, so the inbox asks whether the database is there.
            assert await asyncio.gather(self._store(), self._store()) == [False, False]
            self._proxy.held = ()
            await self._recover()

    async def _recover(self) -> None:
        self._proxy.mode = "ok"
        async with asyncio.timeout(PATIENCE / 2):
            while not await self._store():
                await asyncio.sleep(0.02)

    async def end(self) -> None:
        """Close the inbox.

        Raises:
            RuntimeError: something that was confirmed is not there.
        """
        await self._inbox.close()
        with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
            query = "SELECT count(*) FROM webhook_deliveries WHERE digest = ANY(%s)"
            found = (connection.execute(query, [self._stored]).fetchone() or (0,))[0]
        if found != len(self._stored):
            raise RuntimeError(f"{len(self._stored)} callbacks were confirmed, {found} are there")

    async def _call(self, until: float) -> None:
        while time.monotonic() < until:
            if not await self._store():
                await asyncio.sleep(0.01)

    async def _store(self) -> bool:
        received = VerifiedCallback(self._tenant_id, b"{}" * 300, os.urandom(32))
        try:
            await self._inbox.store(received)
        except (InboxFull, InboxUnavailable):
            self.counts["refused"] += 1
            return False
        self.counts["stored"] += 1
        self._stored.append(received.digest)
        return True

    async def _stand_still(self, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(self._random.uniform(0.05, 0.5))
            time.sleep(self._random.uniform(*STILL))

    def _change_modes(self, until: float) -> None:
        while time.monotonic() < until:
            self._proxy.mode = self._random.choice(MODES)
            if self._proxy.mode == "drop":
                self._proxy.drop()
            time.sleep(self._random.uniform(0.05, 1.0))
        self._proxy.mode = "ok"


async def _round(options: argparse.Namespace) -> Counter[str]:
    one = Round(options.tenant, options.seed, max_batch=1 if options.coincide else 100)
    await (one.coincide(options.coincide) if options.coincide else one.chaos(options.seconds))
    await one.end()
    return one.counts


def rounds(numbers: range, *arguments: str, env: Mapping[str, str]) -> Counter[str]:
    """Run rounds one after another, each in a process; return how often what happened."""
    seen: Counter[str] = Counter()
    for number in numbers:
        argv = (sys.executable, "-m", "benchmarks.hanging", "--seed", str(number), *arguments)
        done = subprocess.run(argv, env=dict(env), capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stdout + done.stderr[-3_000:], file=sys.stderr)
            seen[f"exit code {done.returncode}"] += 1
            continue
        seen += Counter({k: int(v) for k, v in (w.split("=") for w in done.stdout.split())})
        seen["ended well"] += 1
    return seen


def main() -> int:
    """Run rounds, or one of them; return the exit code."""
    options = _options()
    if options.tenant:
        faulthandler.dump_traceback_later(options.seconds + PATIENCE, exit=True)
        counts = uvloop.run(_round(options))
        print(*(f"{name}={count}" for name, count in counts.items()))
        return 0
    with engines.running() as found:
        url = found.database("hangs")
        env = {**os.environ, "DATABASE_URL": url, "SIGMA_EMBEDDED": "true"}
        run = partial(subprocess.run, env=env, check=True, capture_output=True)
        run((sys.executable, "manage.py", "migrate", "--no-input"))
        tenant = run((sys.executable, "-c", TENANT)).stdout.decode().strip()
        arguments = ("--tenant", tenant, "--seconds", str(options.seconds))
        seen = rounds(range(options.rounds), *arguments, env=env)
    for name, count in sorted(seen.items()):
        print(f"{name:<16} {count:>8,}")
    return 0 if seen["ended well"] == options.rounds else 1


TENANT = """
import sigma.ready
from workspaces import provisioning
print(provisioning.create_tenant(slug="hanging", name="Hanging").id)
"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make hangs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="processes, one after another")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long a round lasts")
    parser.add_argument("--seed", type=int, default=1, help="of a round's random choices")
    parser.add_argument("--tenant", type=UUID, help="do one round with this tenant's callbacks")
    parser.add_argument("--coincide", type=int, default=0, help="of the round: only timers, times")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
