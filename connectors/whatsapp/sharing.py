"""Callbacks of an app that several tenants share: filed under each tenant, then the original is
removed.

They arrive sealed under the installation's key. Each tenant's updates are cut out, sealed under its
own key and owed anew, so that one tenant's Raw never holds another's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from connectors.models import DeadKind, WebhookDelivery
from connectors.whatsapp.filing import Parcel, file
from connectors.whatsapp.outcomes import Callback, Outcome
from connectors.whatsapp.wire.parsing import Path, Update
from workspaces import ownership
from workspaces.models import INSTALLATION_ID

NOBODY = "No tenant has this phone number or WhatsApp Business Account."
UNPROVEN = (
    "Nobody who claims this phone number or WhatsApp Business Account has proven that it is "
    "theirs; an access token that reads it does."
)
SEVERAL = "Several tenants claim this phone number or WhatsApp Business Account."
# Updates that stand for more than one change.
BROAD = ("envelope", "entry", "changes")


def is_shared(callback: Callback) -> bool:
    """Return whether a callback came to ``/webhooks/whatsapp``, without a tenant."""
    return callback.tenant_id == INSTALLATION_ID


def hand_out(entries: Sequence[tuple[Callback, list[Update]]], outcome: Outcome) -> None:
    """File every update under the tenant it belongs to; set aside what belongs to nobody."""
    if not entries:
        return
    everything = [update for _, updates in entries for update in updates]
    numbers = ownership.of_numbers({u.phone_number_id for u in everything if u.phone_number_id})
    accounts = ownership.of_accounts({u.waba_id for u in everything if u.waba_id})
    parcels: list[Parcel] = []
    for callback, updates in entries:
        parts: dict[UUID, list[Update]] = {}
        for update in updates:
            key = update.phone_number_id
            owners = numbers.get(key) if key else accounts.get(update.waba_id)
            if owners and len(owners) == 1:
                parts.setdefault(next(iter(owners)), []).append(update)
            else:
                reason = SEVERAL if owners else NOBODY if owners is None else UNPROVEN
                outcome.set_aside(callback, update, DeadKind.QUARANTINE, reason)
        for tenant_id, part in sorted(parts.items()):
            whole = len(part) == len(updates)
            body = callback.body if whole else callback.isolate(_changes(part))
            parcels.append(Parcel(tenant_id, _arrived_at(callback, part), body))
            outcome.tallies[INSTALLATION_ID].processed += len(part)
    file(parcels)
    removed = _remove([callback for callback, _ in entries])
    outcome.tallies[INSTALLATION_ID].purged_callbacks += removed


def _arrived_at(callback: Callback, updates: Sequence[Update]) -> datetime:
    """Return when a callback of these updates arrived. Those that are replayed one by one keep
    their order by it: a microsecond stands for a place in the callback they were cut out of.
    """
    if not callback.positions:
        return callback.received_at
    return callback.received_at + timedelta(microseconds=updates[0].position)


def _changes(updates: Sequence[Update]) -> list[Path]:
    """Return the paths of whole changes: all updates of one have the same owner, and keys that we
    do not know are his too.
    """
    paths = (
        path if path.section in BROAD else path._replace(section="value", index=-1, sub=())
        for path in (update.path for update in updates)
    )
    return list(dict.fromkeys(paths))


def _remove(callbacks: Sequence[Callback]) -> int:
    """Remove the originals; the range of time spares PostgreSQL the other partitions."""
    moments = [callback.received_at for callback in callbacks]
    removed, _ = WebhookDelivery.objects.filter(
        id__in=[callback.delivery_id for callback in callbacks],
        received_at__range=(min(moments), max(moments)),
        tenant_id=INSTALLATION_ID,
    ).delete()
    return removed
