"""Keyed digests of identities: searchable by whoever holds the tenant's salt, useless to anybody
else.

Plain SHA-256 of a phone number falls to brute force in minutes; an HMAC under 32 random bytes does
not.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from lib.ids import EPOCH, MICROSECOND
from lib.numbering import spellings
from workspaces import keys


class Digester:
    """Digest the identities of one tenant as 64 hexadecimal digits (HMAC-SHA256)."""

    __slots__ = ("_keyed",)

    def __init__(self, salt: bytes) -> None:
        self._keyed = HMAC(salt, SHA256())

    def phone(self, digits: str) -> str:
        """Digest the digits of an E.164 phone number (no ``+``)."""
        return self._digest(digits)

    def phones(self, digits: str) -> tuple[str, ...]:
        """Digest every way to write a phone number, first as it is given."""
        return tuple(self._digest(each) for each in spellings(digits))

    def user(self, user_id: str) -> str:
        """Digest a business-scoped user id (BSUID)."""
        return self._digest("user:" + user_id)

    def parent(self, parent_user_id: str) -> str:
        """Digest a parent BSUID."""
        return self._digest("parent:" + parent_user_id)

    def wamid(self, wamid: str) -> str:
        """Digest a message id: base64 inside a wamid spells the phone number."""
        return self._digest("wamid:" + wamid)

    def inner_key(self, workspace_id: UUID, key: str) -> int:
        """Digest the key inside a message id, for one number: 64 bits, as PostgreSQL's bigint."""
        place = b"inner:" + workspace_id.bytes
        return int.from_bytes(self._bytes(place + _encoded(key))[:8], signed=True)

    def group(self, group_id: str) -> str:
        """Digest a group id; old ones begin with the founder's number."""
        return self._digest("group:" + group_id)

    def delivery(self, delivery_id: int, received_at: datetime) -> int:
        """Return 24 bits by which deliveries of one moment sort as by their ids, but which do not
        show those: they count the deliveries of all tenants.
        """
        moment = b"delivery:%d" % ((received_at - EPOCH) // MICROSECOND)
        mask = int.from_bytes(self._bytes(moment)[:3])
        return (delivery_id & 0x7FFFFF) + (mask & 0x7FFFFF)

    def device(self, external_id: str) -> str:
        """Sign what a linked device tells: only who holds the salt can have made it."""
        return "device:" + self._digest("device:" + external_id)

    def _digest(self, value: str) -> str:
        return self._bytes(_encoded(value)).hex()

    def _bytes(self, value: bytes) -> bytes:
        digest = self._keyed.copy()  # which spares the key's own two rounds, half of the work
        digest.update(value)
        return digest.finalize()


def _encoded(value: str) -> bytes:
    return value.encode("utf-8", "replace")


def digester(tenant_id: UUID) -> Digester:
    """Return the tenant's digester.

    Raises:
        workspaces.keys.TenantHasNoKeys: unknown or erased tenant.
    """
    return Digester(keys.salt(tenant_id))
