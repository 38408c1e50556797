"""The short form of ``make chaos``: every role is killed once under traffic."""

from __future__ import annotations

import os
import subprocess
import sys

ROLES = ("web", "worker", "postgres", "valkey", "beat", "maintenance")


def test_it_loses_and_doubles_nothing_when_everything_is_killed_once() -> None:
    command = [sys.executable, "-m", "benchmarks.chaos", "--count", "1500", "--rate", "300"]
    done = subprocess.run(
        [*command, "--rounds", "1", "--roles", *ROLES],
        capture_output=True, text=True, timeout=180, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{role} 1" in " ".join(done.stdout.split()) for role in ROLES)
