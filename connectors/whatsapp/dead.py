"""Keep what could not be stored: sealed, with the reason, until an operator replays it or time
purges it.

A callback of which nothing could be read lies in Raw already; its row is without a body, and needs
no key.
"""

from __future__ import annotations

from collections.abc import Iterable

from connectors.models import WebhookDead, WebhookDelivery
from connectors.whatsapp import raw
from connectors.whatsapp.outcomes import Callback, Failure
from lib.envelope import CannotOpen, associated_data
from workspaces import keys

SEALED = "webhook_dead.sealed"


def bury(failures: Iterable[Failure]) -> None:
    """Store failures inside the caller's transaction."""
    WebhookDead.objects.bulk_create([_row(failure) for failure in failures])


def _row(failure: Failure) -> WebhookDead:
    callback = failure.callback
    return WebhookDead(
        tenant_id=callback.tenant_id,
        kind=failure.kind,
        reason=failure.reason,
        field=failure.field,
        phone_number_id=failure.phone_number_id,
        sealed=b"" if failure.body is None else _sealed(callback, failure.body),
        updates=failure.updates,
        positions=list(failure.positions),
        delivery_id=callback.delivery_id,
        received_at=callback.received_at,
    )


def _sealed(callback: Callback, body: bytes) -> bytes:
    cipher = keys.day_cipher(callback.tenant_id, callback.received_at.date())
    return cipher.seal(body, associated_data(callback.tenant_id, SEALED, callback.delivery_id))


def exhume(row: WebhookDead) -> Callback:
    """Return the callback that holds just the updates of a row.

    Raises:
        lib.envelope.CannotOpen: purged, altered or moved.
    """
    body = _opened(row) if row.sealed else _raw(row)
    positions = tuple(row.positions or ())
    return Callback(row.delivery_id, row.received_at, row.tenant_id, body, positions)


def _opened(row: WebhookDead) -> bytes:
    sealed = bytes(row.sealed)
    associated = associated_data(row.tenant_id, SEALED, row.delivery_id)
    return keys.cipher_of(sealed).open(sealed, associated)


def _raw(row: WebhookDead) -> bytes:
    delivery = WebhookDelivery.objects.filter(
        id=row.delivery_id, received_at=row.received_at, tenant_id=row.tenant_id
    ).first()
    if delivery is None:
        raise CannotOpen("Raw was purged before this callback was processed.")
    return raw.open_body(bytes(delivery.body), tenant_id=row.tenant_id, delivery_id=row.delivery_id)
