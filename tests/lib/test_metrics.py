"""Counts outlive their processes, gauges do not, and all are documented."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lib import counts, metrics

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `(sigma_\w+)` \| (\w+) \|([^|]*)\| (.+?) \| (.*?) \|$", re.MULTILINE)
BEGIN = "from lib import metrics as m; import os, signal; "
COUNT = "m.ACCEPTED.inc(3); m.COMMIT_SECONDS.observe(.2); m.WAITING.set(7); "
DIE = "os.kill(os.getpid(), signal.SIGKILL)"
SHOW = "print(m.exposition([]).decode())"
FORK = "child = os.fork(); child or (m.ACCEPTED.inc(10), os._exit(0)); os.waitpid(child, 0); "

Run = Callable[[str], dict[str, float]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a program that counts in a folder of the test; return the samples that it printed."""

    def run(program: str) -> dict[str, float]:
        env = os.environ | {"SIGMA_METRICS_FOLDER": str(tmp_path / "metrics")}
        env |= {"DJANGO_SETTINGS_MODULE": "sigma.settings"}
        done = subprocess.run(
            [sys.executable, "-c", BEGIN + program],
            cwd=ROOT,
            env=env,
            capture_output=True,
            check=False,
            text=True,
        )
        assert not done.stderr, done.stderr
        families = text_string_to_metric_families(done.stdout)
        return {sample.name: sample.value for family in families for sample in family.samples}

    return run


def test_counts_outlive_a_process_that_is_killed_but_not_its_gauges(run: Run) -> None:
    run(COUNT + DIE)
    run(COUNT + DIE)

    told = run(SHOW)
    assert told["sigma_callbacks_accepted_total"] == 6
    assert told["sigma_commit_seconds_count"] == 2
    assert told.get("sigma_callbacks_waiting", 0) == 0
    assert run(COUNT + SHOW)["sigma_callbacks_waiting"] == 7


def test_processes_one_after_the_other_share_files(run: Run, tmp_path: Path) -> None:
    for _ in range(3):
        run(COUNT + DIE)

    assert len(list((tmp_path / "metrics").glob("*.db"))) == len(counts.KINDS)


def test_a_forked_process_counts_by_itself(run: Run, tmp_path: Path) -> None:
    told = run("m.ACCEPTED.inc(1); " + FORK + "m.ACCEPTED.inc(1); " + SHOW)

    assert told["sigma_callbacks_accepted_total"] == 12
    assert len(list((tmp_path / "metrics").glob("counter_*.db"))) == 2


def test_a_file_that_grows_has_its_room_on_the_disk(run: Run, tmp_path: Path) -> None:
    run("[m.SENDS.labels('failed', n).inc() for n in range(5_000)]")

    (grown,) = (tmp_path / "metrics").glob("counter_*.db")
    assert counts.FILE_BYTES < grown.stat().st_size <= grown.stat().st_blocks * 512


@pytest.mark.parametrize("content", [b"", b"\xff" * 5_000, b"\x88\x13" + bytes(5_000)])
def test_a_broken_file_is_no_reason_to_say_nothing(
    run: Run, tmp_path: Path, content: bytes
) -> None:
    run(FORK + COUNT)
    for broken in ("counter_0", "histogram_0", "histogram_1"):
        (tmp_path / "metrics" / f"{broken}.db").write_bytes(content)
    (tmp_path / "metrics" / "gauge_livesum_of.db").write_bytes(content)  # somebody else's

    assert run(COUNT + SHOW)["sigma_callbacks_accepted_total"] == 13


def test_without_a_folder_a_process_counts_for_itself(run: Run, tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("in the way")

    assert run(COUNT + SHOW)["sigma_callbacks_accepted_total"] == 3


def test_codes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_codes", set())
    labels = {metrics.code_of(code) for code in range(metrics.MOST_CODES + 50)}

    assert len(labels) == metrics.MOST_CODES + 1
    assert metrics.code_of(0) == "0"


def test_the_catalogue_is_what_is_declared() -> None:
    rows = ROW.findall((ROOT / "docs/metrics.md").read_text(encoding="utf-8"))
    documented = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels, *_ in rows
    }

    assert len(documented) == len(rows)
    assert documented == {name: one[:2] for name, one in metrics.CATALOGUE.items()}
    assert all(meaning.strip() and alert.strip() for *_, meaning, alert in rows)


def test_every_metric_is_explained_to_the_scraper() -> None:
    assert [name for name, one in metrics.CATALOGUE.items() if not one.help.endswith(".")] == []
    assert all(name.startswith("sigma_") for name in metrics.CATALOGUE)
