"""The number and the parameters of a row, sealed together under the tenant's field key."""

from __future__ import annotations

from uuid import UUID

import msgspec

from lib.envelope import CannotOpen, associated_data
from messaging.broadcasts.rows import NO_PARAMETERS
from templates_wa.parameters import TemplateParameters
from workspaces import keys

PLACE, REFERENCE_PLACE = "broadcast_recipients.sealed", "broadcast_recipients.sealed_reference"


class Addressee(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is sealed of a row; in the clear it lives in memory only."""

    phone: str = ""
    user_id: str = ""
    parameters: TemplateParameters = NO_PARAMETERS

    def __repr__(self) -> str:
        return "Addressee(…)"


_decoder = msgspec.json.Decoder(Addressee)
_encoder = msgspec.json.Encoder()


class Sealer:
    """Seals and opens the rows of one broadcast; a row moved elsewhere does not open."""

    __slots__ = ("_cipher", "_where")

    def __init__(self, tenant_id: UUID, broadcast_id: UUID) -> None:
        """Look the tenant's key up.

        Raises:
            workspaces.keys.TenantHasNoKeys: unknown or erased tenant.
        """
        self._cipher = keys.field_cipher(tenant_id)
        self._where = (tenant_id, broadcast_id)

    def seal(self, position: int, addressee: Addressee) -> bytes:
        """Return the sealed form of the row at ``position``."""
        return self._cipher.seal(_encoder.encode(addressee), self._bound_to(PLACE, position))

    def open(self, position: int, sealed: bytes) -> Addressee:
        """Return what was sealed.

        Raises:
            lib.envelope.CannotOpen: altered, moved, or another key's.
        """
        return _decoder.decode(self._cipher.open(sealed, self._bound_to(PLACE, position)))

    def seal_reference(self, position: int, reference: str) -> bytes | None:
        """Return the sealed form of a row's reference, which outlives the row's; empty: nothing."""
        place = self._bound_to(REFERENCE_PLACE, position)
        return self._cipher.seal(reference.encode(), place) if reference else None

    def open_reference(self, position: int, sealed: bytes | None) -> str:
        """Return a row's reference; empty: it has none, or it cannot be opened."""
        try:
            place = self._bound_to(REFERENCE_PLACE, position)
            return self._cipher.open(bytes(sealed), place).decode() if sealed else ""
        except CannotOpen:
            return ""

    def _bound_to(self, place: str, position: int) -> bytes:
        tenant_id, broadcast_id = self._where
        return associated_data(tenant_id, place, f"{broadcast_id}:{position}")
