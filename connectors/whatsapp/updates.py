"""What becomes of the updates of opened callbacks: each is parsed, asked whose it is, stored and
counted, or set aside.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec
from django.db import transaction
from msgspec.structs import replace

from connectors.models import DeadKind
from connectors.whatsapp import sharing
from connectors.whatsapp.numbers import Numbers
from connectors.whatsapp.outcomes import Callback, Failure, Outcome
from connectors.whatsapp.wire.parsing import NotAnEnvelope, Update, parse
from lib.brake import Brake
from messaging import inbound, number_sync
from messaging.events import (
    AddressBookName,
    IdentityChange,
    MarketingPreference,
    MessageEvent,
    StatusUpdate,
    Unhandled,
)
from messaging.identities import MustGoAlone
from messaging.incoming import Incoming
from templates_wa import inbound as templates
from templates_wa.events import TemplateEvent

logger = logging.getLogger("sigma.whatsapp.processing")

MINE = (MessageEvent, StatusUpdate, IdentityChange, MarketingPreference, AddressBookName)


class Item(msgspec.Struct, frozen=True):
    """One update that belongs to the tenant and can be stored."""

    callback: Callback
    update: Update


def process(callbacks: Sequence[Callback], outcome: Outcome, brake: Brake) -> None:
    """Process opened callbacks inside the caller's transaction; everything they hold is in
    ``outcome``.

    Raises:
        lib.brake.Stopped: callbacks among these fail through no fault of their own.
    """
    parsed = _parse_all(callbacks, outcome, brake)
    shared = [entry for entry in parsed if sharing.is_shared(entry[0])]
    sharing.hand_out(shared, outcome)
    own = [entry for entry in parsed if not sharing.is_shared(entry[0])]
    items = [item for callback, updates in own for item in _readable(callback, updates, outcome)]
    numbers = Numbers.of((item.callback.tenant_id, item.update) for item in items)
    mine = [item for item in items if _belongs(item, numbers, outcome)]
    _store(mine, numbers, outcome, brake)
    outcome.gather()


def _parse_all(
    callbacks: Sequence[Callback], outcome: Outcome, brake: Brake
) -> list[tuple[Callback, list[Update]]]:
    parsed: list[tuple[Callback, list[Update]]] = []
    failed: list[tuple[Callback, Exception]] = []
    for callback in callbacks:
        try:
            updates = _in_their_places(
                parse(callback.body, callback.received_at), callback.positions
            )
        except NotAnEnvelope as error:
            _unreadable(callback, f"Not a callback: {error}", outcome)
        except Exception as error:  # a bug of ours must stop neither this batch nor the next
            failed.append((callback, error))
        else:
            outcome.tallies[callback.tenant_id].updates += len(updates)
            parsed.append((callback, updates))
    brake.judge(failed, step="parse", passed=bool(parsed))
    for callback, bug in failed:
        extra = {"delivery": callback.delivery_id}
        logger.error("whatsapp callback not parsed", exc_info=bug, extra=extra)
        _unreadable(callback, f"Parsing failed: {type(bug).__name__}", outcome)
    return parsed


def _unreadable(callback: Callback, reason: str, outcome: Outcome) -> None:
    outcome.tallies[callback.tenant_id].updates += 1
    outcome.fail(Failure(callback, DeadKind.DEAD, reason, callback.body))


def _in_their_places(updates: list[Update], positions: Sequence[int]) -> list[Update]:
    """Return isolated updates with their positions in the callback that they were cut out of."""
    if len(positions) != len(updates):
        return updates
    pairs = zip(updates, positions, strict=True)
    return [replace(update, position=position) for update, position in pairs]


def _readable(callback: Callback, updates: list[Update], outcome: Outcome) -> Iterable[Item]:
    for update in updates:
        if update.problem is None:
            yield Item(callback, update)
        else:
            outcome.set_aside(callback, update, DeadKind.DEAD, update.problem)


def _belongs(item: Item, numbers: Numbers, outcome: Outcome) -> bool:
    reason = numbers.refusal(item.callback.tenant_id, item.update)
    if reason is None:
        return True
    outcome.set_aside(item.callback, item.update, DeadKind.QUARANTINE, reason)
    return False


def _store(items: Sequence[Item], numbers: Numbers, outcome: Outcome, brake: Brake) -> None:
    """Store all at once; what the database refuses for its own sake is set aside alone."""

    def attempt(part: Sequence[Item], alone: frozenset[UUID] = frozenset()) -> None:
        try:
            with transaction.atomic():
                duplicates = _store_together(part, numbers, alone)
        except MustGoAlone as need:
            attempt(part, alone | need.tenant_ids)
        else:
            _count(part, duplicates, outcome)

    for item, error in brake.sift(items, attempt, step="store", kind=_kind) if items else ():
        reason = f"Storing failed: {type(error).__name__}"
        outcome.set_aside(item.callback, item.update, DeadKind.DEAD, reason)


def _kind(item: Item) -> type | None:
    """Return which of the other updates are stored by the same statements."""
    return type(item.update.events[0]) if item.update.events else None


def _store_together(items: Sequence[Item], numbers: Numbers, alone: frozenset[UUID]) -> set[int]:
    """Store the events of all items; return the positions of items that held nothing new."""
    incoming, owners = [], []
    changes: list[templates.Reported] = []
    accounts: set[tuple[UUID, str]] = set()
    for position, item in enumerate(items):
        tenant_id, callback = item.callback.tenant_id, item.callback
        for event in item.update.events:
            if isinstance(event, MINE):
                workspace_id = numbers.workspace(tenant_id, event.phone_number_id)
                incoming.append(
                    Incoming(
                        tenant_id, workspace_id, callback.delivery_id, callback.received_at, event,
                        item.update.position,
                    )
                )  # fmt: skip
                owners.append(position)
            elif isinstance(event, TemplateEvent):
                changes.append(templates.Reported(tenant_id, event))
            elif isinstance(event, Unhandled) and event.field in number_sync.TELLING:
                accounts.add((tenant_id, item.update.waba_id))
    stored = inbound.store(incoming, alone=alone)
    templates.store(changes)
    number_sync.want_accounts(accounts)
    numbers.learn()
    fresh = {owners[i] for i in range(len(incoming)) if i not in stored.duplicates}
    return set(owners) - fresh


def _count(items: Sequence[Item], duplicates: set[int], outcome: Outcome) -> None:
    beside = set()
    for position, item in enumerate(items):
        tally = outcome.tallies[item.callback.tenant_id]
        tally.processed += 1
        tally.duplicates += position in duplicates
        path = item.update.path
        for event in item.update.events:
            if not isinstance(event, Unhandled):
                continue
            if event.is_beside:  # each update of its change says so
                said = item.callback.delivery_id, path.entry, path.change, event
                if said in beside:
                    continue
                beside.add(said)
            tally.unhandled[event.field[:64], event.kind[:64]] += 1
