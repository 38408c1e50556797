"""Every tenant's data keys: made, unwrapped, cached for seconds, destroyed.

Deleting a wrapped key is erasure: what it sealed is unreadable in every copy that was made without
the key tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from uuid import UUID

from django.db import transaction

from lib.envelope import CannotOpen, Cipher, KeyDestroyed, key_id_of
from lib.ttl import TtlCache
from workspaces import daykeys, master
from workspaces.daykeys import Pair
from workspaces.models import KeyPurpose, RawKey, Tenant, TenantKey

# How long a process may go on using a key after somebody destroyed it.
CACHE_SECONDS = 30.0

_tenant_keys: TtlCache[tuple[UUID, str], tuple[int, bytes]] = TtlCache(
    seconds=CACHE_SECONDS, size=10_000
)
_field_ciphers: TtlCache[UUID, Cipher] = TtlCache(seconds=CACHE_SECONDS, size=10_000)
_day_ciphers: TtlCache[Pair, Cipher] = TtlCache(seconds=CACHE_SECONDS, size=20_000)
_raw_ciphers: TtlCache[int, Cipher] = TtlCache(seconds=CACHE_SECONDS, size=20_000)


class TenantHasNoKeys(Exception):
    """The tenant does not exist or was erased."""


def create_tenant_keys(tenant: Tenant) -> None:
    """Make the salt and the field key of a new tenant."""
    for purpose in KeyPurpose:
        wrapped = master.wrap(master.new_key(), tenant_place(tenant.id, purpose))
        TenantKey.objects.create(tenant=tenant, purpose=purpose, wrapped=wrapped)


def salt(tenant_id: UUID) -> bytes:
    """Return the 32 bytes under which the tenant's identities are digested.

    Raises:
        TenantHasNoKeys: unknown or erased tenant.
    """
    return _tenant_key(tenant_id, KeyPurpose.SALT)[1]


def field_cipher(tenant_id: UUID) -> Cipher:
    """Return the cipher of the tenant's values that belong to no day.

    Raises:
        TenantHasNoKeys: unknown or erased tenant.
    """
    return _field_ciphers.get_or_load(
        tenant_id, lambda: Cipher(*_tenant_key(tenant_id, KeyPurpose.FIELD))
    )


def day_cipher(tenant_id: UUID, day: date) -> Cipher:
    """Return the cipher of a tenant's Raw of one UTC day, making its key on first use.

    Raises:
        TenantHasNoKeys: unknown tenant, or one that is being erased.
    """
    return _day_ciphers.get_or_load((tenant_id, day), lambda: _day_cipher(tenant_id, day))


def day_ciphers(pairs: Sequence[Pair]) -> tuple[dict[Pair, Cipher], dict[Pair, Exception]]:
    """Return the day ciphers of many tenants at once, as they stand in the database now, and why
    there is none for the others. One tenant's trouble is not another's, and nobody is waited for.
    """
    ciphers: dict[Pair, Cipher] = {}
    rows = daykeys.find_or_make_many(pairs)
    troubles: dict[Pair, Exception] = {
        pair: TenantHasNoKeys(f"Tenant {pair[0]} is unknown, being erased, or locked just now.")
        for pair in pairs
        if pair not in rows
    }
    for pair, row in rows.items():
        try:
            ciphers[pair] = Cipher(row.pk, daykeys.unwrapped(row))
        except (master.UnknownMasterKey, ValueError, IndexError) as error:  # or a row in ruins
            troubles[pair] = error
    return ciphers, troubles


def cipher_of(sealed: bytes) -> Cipher:
    """Return the cipher that opens a Raw value, found by the key id it carries.

    Raises:
        KeyDestroyed: its key is gone.
        CannotOpen: not a sealed value of ours.
    """
    key_id = key_id_of(sealed)
    cached = _raw_ciphers.get(key_id)
    if cached is not None:
        return cached
    row = RawKey.objects.filter(pk=key_id).first()
    if row is None:
        raise KeyDestroyed("The key of this value was destroyed; it is gone for good.")
    return _raw_cipher(row)


def preload(sealed: Iterable[bytes]) -> set[int]:
    """Load the keys of many Raw values with one query; return the ids of those that still exist."""
    wanted = set()
    for value in sealed:
        try:
            wanted.add(key_id_of(value))
        except CannotOpen:
            continue  # whoever opens this one hears about it
    missing = [key_id for key_id in wanted if _raw_ciphers.get(key_id) is None]
    rows = list(RawKey.objects.filter(pk__in=missing)) if missing else []
    for row in rows:
        _raw_cipher(row)
    return wanted.difference(missing).union(row.pk for row in rows)


def destroy_day_keys(*, tenant_id: UUID, before: date, keep: Collection[date] = ()) -> int:
    """Destroy the tenant's keys of all days before ``before`` but those in ``keep``; return how
    many there were.
    """
    old = RawKey.objects.filter(tenant_id=tenant_id, day__lt=before).exclude(day__in=keep)
    count, _ = old.delete()
    forget()
    return count


def destroy_all(tenant_id: UUID) -> dict[str, int]:
    """Destroy every key of a tenant in one transaction; return how many of each kind."""
    with transaction.atomic():
        raw, _ = RawKey.objects.filter(tenant_id=tenant_id).delete()
        own, _ = TenantKey.objects.filter(tenant_id=tenant_id).delete()
    forget()
    return {"raw_keys": raw, "tenant_keys": own}


def forget() -> None:
    """Drop every key this process holds in memory."""
    for cache in (_tenant_keys, _field_ciphers, _day_ciphers, _raw_ciphers):
        cache.clear()


def _tenant_key(tenant_id: UUID, purpose: KeyPurpose) -> tuple[int, bytes]:
    return _tenant_keys.get_or_load(
        (tenant_id, purpose), lambda: _load_tenant_key(tenant_id, purpose)
    )


def _load_tenant_key(tenant_id: UUID, purpose: KeyPurpose) -> tuple[int, bytes]:
    rows = TenantKey.objects.filter(tenant_id=tenant_id, purpose=purpose)
    row = rows.order_by("-version").first()
    if row is None:
        raise TenantHasNoKeys(f"Tenant {tenant_id} does not exist or was erased.")
    return row.pk, master.unwrap(bytes(row.wrapped), tenant_place(tenant_id, purpose))


def _day_cipher(tenant_id: UUID, day: date) -> Cipher:
    row = daykeys.find_or_make(tenant_id, day)
    if row is None:
        raise TenantHasNoKeys(f"Tenant {tenant_id} does not exist or was erased.")
    return _raw_cipher(row)


def _raw_cipher(row: RawKey) -> Cipher:
    return _raw_ciphers.put(row.pk, Cipher(row.pk, daykeys.unwrapped(row)))


def tenant_place(tenant_id: UUID, purpose: str) -> bytes:
    """Return what binds a wrapped tenant key to its row."""
    return f"{tenant_id}|tenant_keys|{purpose}".encode()
