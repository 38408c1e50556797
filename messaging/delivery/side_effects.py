"""What an answer means for others than its own message: a circuit opens, a number slows down, a
person or a template is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import transaction
from redis.exceptions import RedisError

from messaging import optouts
from messaging.attempts import WIDE, Attempt, Transition, pair_wait
from messaging.delivery import files, pacing, pauses
from messaging.delivery.pauses import Pause
from messaging.delivery.queues import BROADCASTS
from messaging.events import Stop
from messaging.models import OptOutSource
from messaging.optouts import Consent
from messaging.receipts import Report
from messaging.statuses import OPTED_OUT
from templates_wa import accounts
from workspaces.channel_errors import ChannelError, Reach, Rejected, Throttled

logger = logging.getLogger("sigma.whatsapp.sending")

# Parameters that do not fit, and no such template: it was changed, or taken away. 132018 is what
# newer versions of the API may say for the others.
OUTDATED = frozenset({132000, 132001, 132012, 132018})
# A limit of the whole account or app: everything of it waits, a minute where nothing is said.
ACCOUNT_WAIT, LONGEST_WAIT = 60.0, 3600.0
PROXY_WAIT = timedelta(minutes=1)

Answer = tuple[Attempt, ChannelError]


def follow(
    steps: Iterable[tuple[Attempt, Transition]], stops: Iterable[Consent], *, now: datetime
) -> None:
    """Do what answers ask for beyond their messages, in the transaction that records them; what
    concerns the buckets is done once that is committed. ``stops`` are what their receipts say of
    their people.
    """
    answers = [(attempt, step.error) for attempt, step in steps if step.error is not None]
    pauses.pause(_pauses(answers, now), now=now)
    optouts.record([*stops, *_stops(answers, now)])
    stale = {a.template_id for a, e in answers if a.template_id and _doubts_template(e)}
    if stale:
        accounts.mark_stale(stale, now=now)
    if any(a.template_id and isinstance(e, Rejected) for a, e in answers):
        # Of a broadcast it may be a sign to stop: better now than a second's messages later.
        transaction.on_commit(BROADCASTS.notify, robust=True)
    throttled = [(a, e) for a, e in answers if isinstance(e, Throttled)]
    if throttled:
        transaction.on_commit(partial(_slow_down, throttled), robust=True)


def follow_reports(reports: Iterable[Report], *, now: datetime) -> None:
    """Stop sending for what the platform says only after it took messages: an account that is not
    paid, say. What was sent before somebody ended such a pause says nothing of what holds now.
    """
    latest: dict[tuple[UUID, UUID, Stop], datetime] = {}
    for one in reports:
        if one.stop.reach in WIDE:
            key = (one.tenant_id, one.workspace_id, one.stop)
            latest[key] = max(latest.get(key, one.taken_at), one.taken_at)
    wanted = [
        (Pause(tenant_id, number, stop.code, stop.reason), taken_at)
        for (tenant_id, workspace_id, stop), taken_at in latest.items()
        for number in pauses.numbers_within(stop.reach, workspace_id)
    ]
    pauses.pause((p for p, taken_at in wanted if not pauses.is_ended_since(p, taken_at)), now=now)


def follow_lost_files(messages: Iterable[tuple[UUID, UUID]], *, now: datetime) -> None:
    """Give files anew with the next message that names them, of messages (tenant, id) that the
    platform failed for their files. These are not sent again: what was asked of the platform is not
    kept once it took it, and a failure for a file is rarely one of the upload.
    """
    files.forget_of(messages, now=now)


def _pauses(answers: Sequence[Answer], now: datetime) -> Iterator[Pause]:
    for attempt, error in answers:
        if isinstance(error, Rejected) and error.stops and error.reach in WIDE:
            until = now + PROXY_WAIT if _is_of_a_proxy(error) else None
            for number in pauses.numbers_within(error.reach, attempt.workspace_id):
                yield Pause(attempt.tenant_id, number, error.code, error.message, until)
        elif isinstance(error, Throttled) and error.reach in (Reach.ACCOUNT, Reach.TENANT):
            wait = min(LONGEST_WAIT, error.retry_after or ACCOUNT_WAIT)
            for number in pauses.numbers_within(error.reach, attempt.workspace_id):
                until = now + timedelta(seconds=wait)
                yield Pause(attempt.tenant_id, number, error.code, error.message, until)


def _is_of_a_proxy(error: Rejected) -> bool:
    """Whether the platform itself said nothing: what stands between may be mended any moment."""
    return error.code == pauses.NOT_CONFIGURED and error.reach == Reach.NUMBER


def _doubts_template(error: ChannelError) -> bool:
    """Whether our copy of a template is not what the platform has."""
    return error.reach == Reach.TEMPLATE and (
        error.code in OUTDATED or (isinstance(error, Rejected) and error.stops)
    )


def _stops(answers: Iterable[Answer], now: datetime) -> Iterator[Consent]:
    for attempt, error in answers:
        if error.code == OPTED_OUT and attempt.contact_id:
            source = OptOutSource.PLATFORM
            yield Consent(attempt.tenant_id, attempt.contact_id, source, now, is_given=False)


def _slow_down(throttled: Iterable[tuple[Attempt, Throttled]]) -> None:
    try:
        for attempt, error in throttled:
            if error.reach == Reach.RECIPIENT and attempt.contact_id:
                wait = error.retry_after or pair_wait(attempt.number)
                pacing.hold_pair((attempt.workspace_id, attempt.contact_id), wait)
            elif error.reach != Reach.RECIPIENT:
                pacing.slow_down(attempt.workspace_id)
    except RedisError as error:
        logger.warning("whatsapp pace not slowed", extra={"error": type(error).__name__})
