"""``manage.py sender stats`` and ``monitor``, as operators and cron read them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.conftest import Cast
from tests.linked_device.conftest import Sender
from tests.linked_device.rows import hold, linked, messages, session_of
from tests.sender.conftest import serving
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db


def line_of(sender: Sender, *arguments: object) -> tuple[int, str]:
    """Return a monitor's exit code and its one line."""
    out = io.StringIO()
    given = arguments if "--url" in arguments else (*arguments, "--no-service")
    try:
        call_command("sender", "monitor", *map(str, given), stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


def test_stats_are_exact_over_any_transport(sender: Sender, acme: Cast, now: datetime) -> None:
    now = datetime.now(UTC)
    messages(linked(acme), now, "sent", "sent", "failed")
    messages(acme.workspace, now - timedelta(days=2), "delivered")
    device, cloud = sorted(json.loads(sender("stats", "--json")), key=lambda one: one["name"])
    assert (device["transport"], device["today"]["messages"]) == ("LINKED_DEVICE", 3)
    assert device["today"]["error_rate"] == pytest.approx(1 / 3)
    assert (cloud["transport"], cloud["today"]["messages"]) == ("CLOUD_API", 0)
    assert [day["messages"] for day in cloud["days"]] == [0] * 27 + [1, 0, 0]


def test_stats_print_a_line_for_each_day(sender: Sender, acme: Cast, now: datetime) -> None:
    messages(acme.workspace, datetime.now(UTC), "sent", "failed", "unknown", "queued")
    shown = sender("stats", acme.workspace.id)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    (line,) = [line for line in shown.splitlines() if today in line]
    assert line.replace("│", " ").split() == [today, "4", "2", "66.7%", "0"]
    assert shown.count(" – ") == 29


def test_monitor_says_that_all_is_well(sender: Sender, acme: Cast, now: datetime) -> None:
    hold(session_of(linked(acme), now), now)
    assert line_of(sender) == (0, "OK: acme/Front desk: 0 messages and 0 errors in 24 hours.\n")


def test_monitor_says_what_is_wrong_in_one_line(
    sender: Sender, acme: Cast, globex: Cast, now: datetime
) -> None:
    hold(session_of(linked(acme), now), now)
    hold(session_of(linked(globex), now, "CONFLICT"), now)
    code, line = line_of(sender)
    assert code == 1
    assert line.startswith("ERROR: globex/Front desk: Replaced by another client")
    assert line.count("\n") == 1
    assert line_of(sender, "--workspace", "acme/Front desk")[0] == 0


def test_monitor_looks_at_any_number_that_is_named(
    sender: Sender, acme: Cast, now: datetime
) -> None:
    messages(acme.workspace, datetime.now(UTC), *["failed"] * 6)
    assert line_of(sender, "--workspace", acme.workspace.id) == (
        1,
        "ERROR: acme/acme support: 6 of 6 messages of the last 24 hours failed (100%).\n",
    )
    assert line_of(sender, "--workspace", acme.workspace.id, "--max-error-rate", 1)[0] == 0


@pytest.mark.parametrize("arguments", [["--workspace", "nobody"], ["--workspace", "acme/nobody"]])
def test_monitor_has_one_line_for_its_own_trouble(
    sender: Sender, acme: Cast, arguments: list[str]
) -> None:
    code, line = line_of(sender, *arguments)
    assert (code, line[:7], line.count("\n")) == (1, "ERROR: ", 1)


@pytest.mark.django_db(transaction=True)
def test_monitor_asks_what_the_callers_of_the_service_ask(sender: Sender, acme: Cast) -> None:
    with serving() as served:
        well = line_of(sender, "--url", served.url)
    gone = line_of(sender, "--url", served.url)

    assert well == (0, "OK: acme/acme support: 0 messages and 0 errors in 24 hours.\n")
    assert gone[0] == 1
    assert gone[1].startswith(f"ERROR: The sender service does not answer at {served.url}")
    assert gone[1].count("\n") == 1


def test_monitor_is_content_with_numbers_of_the_cloud_api_alone(
    sender: Sender, acme: Cast, globex: Cast
) -> None:
    linked(acme)  # made, and never paired

    code, line = line_of(sender)

    assert code == 0
    assert "acme/acme support, globex/globex support" in line


def test_monitor_says_that_a_device_has_to_be_paired_where_there_is_nothing_else(
    sender: Sender, acme: Cast
) -> None:
    Workspace.objects.all().delete()
    linked(acme)

    code, line = line_of(sender)

    assert (code, line) == (1, "ERROR: acme/Front desk: No phone is linked: pair it.\n")


def test_monitor_says_that_the_database_is_away(tmp_path: Path) -> None:
    away = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", "SIGMA_HOME": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "manage.py", "sender", "monitor"],
        capture_output=True,
        text=True,
        env={"PATH": "", "REDIS_URL": "redis://127.0.0.1:9", "SIGMA_EMBEDDED": "true", **away},
    )
    assert (found.returncode, found.stdout) == (1, "ERROR: The database does not answer.\n")
