"""Take turns: which numbers have something to send, in a fair order, what it takes to send for them
(a channel, a pace, a limit), and what is due of it, claimed in one short transaction that is
committed before anything is sent.

A claimed row is reserved and still ``queued``: it is due again when its claimer died. It becomes
``sending`` in the moment before it is sent (:mod:`messaging.delivery.performing`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from django.db import DatabaseError, transaction

from lib import bulk
from lib.envelope import CannotOpen
from lib.ttl import TtlCache
from messaging import numbers, portfolios, transitions
from messaging.attempts import Attempt
from messaging.conversations import WINDOW
from messaging.delivery import files, pacing, pauses
from messaging.delivery.due import (
    Deferral,
    Due,
    Failed,
    defer,
    due,
    examine,
    request_of,
    reserve,
)
from messaging.delivery.files import FileKey, Handle, SentFile
from messaging.delivery.pacing import Reserved
from messaging.delivery.pauses import Pause
from messaging.delivery.queues import SENDS_BRAKE
from messaging.delivery.uploading import FileJob
from messaging.models import NumberState
from workspaces.channel_errors import NotConfigured
from workspaces.channels import Channel, channel_for
from workspaces.keys import TenantHasNoKeys
from workspaces.models import HOSTED, Workspace

logger = logging.getLogger("sigma.whatsapp.sending")

# How long a process goes on with a token, a pace or a limit that somebody has changed.
CACHE_SECONDS = 5.0
# Whoever has no token yet is looked at again after this.
NOT_CONFIGURED_PAUSE = timedelta(minutes=1)
# Slots are a moment ahead. What waits longer, for a message to the same person, may be claimed
# again: then the first claim cannot mark it any more.
RESERVED_SECONDS = 20.0
# The share of all places that one number may take: the next one's first message waits for nobody.
LARGEST_SHARE = 0.75
# How much of a late claim is remembered at the next one.
FADING = 0.9
# A full portfolio is looked at again after this long, or when its next place is free.
FULL_PAUSE = timedelta(minutes=5)
# A loose index scan finds the numbers with something to send, each with what is due first: the
# order is the index's (outbox_due), so that no plan reads what waits behind it. Tenants take turns,
# whatever number of numbers each has; where there are more than places, chance decides, so that
# none is always last.
WAITING = """
WITH RECURSIVE turn AS (
    (SELECT tenant_id, workspace_id, due_at FROM outbox WHERE due_at IS NOT NULL
     ORDER BY tenant_id, workspace_id, due_at LIMIT 1)
    UNION ALL
    SELECT o.tenant_id, o.workspace_id, o.due_at
    FROM turn CROSS JOIN LATERAL (
        SELECT q.tenant_id, q.workspace_id, q.due_at FROM outbox q
        WHERE q.due_at IS NOT NULL
          AND (q.tenant_id, q.workspace_id) > (turn.tenant_id, turn.workspace_id)
        ORDER BY q.tenant_id, q.workspace_id, q.due_at LIMIT 1
    ) o
)
SELECT w.id, w.tenant_id
FROM turn JOIN workspaces w ON w.tenant_id = turn.tenant_id AND w.id = turn.workspace_id
JOIN tenants t ON t.id = w.tenant_id
WHERE w.is_active AND t.status = 'ACTIVE' AND turn.due_at <= %(now)s
  AND w.transport <> ALL(%(hosted)s) AND NOT EXISTS (
    SELECT FROM sending_pauses p
    WHERE p.tenant_id = w.tenant_id AND coalesce(p.workspace_id = w.id, true)
      AND p.lifted_at IS NULL AND coalesce(p.until > %(now)s, true)
)
ORDER BY row_number() OVER (PARTITION BY w.tenant_id ORDER BY random()), random()
LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class ReadyNumber:
    """A number that may send now: ``rate`` per second; ``limit`` is how many people its portfolio
    may write to first in 24 hours (``None``: any number).
    """

    workspace_id: UUID
    tenant_id: UUID
    channel: Channel = field(repr=False)
    rate: int
    portfolio: str
    limit: int | None


