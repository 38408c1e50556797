"""The short form of ``make chaos``: every role is killed once under traffic."""

from __future__ import annotations

import os
import subprocess
import sys

ROLES = ("web", "worker", "sending-pool", "postgres", "valkey", "beat", "maintenance", "sending")


def test_it_loses_and_doubles_nothing_when_everything_is_killed_once() -> None:
    command = [sys.executable, "-m", "benchmarks.chaos", "--count", "1200", "--rate", "300"]
    done = subprocess.run(
        [*command, "--sends", "200", "--hurry", "--rounds", "1", "--roles", *ROLES],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = " ".join(done.stdout.split())
    assert f"{len(ROLES)} times" in shown and all(f"{role} 1" in shown for role in ROLES)
    assert "sends accepted │ 200 of 200" in shown
