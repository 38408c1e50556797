"""Keep .venv equal to the locked requirement files; instant when nothing changed, safe in parallel.

Runs on the machine's own Python, before anything is installed: standard library only.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"


def main() -> int:
    """Install what the requirement files on the command line name; return the exit code."""
    wanted = {name: _digest(ROOT / name) for name in sys.argv[1:]}
    # A second make waits here and then finds the work done.
    lock = os.open(Path(__file__).parent, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    installed = _installed()
    if wanted.items() <= installed.items():
        return 0
    return _install(wanted, installed)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _installed() -> dict[str, str]:
    """Return what the environment holds; nothing where its Python is gone."""
    try:
        subprocess.run([PYTHON, "-c", ""], check=True, capture_output=True)
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return {}


def _install(wanted: dict[str, str], installed: dict[str, str]) -> int:
    started = time.monotonic()
    version = ".".join(map(str, sys.version_info[:3]))
    sys.stderr.write(f"Preparing .venv (Python {version}); once, about half a minute …\n")
    files = [part for name in wanted for part in ("-r", str(ROOT / name))]
    # The files are complete (uv pip compile), so nothing is left to resolve.
    pip = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "-qq",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-compile",
    ]
    if not (_run(_make_venv()) and _run([*pip, "--require-hashes", *files])):
        return 1
    STAMP.write_text(json.dumps({**installed, **wanted}, indent=2) + "\n")
    sys.stderr.write(f"✓ .venv ready {time.monotonic() - started:.1f} s\n")
    return 0


def _make_venv() -> list[str | Path]:
    if _is_usable():
        return [PYTHON, "-c", ""]
    return [sys.executable, "-m", "venv", "--clear", VENV]


def _is_usable() -> bool:
    try:
        probe = subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True, check=False)
    except OSError:
        return False
    return probe.returncode == 0


def _run(command: list[str | Path]) -> bool:
    if subprocess.run(command, check=False).returncode == 0:
        return True
    sys.stderr.write(f"✗ failed: {' '.join(map(str, command))}\n")
    if "venv" in command:
        sys.stderr.write("On Debian and Ubuntu the package python3-venv has to be installed.\n")
    return False


if __name__ == "__main__":
    sys.exit(main())