class ReadyNumbers:
    """The numbers of one process that may send now, remembered for seconds."""

    def __init__(self) -> None:
        self._known: TtlCache[UUID, ReadyNumber] = TtlCache(seconds=CACHE_SECONDS, size=10_000)

    def of(self, workspace_ids: Iterable[UUID], *, now: datetime) -> list[ReadyNumber]:
        """Return those of these numbers that may send. One that cannot for want of a token that
        can be read is paused, with the reason, and left out: its trouble is not the others'.
        """
        wanted = list(workspace_ids)
        missing = [one for one in wanted if self._known.get(one) is None]
        ready = {number.workspace_id: number for number in self._load(missing, now)}
        found = (ready.get(one) or self._known.get(one) for one in wanted)
        return [number for number in found if number is not None]

    def forget(self) -> None:
        """Look everything up again: a token may have been replaced."""
        self._known.clear()

    def _load(self, workspace_ids: list[UUID], now: datetime) -> list[ReadyNumber]:
        if not workspace_ids:
            return []
        states = NumberState.objects.in_bulk(workspace_ids)
        ready, unable = [], []
        for workspace in Workspace.objects.filter(pk__in=workspace_ids):
            state = states.get(workspace.pk)
            try:
                channel = channel_for(workspace, now=now)
            except NotConfigured as error:
                unable.append((workspace, str(error)))
            except (CannotOpen, TenantHasNoKeys) as error:
                unable.append((workspace, f"The access token cannot be read. {error}"))
            else:
                number = ReadyNumber(
                    workspace.id,
                    workspace.tenant_id,
                    channel,
                    numbers.messages_per_second(state),
                    state.portfolio_id if state else "",
                    numbers.limit_of(state),
                )
                ready.append(self._known.put(workspace.pk, number))
        if unable:
            until = now + NOT_CONFIGURED_PAUSE
            pauses.pause(
                (Pause(w.tenant_id, w.id, pauses.NOT_CONFIGURED, why, until) for w, why in unable),
                now=now,
            )
        return ready


