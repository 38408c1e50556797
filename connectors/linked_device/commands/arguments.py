"""What ``manage.py sender`` takes on the command line."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from connectors.linked_device.health import WORST_RATE
from connectors.linked_device.statistics import DAYS
from lib import reports

WHICH = "tenant/workspace, or a workspace's or session's id; may be left out where there is one"
ANY = "numbers, over any transport: tenant/workspace, or a workspace's id; all unless given"
# A process that died keeps its session for 90 seconds; the start itself takes some more.
WAIT_SECONDS, PAIR_SECONDS = 150.0, 300.0


def add(parser: ArgumentParser) -> None:
    """Add the verbs, each with its own options."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    verbs.add_parser("host", help="run this machine's sessions, until it is told to end")
    process = verbs.add_parser("session", help="be the process of one session (the host does this)")
    process.add_argument("session_id", help="a session's id")
    made = verbs.add_parser("add", help="make a workspace whose account is a linked device")
    made.add_argument("--tenant", required=True, help="slug or UUID")
    made.add_argument("--name", required=True, help="what the workspace is to be called")
    for verb, text in (
        ("start", "let a paired session run"),
        ("stop", "let a session end, after the send that is under way"),
        ("restart", "stop, wait for the gap, start"),
    ):
        _waits(_one(verbs, verb, text), WAIT_SECONDS)
    _pair(_one(verbs, "pair", "link a phone: show a QR code, or a code to type"))
    reports.add_json(
        _one(verbs, "status", "where linked devices stand, why, and what to do; all unless named")
    )
    _one(verbs, "backup", "seal the store of a stopped session into a dated file")
    restoring = _one(verbs, "restore", "put a backup in the place of a stopped session's store")
    restoring.add_argument("--file", help="the backup; the newest unless given")
    _sure(restoring)
    clearing = _one(verbs, "clear", "forget the linked account; backs up first, asks before")
    clearing.add_argument(
        "--no-backup", action="store_true",
        help="without one: its store is damaged, or on a machine that is gone for good",
    )  # fmt: skip
    _sure(clearing)
    _counts(verbs)


def _counts(verbs: Any) -> None:
    stats = verbs.add_parser("stats", help="messages today, errors, error rate, and per day")
    stats.add_argument("workspaces", nargs="*", metavar="workspace", help=ANY)
    stats.add_argument("--days", type=_days, default=DAYS, help=f"so many days ({DAYS})")
    reports.add_json(stats)
    monitor = verbs.add_parser("monitor", help="print one line, OK or ERROR, and exit 0 or 1")
    monitor.add_argument(
        "--workspace", action="append", default=[],
        help="a number to look at, over any transport; may be repeated; unless given all linked "
        "devices, or all numbers of the Cloud API where no device was ever paired",
    )  # fmt: skip
    service = monitor.add_mutually_exclusive_group()
    service.add_argument("--url", help="where the sender service is (SIGMA_SENDER_URL)")
    service.add_argument("--no-service", action="store_true", help="do not ask the sender service")
    monitor.add_argument(
        "--max-error-rate", type=float, default=WORST_RATE,
        help=f"share of the sends of 24 hours that may fail, 0 to 1 ({WORST_RATE})",
    )  # fmt: skip
    reports.add_json(monitor)


def _one(verbs: Any, name: str, text: str) -> ArgumentParser:
    parser: ArgumentParser = verbs.add_parser(name, help=text)
    parser.add_argument("session", nargs="?", help=WHICH)
    return parser


def _pair(parser: ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--phone", help="the phone's number (+27…): show a code to type into it")
    how.add_argument("--qr", action="store_true", help="show a QR code (unless --phone is given)")
    _waits(parser, PAIR_SECONDS)


def _waits(parser: ArgumentParser, seconds: float) -> None:
    parser.add_argument(
        "--wait", type=float, default=seconds, metavar="SECONDS",
        help=f"wait so long until it is done ({seconds:.0f})",
    )  # fmt: skip


def _sure(parser: ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= 366:
        raise ValueError("1 to 366 days")
    return days
