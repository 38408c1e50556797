"""``manage.py replay``: process parked updates again, once their cause is fixed."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, Sum
from rich.console import Console
from rich.progress import Progress

from connectors.whatsapp.models import DeadKind
from connectors.whatsapp.replay import Replayed, Selection, replay
from lib import reports
from workspaces.lookup import find_tenant
from workspaces.models import INSTALLATION_ID

# Ids of so many rows are held at a time.
CHUNK = 5_000
SHARED = "shared"


class Command(BaseCommand):
    """Replay dead letters and quarantine."""

    help = (
        "Process parked updates again. Harmless: what is stored already is a duplicate, and "
        "what fails again stays. Exits 1 where everything failed alike and the rest was left."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take a selection; without one, everything that is open."""
        parser.add_argument("--tenant", help=f"slug or UUID; {SHARED!r}: of shared callbacks")
        parser.add_argument("--kind", choices=[kind.value.lower() for kind in DeadKind])
        parser.add_argument("--reason", default="", help="how the reason begins")
        parser.add_argument("--since", type=moment, help="received at or after; ISO 8601, UTC")
        parser.add_argument("--until", type=moment, help="received before; ISO 8601, UTC")
        parser.add_argument("--limit", type=int, help="at most so many rows, the oldest first")
        parser.add_argument("--dry-run", action="store_true", help="say what there is, by reason")
        reports.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Replay, and say how many were processed after all."""
        kind = options["kind"]
        selection = Selection(
            tenant_id=_tenant(options["tenant"]),
            kind=DeadKind(kind.upper()) if kind else None,
            reason=options["reason"],
            since=options["since"],
            until=options["until"],
        )
        ids = list(selection.rows().values_list("pk", flat=True)[: options["limit"]])
        if options["dry_run"]:
            self._show(selection, ids, options["json"])
            return
        result = self._run(ids)
        words = f"{result.processed:,} of {len(ids):,} rows were processed."
        tried = {"tried": result.tried, "processed": result.processed}
        report = {**tried, "rows": len(ids), "stopped": result.stopped}
        reports.write(self.stdout, report, words, json=options["json"])
        if result.stopped:
            raise CommandError(f"Stopped, the rest is left as it was: {result.stopped}.")

    def _run(self, ids: list[int]) -> Replayed:
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("replay", total=len(ids))
            return replay(ids, progress=lambda: bar.advance(task))

    def _show(self, selection: Selection, ids: list[int], json: bool) -> None:
        counts: dict[tuple[str, str], list[int]] = {}
        for start in range(0, len(ids), CHUNK):
            rows = selection.rows().filter(pk__in=ids[start : start + CHUNK]).order_by()
            found = rows.values_list("kind", "reason").annotate(n=Count("pk"), sum=Sum("updates"))
            for kind, reason, count, updates in found:
                total = counts.setdefault((kind, reason), [0, 0])
                total[0] += count
                total[1] += updates
        lines = [
            {"kind": kind, "reason": reason, "rows": count, "updates": updates}
            for (kind, reason), (count, updates) in sorted(counts.items())
        ]
        words = ["{rows:>10,}  {kind}  {reason}".format_map(line) for line in lines]
        words.append(f"{len(ids):>10,}  would be replayed.")
        report = {"rows": len(ids), "would_replay": lines}
        reports.write(self.stdout, report, *words, json=json)


def moment(text: str) -> datetime:
    """Return a moment of the command line; without an offset it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no time such as 2026-11-30T10:00.") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _tenant(name: str | None) -> Any:
    if name is None:
        return None
    if name == SHARED:
        return INSTALLATION_ID
    return find_tenant(name).id