def waiting(limit: int, *, now: datetime) -> list[UUID]:
    """Return up to ``limit`` numbers with something due that no pause stops, fairly chosen. Those
    of hosted transports are for the processes that hold their connections.
    """
    with bulk.cursor() as cursor:
        cursor.execute(WAITING, {"now": now, "limit": limit, "hosted": list(HOSTED)})
        return [row[0] for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message to send: claimed ``at``, to be sent not before ``start`` (both monotonic); the next
    of its number follows after ``gap`` seconds.
    """

    attempt: Attempt
    channel: Channel = field(repr=False)
    request: bytes = field(repr=False)
    at: float
    start: float
    gap: float
    is_of_broadcast: bool
    files: tuple[SentFile, ...] = ()


class Claims:
    """The claims of one process."""

    def __init__(self, *, chance: Random) -> None:
        self.numbers = ReadyNumbers()
        self._chance = chance
        self._began = self._cycle = 0.0
        # Files that the platform has to be given before messages can be sent.
        self.missing: list[FileJob] = []

    def claim(
        self, places: int, busy: Mapping[UUID, int], *, most: int, now: datetime
    ) -> list[Claimed]:
        """Claim messages for up to ``places`` free places out of ``most``; ``busy`` is how many
        each number has taken.

        Raises:
            redis.exceptions.RedisError: the broker is away; nothing is claimed.
            django.db.OperationalError, django.db.InterfaceError: the database is away.
        """
        ahead = self._ahead()
        ready = self.numbers.of(waiting(places, now=now), now=now)
        room = _room(ready, places, busy, most)
        rates = {number.workspace_id: number.rate for number in ready if room[number.workspace_id]}
        free = pacing.slots(
            {one: (places, rate) for one, rate in rates.items()}, taking=False, ahead=ahead
        )
        wanted: dict[UUID, int] = {}
        for one, slots in free.items():  # in the order of turns
            if count := min(slots.count, room[one], places - sum(wanted.values())):
                wanted[one] = count
        self.missing = []
        if not wanted:
            return []
        began = time.monotonic()
        with transaction.atomic():
            by_id = {number.workspace_id: number for number in ready}
            rows = due(((by_id[one].tenant_id, one, n) for one, n in wanted.items()), now=now)
            this = _Round(by_id, now, self._chance, began, ahead)
            claimed = this.take(rows)
        self.missing = [
            FileJob(key, by_id[key.workspace_id].channel, is_of_broadcast)
            for key, is_of_broadcast in sorted(this.missing.items(), key=str)
        ]
        return claimed

    def _ahead(self) -> float:
        """Return how far ahead to ask for slots, in seconds: beyond the next claim, if that comes
        as late as the latest ones did.
        """
        passed, self._began = time.monotonic() - self._began, time.monotonic()
        if passed < pacing.FURTHEST_AHEAD_SECONDS:  # more is a break between two turns
            self._cycle = max(passed, self._cycle * FADING)
        return min(pacing.FURTHEST_AHEAD_SECONDS, max(pacing.AHEAD_SECONDS, 1.5 * self._cycle))


def _room(
    ready: Sequence[ReadyNumber], places: int, busy: Mapping[UUID, int], most: int
) -> dict[UUID, int]:
    """Share the places: equally between tenants, and between the numbers of each."""
    per_tenant = Counter(number.tenant_id for number in ready)
    largest = max(1, int(most * LARGEST_SHARE))
    return {
        number.workspace_id: max(
            0,
            min(
                max(1, places // (len(per_tenant) * per_tenant[number.tenant_id])),
                largest - busy.get(number.workspace_id, 0),
            ),
        )
        for number in ready
    }


@dataclass(slots=True)
class _Round:
    """One claim: what becomes of each row that was found due and locked."""

    numbers: Mapping[UUID, ReadyNumber]
    now: datetime
    chance: Random
    began: float
    ahead: float
    failed: list[tuple[Due, Failed]] = field(default_factory=list)
    deferred: list[tuple[Due, Deferral]] = field(default_factory=list)
    requests: dict[UUID, bytes] = field(default_factory=dict)
    # Of messages that count against the limit of a portfolio: its tenant, its id, the contact.
    counted: dict[UUID, tuple[UUID, str, UUID]] = field(default_factory=dict)
    files: dict[UUID, tuple[SentFile, ...]] = field(default_factory=dict)
    # And whether they are for broadcasts only.
    missing: dict[FileKey, bool] = field(default_factory=dict)

    def take(self, rows: Sequence[Due]) -> list[Claimed]:
        """Decide, write it down, and return what is to be sent."""
        ready = self._within_limits(self._with_files(self._fit(rows)))
        slots = self._slots(ready)
        ready = [row for row in ready if row.id in slots]
        ready = self._at_their_pace(ready)
        if counted := {self.counted[row.id] for row in ready if row.id in self.counted}:
            portfolios.enter(counted, now=self.now)
        reserve(ready, seconds=RESERVED_SECONDS, now=self.now)
        if self.deferred:
            defer(self.deferred)
        if self.failed:
            given_up = {(row.tenant_id, row.id): why.facts() for row, why in self.failed}
            transitions.fail(given_up, now=self.now)
        return [self._claimed(row, *slots[row.id]) for row in ready]

    def _fit(self, rows: Sequence[Due]) -> list[Due]:
        """Return what may be sent; a message that nobody can even look at is given up alone."""
        fit: list[Due] = []
        broken: list[tuple[Due, Exception]] = []
        for row in rows:
            try:
                fit += [row] if self._is_fit(row) else []
            except DatabaseError:
                raise
            except Exception as error:
                broken.append((row, error))
        SENDS_BRAKE.judge(broken, step="examine", passed=len(broken) < len(rows))
        for row, bug in broken:
            extra = {"message_id": row.id}
            logger.error("whatsapp message cannot be prepared", exc_info=bug, extra=extra)
            self.failed.append((row, Failed("INTERNAL", f"It failed: {type(bug).__name__}.")))
        return fit

    def _is_fit(self, row: Due) -> bool:
        verdict = examine(row, now=self.now, chance=self.chance) or request_of(row)
        if isinstance(verdict, Failed):
            self.failed.append((row, verdict))
        elif isinstance(verdict, Deferral):
            self.deferred.append((row, verdict))
        else:
            self.requests[row.id] = verdict
        return row.id in self.requests

    def _with_files(self, rows: Sequence[Due]) -> list[Due]:
        """Return what names no file of ours, or files that the platform has; it then names theirs.
        The others wait until they are given to the platform.
        """
        marked = [row for row in rows if files.MARK in self.requests[row.id]]
        named = {row.id: ids for row in marked if (ids := files.named_in(self.requests[row.id]))}
        if not named:
            return list(rows)
        wanted = {row: self._keys(row, named[row.id]) for row in rows if row.id in named}
        known = files.look_up({key for keys in wanted.values() for key in keys})
        late = {row.id for row, keys in wanted.items() if not self._has_files(row, keys, known)}
        return [row for row in rows if row.id not in late]

    def _keys(self, row: Due, ids: Sequence[UUID]) -> list[FileKey]:
        return [FileKey(row.tenant_id, one, row.workspace_id) for one in ids]

    def _has_files(
        self, row: Due, keys: Sequence[FileKey], known: Mapping[FileKey, Handle]
    ) -> bool:
        found: list[SentFile] = []
        wait: Deferral | None = None
        for key in keys:
            verdict = files.verdict(known[key], now=self.now)
            if isinstance(verdict, Failed):
                self.failed.append((row, verdict))
                return False
            if isinstance(verdict, SentFile):
                found.append(verdict)
                continue
            if verdict is None:
                # A file of a single message is not only a broadcast's.
                self.missing[key] = self.missing.get(key, True) and row.is_of_broadcast
            later = Deferral(self.now + files.WAIT, files.waiting_for(key.upload_id))
            wait = wait or verdict or later
        if wait is not None:
            self.deferred.append((row, wait))
            return False
        self.files[row.id] = tuple(found)
        self.requests[row.id] = files.with_ids(self.requests[row.id], found)
        return True

    def _within_limits(self, rows: Sequence[Due]) -> list[Due]:
        """Return what the limits of portfolios leave room for; windows that are open need none."""
        bound: dict[tuple[UUID, str], list[Due]] = defaultdict(list)
        for row in rows:
            number, heard = self.numbers[row.workspace_id], row.last_inbound_at
            is_open = heard is not None and heard > self.now - WINDOW
            if (
                row.contact_id
                and number.limit is not None
                and row.type == "template"
                and not is_open
            ):
                bound[row.tenant_id, number.portfolio].append(row)
                self.counted[row.id] = (row.tenant_id, number.portfolio, row.contact_id)
        over: set[UUID] = set()
        for (tenant_id, portfolio), group in sorted(bound.items(), key=str):
            room = portfolios.room(
                tenant_id=tenant_id,
                portfolio=portfolio,
                limit=min(self.numbers[row.workspace_id].limit or 0 for row in group),
                now=self.now,
                contacts=[row.contact_id for row in group if row.contact_id],
            )
            for row in group:
                if row.contact_id not in room.allowed:
                    over.add(row.id)
                    pause = FULL_PAUSE * self.chance.uniform(1, 2)
                    until = max(room.free_at, self.now + pause)
                    reason = "The messaging limit of the business portfolio is reached."
                    self.deferred.append((row, Deferral(until, reason)))
        return [row for row in rows if row.id not in over]

    def _slots(self, rows: Sequence[Due]) -> dict[UUID, tuple[Reserved, int]]:
        """Reserve a slot for each row, as far as there are any; the others stay due."""
        by_number: dict[UUID, list[UUID]] = defaultdict(list)
        for row in rows:
            by_number[row.workspace_id].append(row.id)
        taken = pacing.slots(
            {one: (len(ids), self.numbers[one].rate) for one, ids in by_number.items()},
            taking=True,
            ahead=self.ahead,
        )
        return {
            message_id: (taken[one], position)
            for one, ids in by_number.items()
            for position, message_id in enumerate(ids[: taken[one].count])
        }

    def _at_their_pace(self, rows: Sequence[Due]) -> list[Due]:
        """Charge each person's bucket; what is too fast waits, one after the other."""
        people = [row for row in rows if row.contact_id]
        waits = pacing.take_pairs([(r.workspace_id, r.contact_id) for r in people if r.contact_id])
        for row, wait in zip(people, waits, strict=True):
            if wait > 0:
                until = self.now + timedelta(seconds=wait)
                reason = (
                    "Meta's pair rate: 45 messages to a person at once, then one in six seconds."
                )
                self.deferred.append((row, Deferral(until, reason)))
        late = {row.id for row, _ in self.deferred}
        return [row for row in rows if row.id not in late]

    def _claimed(self, row: Due, slots: Reserved, position: int) -> Claimed:
        attempt = Attempt(
            row.id,
            row.tenant_id,
            row.workspace_id,
            row.contact_id,
            row.template_id,
            row.attempts + 1,
            row.expires_at,
        )
        start = time.monotonic() + slots.wait + position * slots.gap
        return Claimed(
            attempt,
            self.numbers[row.workspace_id].channel,
            self.requests[row.id],
            at=self.began,
            start=start,
            gap=slots.gap,
            is_of_broadcast=row.is_of_broadcast,
            files=self.files.get(row.id, ()),
        )
