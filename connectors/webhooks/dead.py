"""Keep what could not be stored: sealed, with the reason, until an operator replays it or time
purges it.
"""

from __future__ import annotations

from collections.abc import Iterable

from connectors.models import WebhookDead
from connectors.webhooks.outcomes import Callback, Failure
from workspaces import keys
from workspaces.envelope import associated_data

SEALED = "webhook_dead.sealed"


def bury(failures: Iterable[Failure]) -> None:
    """Store failures inside the caller's transaction."""
    WebhookDead.objects.bulk_create([_row(failure) for failure in failures])


def _row(failure: Failure) -> WebhookDead:
    callback = failure.callback
    cipher = keys.day_cipher(callback.tenant_id, callback.received_at.date())
    associated = associated_data(callback.tenant_id, SEALED, callback.delivery_id)
    return WebhookDead(
        tenant_id=callback.tenant_id,
        kind=failure.kind,
        reason=failure.reason,
        field=failure.field,
        phone_number_id=failure.phone_number_id,
        sealed=cipher.seal(failure.body, associated),
        delivery_id=callback.delivery_id,
        received_at=callback.received_at,
    )


def exhume(row: WebhookDead) -> Callback:
    """Return the callback that holds just this update.

    Raises:
        workspaces.envelope.CannotOpen: purged, altered or moved.
    """
    sealed = bytes(row.sealed)
    associated = associated_data(row.tenant_id, SEALED, row.delivery_id)
    body = keys.cipher_of(sealed).open(sealed, associated)
    return Callback(row.delivery_id, row.received_at, row.tenant_id, body)
