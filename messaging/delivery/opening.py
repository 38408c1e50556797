"""Open what is owed: the request as it was sealed when it was accepted."""

from __future__ import annotations

from lib.envelope import CannotOpen, associated_data
from messaging.delivery.due import Due, Failed
from workspaces import keys

PLACE = "messages.sealed_request"


def request_of(row: Due) -> bytes | Failed:
    """Return the request of a due message, or why nobody can read it any more."""
    place = associated_data(row.tenant_id, PLACE, row.id)
    try:
        cipher = keys.field_cipher(row.tenant_id)
        return cipher.open(row.sealed_request or b"", place)
    except (CannotOpen, keys.TenantHasNoKeys) as error:
        return Failed("UNREADABLE", str(error))
