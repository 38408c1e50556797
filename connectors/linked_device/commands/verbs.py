"""The verbs of ``manage.py sender`` by name: options in, exit code out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import CommandError, OutputWrapper

from connectors.linked_device import host, lock, logs, process
from connectors.linked_device.commands import (
    adding,
    counting,
    keeping,
    monitoring,
    pairing,
    running,
    showing,
)
from lib import reports
from lib.heartbeat import Heartbeat

Options = Mapping[str, Any]
Verb = Callable[[OutputWrapper, IO[str], Options], int | None]


def _host(out: OutputWrapper, ask: IO[str], options: Options) -> int:
    logs.attach("host")
    Heartbeat("devices").start()
    try:
        return host.run()
    except lock.StoreInUse as error:
        raise CommandError(f"{error} Is a host running already?") from None


def _session(out: OutputWrapper, ask: IO[str], options: Options) -> int:
    try:
        session_id = UUID(options["session_id"])
    except ValueError:
        raise CommandError("This takes a session's id; manage.py sender status shows it.") from None
    logs.attach(f"session-{session_id}")
    return process.run(session_id)


def _running(verb: Callable[..., None]) -> Verb:
    def run(out: OutputWrapper, ask: IO[str], options: Options) -> None:
        verb(out, name=options["session"], wait=options["wait"])

    return run


def _add(out: OutputWrapper, ask: IO[str], options: Options) -> None:
    adding.add(out, tenant=options["tenant"], name=options["name"])


def _pair(out: OutputWrapper, ask: IO[str], options: Options) -> None:
    pairing.pair(out, name=options["session"], phone=options["phone"], wait=options["wait"])


def _status(out: OutputWrapper, ask: IO[str], options: Options) -> None:
    showing.status(out, name=options["session"], as_json=options["json"])


def _back_up(out: OutputWrapper, ask: IO[str], options: Options) -> None:
    keeping.back_up(out, name=options["session"])


def _restore(out: OutputWrapper, ask: IO[str], options: Options) -> None:
    keeping.restore(out, ask, name=options["session"], file=options["file"], is_sure=options["yes"])


def _clear(out: OutputWrapper, ask: IO[str], options: Options) -> None:
    keeping.clear(
        out, ask, name=options["session"], is_sure=options["yes"], back_up=not options["no_backup"]
    )


def _stats(out: OutputWrapper, ask: IO[str], options: Options) -> None:
    counting.stats(out, names=options["workspaces"], days=options["days"], as_json=options["json"])


def _monitor(out: OutputWrapper, ask: IO[str], options: Options) -> int:
    ok, line = monitoring.monitor(
        options["workspace"], worst_rate=options["max_error_rate"],
        url="" if options["no_service"] else options["url"] or settings.SIGMA_SENDER_URL,
    )  # fmt: skip
    out.write(reports.told({"ok": ok, "line": line}, line, json=options["json"]))
    return 0 if ok else 1


VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "host": _host,
        "session": _session,
        "add": _add,
        "start": _running(running.start),
        "stop": _running(running.stop),
        "restart": _running(running.restart),
        "pair": _pair,
        "status": _status,
        "backup": _back_up,
        "restore": _restore,
        "clear": _clear,
        "stats": _stats,
        "monitor": _monitor,
    }
)
