"""``manage.py sender``: run linked devices, pair them, look after them."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, OutputWrapper

from connectors.linked_device import logs, process, stores, supervisor
from connectors.linked_device.commands import keeping, pairing, running, showing
from connectors.linked_device.health import WORST_RATE
from connectors.linked_device.sessions import UnableTo
from connectors.linked_device.statistics import DAYS
from lib import reports
from lib.heartbeat import ProcessHeartbeat

WHICH = "tenant/workspace, or a workspace's or session's id; may be left out where there is one"
ANY = "numbers, over any transport: tenant/workspace, or a workspace's id; all unless given"
MONITORED = (
    "a number to look at, over any transport; may be repeated; unless given all linked devices, or "
    "all numbers of the Cloud API where no device was ever paired"
)
NO_BACKUP = "without one: its store is damaged, or on a machine that is gone for good"
# A process that died keeps its session for 90 seconds; the start itself takes some more.
WAIT_SECONDS, PAIR_SECONDS = 150.0, 300.0

Options = Mapping[str, Any]
Verb = Callable[[OutputWrapper, IO[str], Options], int | None]


class Command(BaseCommand):
    """Operate linked devices."""

    help = (
        "WhatsApp accounts that are linked as a device: run them, pair them, look after them. "
        "Automating one is outside WhatsApp's terms and may get its number banned."
    )
    # Cron and the session host call this; the web process has made the checks.
    requires_system_checks: tuple[str, ...] = ()
    stealth_options = ("stdin",)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take a verb and what it is about."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
        verbs.add_parser("host", help="run this machine's sessions, until it is told to end")
        session = verbs.add_parser(
            "session", help="be the process of one session (the host does this)"
        )
        session.add_argument("session_id", help="a session's id")
        add = verbs.add_parser("add", help="make a workspace whose account is a linked device")
        add.add_argument("--tenant", required=True, help="slug or UUID")
        add.add_argument("--name", required=True, help="what the workspace is to be called")
        for verb, text in (
            ("start", "let a paired session run"),
            ("stop", "let a session end, after the send that is under way"),
            ("restart", "stop, wait for the gap, start"),
        ):
            _add_wait(_one(verbs, verb, text), WAIT_SECONDS)
        pair = _one(verbs, "pair", "link a phone: show a QR code, or a code to type")
        how = pair.add_mutually_exclusive_group()
        how.add_argument("--phone", help="the phone's number (+27…): show a code to type into it")
        how.add_argument(
            "--qr", action="store_true", help="show a QR code (unless --phone is given)"
        )
        _add_wait(pair, PAIR_SECONDS)
        reports.add_json(
            _one(
                verbs, "status", "where linked devices stand, why, and what to do; all unless named"
            )
        )
        _add_keeping(verbs)
        _add_counts(verbs)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; the exit code says whether it came true."""
        ask = options.pop("stdin", sys.stdin)
        try:
            code = VERBS[options["verb"]](self.stdout, ask, options)
        except UnableTo as refusal:
            raise CommandError(refusal.message) from refusal
        if code:
            sys.exit(code)


def _one(verbs: Any, name: str, text: str) -> ArgumentParser:
    parser: ArgumentParser = verbs.add_parser(name, help=text)
    parser.add_argument("session", nargs="?", help=WHICH)
    return parser


def _add_wait(parser: ArgumentParser, seconds: float) -> None:
    text = f"wait so long until it is done ({seconds:.0f})"
    parser.add_argument("--wait", type=float, default=seconds, metavar="SECONDS", help=text)


def _add_keeping(verbs: Any) -> None:
    _one(verbs, "backup", "seal the store of a stopped session into a dated file")
    restore = _one(verbs, "restore", "put a backup in the place of a stopped session's store")
    restore.add_argument("--file", help="the backup; the newest unless given")
    clear = _one(verbs, "clear", "forget the linked account; backs up first, asks before")
    clear.add_argument("--no-backup", action="store_true", help=NO_BACKUP)
    for parser in (restore, clear):
        parser.add_argument("--yes", action="store_true", help="do not ask")


def _add_counts(verbs: Any) -> None:
    stats = verbs.add_parser("stats", help="messages today, errors, error rate, and per day")
    stats.add_argument("workspaces", nargs="*", metavar="workspace", help=ANY)
    stats.add_argument("--days", type=_days, default=DAYS, help=f"so many days ({DAYS})")
    monitor = verbs.add_parser("monitor", help="print one line, OK or ERROR, and exit 0 or 1")
    monitor.add_argument("--workspace", action="append", default=[], help=MONITORED)
    service = monitor.add_mutually_exclusive_group()
    service.add_argument("--url", help="where the sender service is (SIGMA_SENDER_URL)")
    service.add_argument("--no-service", action="store_true", help="do not ask the sender service")
    rate = f"share of the sends of 24 hours that may fail, 0 to 1 ({WORST_RATE})"
    monitor.add_argument("--max-error-rate", type=float, default=WORST_RATE, help=rate)
    for parser in (stats, monitor):
        reports.add_json(parser)


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= 366:
        raise ValueError("1 to 366 days")
    return days


def _host(out: OutputWrapper, ask: IO[str], options: Options) -> int:
    logs.attach("host")
    ProcessHeartbeat("devices").start()
    try:
        return supervisor.run()
    except stores.StoreInUse as error:
        raise CommandError(f"{error} Is a host running already?") from None


def _session(out: OutputWrapper, ask: IO[str], options: Options) -> int:
    try:
        session_id = UUID(options["session_id"])
    except ValueError:
        raise CommandError("This takes a session's id; manage.py sender status shows it.") from None
    logs.attach(f"session-{session_id}")
    return process.run(session_id)


def _restore(out: OutputWrapper, ask: IO[str], options: Options) -> None:
    name, file = options["session"], options["file"]
    keeping.restore(out, ask, name=name, file=file, is_sure=options["yes"])


def _clear(out: OutputWrapper, ask: IO[str], options: Options) -> None:
    name, back_up = options["session"], not options["no_backup"]
    keeping.clear(out, ask, name=name, is_sure=options["yes"], back_up=back_up)


def _stats(out: OutputWrapper, ask: IO[str], options: Options) -> None:
    names, days = options["workspaces"], options["days"]
    showing.stats(out, names=names, days=days, as_json=options["json"])


def _monitor(out: OutputWrapper, ask: IO[str], options: Options) -> int:
    url = "" if options["no_service"] else options["url"] or settings.SIGMA_SENDER_URL
    names, worst_rate = options["workspace"], options["max_error_rate"]
    ok, line = showing.monitor(names, worst_rate=worst_rate, url=url)
    reports.write(out, {"ok": ok, "line": line}, line, json=options["json"])
    return 0 if ok else 1


def _waiting(verb: Callable[..., None]) -> Verb:
    return lambda out, ask, options: verb(out, name=options["session"], wait=options["wait"])


VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "host": _host,
        "session": _session,
        "add": lambda out, ask, o: pairing.add(out, tenant=o["tenant"], name=o["name"]),
        "start": _waiting(running.start),
        "stop": _waiting(running.stop),
        "restart": _waiting(running.restart),
        "pair": lambda out, ask, o: pairing.pair(
            out, name=o["session"], phone=o["phone"], wait=o["wait"]
        ),
        "status": lambda out, ask, o: showing.status(out, name=o["session"], as_json=o["json"]),
        "backup": lambda out, ask, o: keeping.back_up(out, name=o["session"]),
        "restore": _restore,
        "clear": _clear,
        "stats": _stats,
        "monitor": _monitor,
    }
)
