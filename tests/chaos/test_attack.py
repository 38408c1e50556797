"""The short form of ``make attack``: nobody honest is refused, and web's memory is bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_it_serves_others_while_a_stranger_attacks(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.attack", "--minutes", "0.07", "--attackers", "1"]
    done = subprocess.run(
        [*command, "--no-times", "--json", str(file)],
        capture_output=True,
        text=True,
        check=False,
        # How fast this machine is must not decide.
        env={**os.environ, "SIGMA_INBOX_TIMEOUT_MS": "10000"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(file.read_text())
    assert {row["name"] for row in figures if row["group"] == "refused"} >= {"head_too_large"}
    tried = {row["name"] for row in figures if row["group"] == "an anonymous attacker"}
    assert tried >= {"short_headers", "half_request", "silence", "sign_in", "nowhere"}
