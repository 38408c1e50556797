"""``make bench`` (``python -m benchmarks --quick``): all figures of one run, and their ratios.

Everything runs on this machine and on loopback. Absolute figures depend on it; quote the ratios.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    accepting,
    baseline,
    engines,
    lanes,
    mounting,
    product,
    purging,
    reading,
    report,
    searching,
    sending,
    steady,
    storing,
)
from benchmarks.report import Figure

PARTS = ("accept", "store", "steady", "read", "mount", "purge", "send", "lane", "search")


def main() -> int:
    """Measure, print the table, return 1 if a target was missed."""
    options = _options()
    figures: list[Figure] = []
    began = time.monotonic()
    with engines.running() as running:
        print(f"{running.describe()}; {os.cpu_count()} CPUs, load generator included.")
        ours, plain = product.install(running), baseline.install(running)
        for name, part in _parts(ours, plain, running, options.quick).items():
            if name in options.only:
                print(f"{time.monotonic() - began:5.0f} s  {name} …", flush=True)
                figures += part()
    report.show(figures, title="quick run" if options.quick else "")
    if options.json:
        report.save(figures, options.json)
    print(f"{time.monotonic() - began:.0f} s in all")
    return 1 if any(figure.verdict == "MISS" for figure in figures) else 0


def _parts(
    ours: product.Product, plain: baseline.Plain, running: engines.Engines, quick: bool
) -> dict[str, Callable[[], list[Figure]]]:
    seconds, rounds = (2.0, 1) if quick else (4.0, 3)
    return {
        "accept": lambda: accepting.measure(ours, plain, seconds=seconds, rounds=rounds),
        "store": lambda: storing.measure(
            ours,
            plain,
            messages=10_000 if quick else 40_000,
            plain_messages=300 if quick else 1_000,
            rounds=rounds,
        ),
        "steady": lambda: steady.measure(ours, running, seconds=4 if quick else 10, rounds=rounds),
        "read": lambda: reading.measure(
            ours, messages=100_000 if quick else 1_000_000, pages=100 if quick else 300
        ),
        "mount": lambda: mounting.measure(ours, seconds=seconds),
        "purge": lambda: purging.measure(ours, callbacks=50_000 if quick else 1_000_000),
        "send": lambda: sending.measure(
            ours, running, messages=10_000 if quick else 30_000, backlog=100_000
        ),
        "search": lambda: searching.measure(
            ours,
            running,
            messages=100_000 if quick else 1_000_000,
            asks=40 if quick else 200,
            stored=10_000 if quick else 40_000,
            rounds=rounds + 1,
        ),
        "lane": lambda: lanes.measure(
            ours, people=5_000 if quick else 100_000, presses=60 if quick else 200
        ),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some parts")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
