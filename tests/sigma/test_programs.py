"""What runs where: a turn of the work loop waits for no place."""

from __future__ import annotations

import re
from pathlib import Path

from messaging.broadcasts.tending import Broadcasts
from sigma import programs

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"


def test_the_worker_has_a_process_for_every_turn() -> None:
    worker = programs.workers({"SIGMA_INGEST_DRAINS": "5"})[0]

    assert worker.argv[worker.argv.index("-c") + 1] == "9"


def test_one_process_is_left_for_what_the_clock_calls() -> None:
    events = 1

    assert Broadcasts.slots + events + 1 == programs.OTHER_TURNS


def test_so_it_has_in_containers() -> None:
    composed = COMPOSE.read_text()
    (drains,) = re.findall(r"\$\{SIGMA_INGEST_DRAINS:-(\d+)\}", composed)
    (processes,) = re.findall(r'"ingest,broadcast,events", -c, "(\d+)"', composed)

    assert int(processes) == int(drains) + programs.OTHER_TURNS
