"""The updates of opened callbacks: each is parsed, checked for its owner, stored and counted, or
parked.

The URL's tenant is a claim: the signature proves "Meta, for this app", so the numbers inside a
callback are checked. Callbacks of an app that several tenants share arrive sealed under the
installation's key: each tenant's updates are cut out, sealed under its own key and made pending
anew, so that one tenant's Raw never holds another's words; then the original is removed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from hmac import compare_digest
from uuid import UUID

import msgspec
from django.db import transaction
from msgspec.structs import replace

from connectors.whatsapp import raw
from connectors.whatsapp.models import DeadKind, WebhookDelivery
from connectors.whatsapp.results import BatchResult, Callback, FailedUpdates
from connectors.whatsapp.wire.decoding import NotAnEnvelope
from connectors.whatsapp.wire.parsing import parse
from connectors.whatsapp.wire.updates import LINKED_DEVICE, Path, Update
from lib import clock
from lib.brake import Brake
from messaging import inbound, number_sync
from messaging.events import (
    AddressBookName,
    IdentityChange,
    Incoming,
    MarketingPreference,
    MessageEvent,
    StatusUpdate,
    Unhandled,
)
from messaging.joining import MustGoAlone
from templates_wa import changes as templates
from templates_wa.events import TemplateEvent
from workspaces import ownership
from workspaces.identity import digester
from workspaces.models import HOSTED, INSTALLATION_ID, Proof, Workspace

logger = logging.getLogger("sigma.whatsapp.processing")
# Events that need a phone number id: they are stored under its workspace.
OF_A_NUMBER = (MessageEvent, StatusUpdate, IdentityChange, MarketingPreference, AddressBookName)
NO_OWNER = "No tenant has this phone number or WhatsApp Business Account."

UNPROVEN = (
    "Nobody who claims this phone number or WhatsApp Business Account has proven that it is "
    "theirs; an access token that reads it does."
)

SEVERAL = "Several tenants claim this phone number or WhatsApp Business Account."
# Updates that stand for more than one change.
BROAD = ("envelope", "entry", "changes")

FIELDS = (
    "id",
    "tenant_id",
    "external_id",
    "waba_id",
    "transport",
    "number_proof",
    "account_proof",
)

WABA_ID = re.compile("(?!0$)[0-9]{1,64}")


class CallbackUpdate(msgspec.Struct, frozen=True):
    """One update that could be read, and its callback."""

    callback: Callback
    update: Update


def process(callbacks: Sequence[Callback], result: BatchResult, brake: Brake) -> None:
    """Process opened callbacks inside the caller's transaction; everything they hold is in
    ``result``.

    Raises:
        lib.brake.Stopped: callbacks among these fail through no fault of their own.
    """
    parsed = _parse_all(callbacks, result, brake)
    # Those of shared apps came to ``/webhooks/whatsapp``, without a tenant.
    if shared := [entry for entry in parsed if entry[0].tenant_id == INSTALLATION_ID]:
        _file_shared(shared, result)
        parsed = [entry for entry in parsed if entry[0].tenant_id != INSTALLATION_ID]
    items, owned = [], []
    for callback, updates in parsed:
        for update in updates:
            if update.problem is None:
                items.append(CallbackUpdate(callback, update))
            else:
                result.park(callback, update, DeadKind.DEAD, update.problem)
    numbers = Numbers(items)
    for item in items:
        reason = numbers.refusal(item.callback.tenant_id, item.update)
        if reason is None:
            owned.append(item)
        else:
            result.park(item.callback, item.update, DeadKind.QUARANTINE, reason)
    _store(owned, numbers, result, brake)
    result.close()


def _parse_all(
    callbacks: Sequence[Callback], result: BatchResult, brake: Brake
) -> list[tuple[Callback, list[Update]]]:
    parsed: list[tuple[Callback, list[Update]]] = []
    failed: list[tuple[Callback, Exception]] = []
    for callback in callbacks:
        try:
            updates = parse(callback.body, callback.received_at)
            if callback.positions:
                updates = _at_their_positions(updates, callback.positions)
        except NotAnEnvelope as error:
            _unreadable(callback, f"Not a callback: {error}", result)
        except Exception as error:  # a bug of ours must stop neither this batch nor the next
            failed.append((callback, error))
        else:
            result.tallies[callback.tenant_id].updates += len(updates)
            parsed.append((callback, updates))
    brake.judge(failed, step="parse", passed=bool(parsed))
    for callback, bug in failed:
        extra = {"delivery": callback.delivery_id}
        logger.error("whatsapp callback not parsed", exc_info=bug, extra=extra)
        _unreadable(callback, f"Parsing failed: {type(bug).__name__}", result)
    return parsed


def _unreadable(callback: Callback, reason: str, result: BatchResult) -> None:
    result.tallies[callback.tenant_id].updates += 1
    result.fail(FailedUpdates(callback, DeadKind.DEAD, reason, callback.body))


def _at_their_positions(updates: list[Update], positions: Sequence[int]) -> list[Update]:
    """Return isolated updates with their positions in the callback that they were cut out of."""
    if len(positions) != len(updates):
        return updates
    pairs = zip(updates, positions, strict=True)
    return [replace(update, position=position) for update, position in pairs]


def _file_shared(entries: Sequence[tuple[Callback, list[Update]]], result: BatchResult) -> None:
    """File every update under the tenant it belongs to; park what belongs to nobody."""
    everything = [update for _, updates in entries for update in updates]
    numbers = ownership.of_numbers({u.phone_number_id for u in everything if u.phone_number_id})
    accounts = ownership.of_accounts({u.waba_id for u in everything if u.waba_id})
    bodies: list[raw.ArrivedBody] = []
    for callback, updates in entries:
        parts: dict[UUID, list[Update]] = {}
        for update in updates:
            key = update.phone_number_id
            owners = numbers.get(key) if key else accounts.get(update.waba_id)
            if owners and len(owners) == 1:
                parts.setdefault(next(iter(owners)), []).append(update)
            else:
                reason = SEVERAL if owners else NO_OWNER if owners is None else UNPROVEN
                result.park(callback, update, DeadKind.QUARANTINE, reason)
        for tenant_id, part in sorted(parts.items()):
            whole = len(part) == len(updates)
            body = callback.body if whole else callback.isolate(_changes(part))
            bodies.append(raw.ArrivedBody(tenant_id, _arrived_at(callback, part), body))
            result.tallies[INSTALLATION_ID].processed += len(part)
    raw.store(bodies)
    removed = _remove_originals([callback for callback, _ in entries])
    result.tallies[INSTALLATION_ID].purged_callbacks += removed


def _arrived_at(callback: Callback, updates: Sequence[Update]) -> datetime:
    """Return when a callback of these updates arrived. Those that are replayed one by one keep
    their order by it: a microsecond stands for a position in the callback they were cut out of.
    """
    if not callback.positions:
        return callback.received_at
    return callback.received_at + timedelta(microseconds=updates[0].position)


def _changes(updates: Sequence[Update]) -> list[Path]:
    """Return the paths of whole changes: all updates of one have the same owner, who also owns the
    keys that we do not know.
    """
    paths = (
        path if path.section in BROAD else path._replace(section="value", index=-1, sub=())
        for path in (update.path for update in updates)
    )
    return list(dict.fromkeys(paths))


def _remove_originals(callbacks: Sequence[Callback]) -> int:
    """Remove the originals; the range of time spares PostgreSQL the other partitions."""
    moments = [callback.received_at for callback in callbacks]
    removed, _ = WebhookDelivery.objects.filter(
        id__in=[callback.delivery_id for callback in callbacks],
        received_at__range=(min(moments), max(moments)),
        tenant_id=INSTALLATION_ID,
    ).delete()
    return removed


def _store(
    items: Sequence[CallbackUpdate], numbers: Numbers, result: BatchResult, brake: Brake
) -> None:
    """Store all at once; an update that the database refuses for its own sake is parked alone."""

    def attempt(part: Sequence[CallbackUpdate], alone: frozenset[UUID] = frozenset()) -> None:
        try:
            with transaction.atomic():
                duplicates = _store_together(part, numbers, alone)
        except MustGoAlone as need:
            attempt(part, alone | need.tenant_ids)
        else:
            _count(part, duplicates, result)

    for item, error in brake.sift(items, attempt, step="store", kind=_kind) if items else ():
        reason = f"Storing failed: {type(error).__name__}"
        result.park(item.callback, item.update, DeadKind.DEAD, reason)


def _kind(item: CallbackUpdate) -> type | None:
    """Return which of the other updates are stored by the same statements."""
    return type(item.update.events[0]) if item.update.events else None


def _store_together(
    items: Sequence[CallbackUpdate], numbers: Numbers, alone: frozenset[UUID]
) -> set[int]:
    """Store the events of all items; return the positions of items that held nothing new."""
    incoming, owners = [], []
    changes: list[templates.ReportedChange] = []
    accounts: set[tuple[UUID, str]] = set()
    for position, item in enumerate(items):
        tenant_id, callback = item.callback.tenant_id, item.callback
        for event in item.update.events:
            if isinstance(event, OF_A_NUMBER):
                workspace = numbers.workspaces[tenant_id, event.phone_number_id]
                at, place = callback.received_at, item.update.position
                row = Incoming(tenant_id, workspace.pk, callback.delivery_id, at, event, place)
                incoming.append(row)
                owners.append(position)
            elif isinstance(event, TemplateEvent):
                changes.append(templates.ReportedChange(tenant_id, event))
            elif isinstance(event, Unhandled) and event.field in number_sync.TELLING:
                accounts.add((tenant_id, item.update.waba_id))
    known = inbound.store(incoming, alone=alone)
    if changes:
        templates.store(changes)
    if accounts:
        number_sync.want_accounts(accounts)
    numbers.store_proofs()
    fresh = {owners[i] for i in range(len(incoming)) if i not in known}
    return set(owners) - fresh


def _count(items: Sequence[CallbackUpdate], duplicates: set[int], result: BatchResult) -> None:
    beside = set()
    for position, item in enumerate(items):
        tally = result.tallies[item.callback.tenant_id]
        tally.processed += 1
        tally.duplicates += position in duplicates
        path = item.update.path
        for event in item.update.events:
            if not isinstance(event, Unhandled):
                continue
            if event.is_beside:  # each update of its change says so
                key = item.callback.delivery_id, path.entry, path.change, event
                if key in beside:
                    continue
                beside.add(key)
            tally.kinds[event.field[:64], event.kind[:64]] += 1


class Numbers:
    """The workspaces that a batch of updates speaks of, by tenant and phone number id, and what the
    updates prove of those that are not proven yet (``proofs``: of a number, or of its account).
    """

    def __init__(self, items: Sequence[CallbackUpdate]) -> None:
        tenants = {item.callback.tenant_id for item in items}
        found = Workspace.objects.filter(tenant_id__in=tenants, is_active=True).only(*FIELDS)
        self.workspaces = {(one.tenant_id, one.external_id): one for one in found}
        self.proofs: list[tuple[Workspace, str | None, Proof]] = []
        self._accounts = {(one.tenant_id, one.waba_id) for one in found if one.waba_id}
        if unproven := {one.pk for one in found if _is_unproven(one)}:
            self._find_proofs(items, unproven)

    def refusal(self, tenant_id: UUID, update: Update) -> str | None:
        """Return why an update is not the tenant's, or ``None`` if it is."""
        if update.phone_number_id:
            workspace = self.workspaces.get((tenant_id, update.phone_number_id))
            if workspace is None:
                return "No active workspace of this tenant has this phone number id."
            if not _came_through_its_transport(workspace, update):
                return "This phone number's updates come another way."
        elif any(isinstance(event, OF_A_NUMBER) for event in update.events):
            return "The update names no phone number id."
        for event in update.events:
            if isinstance(event, TemplateEvent) and (
                (tenant_id, event.waba_id) not in self._accounts
            ):
                return "No workspace of this tenant belongs to this WhatsApp Business Account."
        return None

    def store_proofs(self) -> None:
        """Store what the updates proved (Meta names the account beside the number)."""
        now = clock.now()
        for workspace, account_id, proof in self.proofs:
            if account_id is None:
                ownership.prove_number(workspace, proof, now=now)
            else:
                ownership.prove_account(workspace, account_id, proof, now=now)
        self.proofs.clear()

    def _find_proofs(self, items: Iterable[CallbackUpdate], unproven: Collection[UUID]) -> None:
        """Find what the updates prove: number and account where a secret of the tenant's own signed
        the callback. A shared app's says which account the number has, and not whose it is.
        """
        news: dict[UUID, tuple[Workspace, str]] = {}
        for item in items:
            key = item.callback.tenant_id, item.update.phone_number_id or ""
            workspace = self.workspaces.get(key)
            if workspace is not None and workspace.pk in unproven:
                news.setdefault(workspace.pk, (workspace, item.update.waba_id))
        if not news:
            return
        signers = ownership.signers({workspace.tenant_id for workspace, _ in news.values()})
        others = ownership.proven_by_token({account_id for _, account_id in news.values()})
        for _, (workspace, account_id) in sorted(news.items()):
            own = workspace.tenant_id in signers
            proof = Proof.CALLBACK if own else Proof.TYPED
            if own and workspace.number_proof == Proof.TYPED:
                self.proofs.append((workspace, None, proof))
            taken = any(a == account_id and t != workspace.tenant_id for t, a in others)
            is_told = WABA_ID.fullmatch(account_id) and (own or not workspace.waba_id)
            if is_told and not taken and workspace.account_proof <= proof:
                workspace.waba_id = account_id
                self._accounts.add((workspace.tenant_id, account_id))
                self.proofs.append((workspace, account_id, proof))


def _is_unproven(workspace: Workspace) -> bool:
    unproven = Proof.TYPED in (workspace.number_proof, workspace.account_proof)
    return unproven and workspace.transport not in HOSTED


def _came_through_its_transport(workspace: Workspace, update: Update) -> bool:
    """Whether an update came from the linked device or, for other numbers, did not say so. Whoever
    may sign callbacks does not know what a device's envelopes are signed with.
    """
    if update.object != LINKED_DEVICE:
        return workspace.transport not in HOSTED
    if workspace.transport not in HOSTED:
        return False
    expected = digester(workspace.tenant_id).device(workspace.external_id)
    return compare_digest(update.waba_id.encode(), expected.encode())
