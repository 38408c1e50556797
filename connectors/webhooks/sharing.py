"""Callbacks of an app that several tenants share: filed under each tenant, then the original is
removed.

They arrive sealed under the installation's key. Each tenant's updates are cut out, sealed under its
own key and owed anew, so that one tenant's Raw never holds another's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection

from connectors.cloud_api.parsing import Update
from connectors.models import DeadKind, WebhookDelivery, WebhookPending
from connectors.webhooks.outcomes import Callback, Failure, Outcome
from connectors.webhooks.raw import BODY
from workspaces import keys
from workspaces.envelope import associated_data
from workspaces.models import INSTALLATION_ID, TenantStatus, Workspace

INSTALLATION = UUID(INSTALLATION_ID)
NOBODY = "No tenant has this phone number or WhatsApp Business Account."
SEVERAL = "Several tenants claim this phone number or WhatsApp Business Account."

Owners = dict[str, set[UUID]]


def is_shared(callback: Callback) -> bool:
    """Return whether a callback came to ``/webhooks/whatsapp``, without a tenant."""
    return callback.tenant_id == INSTALLATION


def hand_out(entries: Sequence[tuple[Callback, list[Update]]], outcome: Outcome) -> None:
    """File every update under the tenant it belongs to; set aside what belongs to nobody."""
    if not entries:
        return
    numbers, wabas = _owners([update for _, updates in entries for update in updates])
    for callback, updates in entries:
        shares: dict[UUID, list[Update]] = {}
        for update in updates:
            key = update.phone_number_id
            owners = numbers.get(key, set()) if key else wabas.get(update.waba_id, set())
            if len(owners) == 1:
                shares.setdefault(next(iter(owners)), []).append(update)
            else:
                outcome.fail(_homeless(callback, update, SEVERAL if owners else NOBODY))
        for tenant_id, share in sorted(shares.items()):
            body = callback.isolate([update.path for update in share])
            _file(tenant_id, callback.received_at, body)
            outcome.tallies[INSTALLATION].processed += len(share)
        removed, _ = WebhookDelivery.objects.filter(
            id=callback.delivery_id, received_at=callback.received_at, tenant_id=INSTALLATION
        ).delete()
        outcome.tallies[INSTALLATION].purged_callbacks += removed


def _owners(updates: Sequence[Update]) -> tuple[Owners, Owners]:
    rows = Workspace.objects.filter(is_active=True).exclude(tenant__status=TenantStatus.ERASING)
    numbers: Owners = {}
    for number, tenant_id in rows.filter(
        external_id__in={update.phone_number_id for update in updates if update.phone_number_id}
    ).values_list("external_id", "tenant_id"):
        numbers.setdefault(number, set()).add(tenant_id)
    wabas: Owners = {}
    for waba_id, tenant_id in rows.filter(
        waba_id__in={update.waba_id for update in updates if update.waba_id}
    ).values_list("waba_id", "tenant_id"):
        wabas.setdefault(waba_id, set()).add(tenant_id)
    return numbers, wabas


def _homeless(callback: Callback, update: Update, reason: str) -> Failure:
    return Failure(
        callback=callback,
        kind=DeadKind.QUARANTINE,
        reason=reason,
        body=callback.isolate([update.path]),
        field=update.field[:64],
        phone_number_id=(update.phone_number_id or "")[:64],
    )


def _file(tenant_id: UUID, received_at: datetime, body: bytes) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('webhook_delivery_blocks')")
        (delivery_id,) = cursor.fetchone()
    sealed = keys.day_cipher(tenant_id, received_at.date()).seal(
        body, associated_data(tenant_id, BODY, delivery_id)
    )
    WebhookDelivery.objects.create(
        id=delivery_id, received_at=received_at, tenant_id=tenant_id, size=len(body),
        digest=b"", body=sealed,
    )  # fmt: skip
    WebhookPending.objects.create(
        delivery_id=delivery_id, received_at=received_at, tenant_id=tenant_id
    )
