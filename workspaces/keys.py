"""Every tenant's data keys: made, wrapped, cached for seconds, destroyed.

A row holds a data key wrapped by a master key of the installation: ``0x01 ‖ id length ‖ id ‖ nonce
(12) ‖ AES-256-GCM``. The first configured master key wraps, all unwrap. Deleting a row is erasure:
what its key sealed is unreadable in every copy that was made without the key tables.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from functools import cache
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from psycopg.errors import LockNotAvailable

from lib.envelope import NONCE, VERSION, CannotOpen, Cipher, KeyDestroyed, key_id_of
from lib.ttl import TtlCache
from workspaces.acting import as_login_role
from workspaces.models import (
    INSTALLATION_ID,
    KeyPurpose,
    RawKey,
    SecondFactor,
    Tenant,
    TenantKey,
    TenantStatus,
)

Pair = tuple[UUID, date]
# Rows that hold a key, a second factor's secret among them.
Wrapped = TenantKey | RawKey | SecondFactor

KEY_BYTES = 32
# Rows of one statement that makes day keys ahead.
CHUNK = 500
# The lock makes an erasure that begins wait for us; whoever only makes keys does not wait for us.
CREATE = """
WITH staying AS MATERIALIZED (
    SELECT id FROM tenants WHERE id = ANY(%(tenants)s::uuid[]) AND status <> 'ERASING'
    ORDER BY id FOR SHARE {patience}
)
INSERT INTO raw_keys (tenant_id, day, wrapped)
SELECT w.tenant_id, w.day, w.wrapped
FROM unnest(%(tenants)s::uuid[], %(days)s::date[], %(wrapped)s::bytea[])
    AS w (tenant_id, day, wrapped)
WHERE w.tenant_id = %(installation)s::uuid OR w.tenant_id IN (SELECT id FROM staying)
ORDER BY w.tenant_id, w.day
ON CONFLICT (tenant_id, day) DO NOTHING
"""
CREATE_OR_WAIT = CREATE.format(patience="")
CREATE_OR_SKIP = CREATE.format(patience="SKIP LOCKED")
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


class UnknownMasterKey(CannotOpen):
    """A data key was wrapped by a master key that is not configured (SIGMA_MASTER_KEYS)."""


@cache
def _master_ciphers(keys: tuple[tuple[str, bytes], ...]) -> dict[str, AESGCM]:
    return {key_id: AESGCM(key) for key_id, key in keys}


def wrap(key: bytes, row: Wrapped) -> bytes:
    """Return ``key`` wrapped by the first master key, for a row that it is bound to."""
    key_id = settings.SIGMA_MASTER_KEYS[0][0]
    nonce = os.urandom(NONCE)
    sealed = _master_ciphers(settings.SIGMA_MASTER_KEYS)[key_id].encrypt(nonce, key, _place_of(row))
    name = key_id.encode()
    return bytes((VERSION, len(name))) + name + nonce + sealed


def unwrap(row: Wrapped) -> bytes:
    """Return the data key inside a row.

    Raises:
        UnknownMasterKey: no configured master key opens it.
    """
    wrapped = bytes(row.wrapped)
    end = 2 + wrapped[1]
    key_id = wrapped[2:end].decode()
    cipher = _master_ciphers(settings.SIGMA_MASTER_KEYS).get(key_id)
    if wrapped[0] != VERSION or cipher is None:
        raise UnknownMasterKey(f"Master key {key_id!r} is not configured (SIGMA_MASTER_KEYS).")
    try:
        return cipher.decrypt(wrapped[end : end + NONCE], wrapped[end + NONCE :], _place_of(row))
    except InvalidTag:
        raise UnknownMasterKey(f"Master key {key_id!r} is not the one used here.") from None


def _place_of(row: Wrapped) -> bytes:
    """Return what binds a wrapped key to its row."""
    if isinstance(row, TenantKey):
        return f"{row.tenant_id}|tenant_keys|{row.purpose}".encode()
    if isinstance(row, RawKey):
        return f"{row.tenant_id}|raw_keys|{row.day.isoformat()}".encode()
    return f"{row.pk}|second_factors".encode()


def rewrap() -> Iterator[int]:
    """Wrap every key under the first master key, yielding the count so far. Safe to run again; what
    the keys sealed is not touched.

    Raises:
        UnknownMasterKey: a key is wrapped by a master key that is not configured.
    """
    done = 0
    for kind in (TenantKey, RawKey, SecondFactor):
        rows: QuerySet[Any] = kind._default_manager.order_by("pk")
        for row in rows.iterator():
            # An update, never an insert: a key that is destroyed meanwhile must stay destroyed. By
            # the tenant, too: an id is one key's within a tenant.
            own = {} if isinstance(row, SecondFactor) else {"tenant_id": row.tenant_id}
            rows.filter(pk=row.pk, **own).update(wrapped=wrap(unwrap(row), row))
            yield (done := done + 1)


def create_tenant_keys(tenant: Tenant) -> None:
    """Make the salt and the field key of a new tenant."""
    for purpose in KeyPurpose:
        row = TenantKey(tenant=tenant, purpose=purpose)
        row.wrapped = wrap(_new_key(), row)
        row.save(force_insert=True)


def _new_key() -> bytes:
    """Return a fresh data key: 32 random bytes, for AES-256-GCM or HMAC-SHA256."""
    return secrets.token_bytes(KEY_BYTES)


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


def _tenant_key(tenant_id: UUID, purpose: KeyPurpose) -> tuple[int, bytes]:
    def load() -> tuple[int, bytes]:
        rows = TenantKey.objects.filter(tenant_id=tenant_id, purpose=purpose)
        row = rows.order_by("-version").first()
        if row is None:
            raise TenantHasNoKeys(f"Tenant {tenant_id} does not exist or was erased.")
        return row.pk, unwrap(row)

    return _tenant_keys.get_or_load((tenant_id, purpose), load)


def day_cipher(tenant_id: UUID, day: date) -> Cipher:
    """Return the cipher of a tenant's Raw of one UTC day, making its key on first use; whoever
    holds the tenant is waited for.

    Raises:
        TenantHasNoKeys: unknown tenant, or one that is being erased.
    """
    pair = tenant_id, day

    def load() -> Cipher:
        if not (found := _find([pair])):
            with as_login_role():
                _make([pair], CREATE_OR_WAIT)
            found = _find([pair])
        if pair not in found:
            raise TenantHasNoKeys(f"Tenant {tenant_id} does not exist or was erased.")
        return _raw_cipher(found[pair])

    return _day_ciphers.get_or_load(pair, load)


def day_ciphers(pairs: Sequence[Pair]) -> tuple[dict[Pair, Cipher], dict[Pair, Exception]]:
    """Return the day ciphers of many tenants at once, as they stand in the database now, and why
    there is none for the others. One tenant's trouble is not another's, and nobody is waited for:
    there is none where the first key of a day would have to wait for who holds the tenant just now.
    """
    ciphers: dict[Pair, Cipher] = {}
    rows = _find(pairs)
    if missing := [pair for pair in pairs if pair not in rows]:
        _make_without_waiting(missing)
        rows |= _find(missing)
    troubles: dict[Pair, Exception] = {
        pair: TenantHasNoKeys(f"Tenant {pair[0]} is unknown, being erased, or locked just now.")
        for pair in pairs
        if pair not in rows
    }
    for pair, row in rows.items():
        try:
            ciphers[pair] = Cipher(row.pk, unwrap(row))
        except (UnknownMasterKey, ValueError, IndexError) as error:  # or a row in ruins
            troubles[pair] = error
    return ciphers, troubles


def prepare_day(day: date) -> int:
    """Make the keys of ``day`` that are missing, of all tenants; return how many were missing."""
    present = set(RawKey.objects.filter(day=day).values_list("tenant_id", flat=True))
    tenants = Tenant.objects.exclude(status=TenantStatus.ERASING).values_list("id", flat=True)
    missing = [(one, day) for one in (INSTALLATION_ID, *tenants) if one not in present]
    for start in range(0, len(missing), CHUNK):
        _make_without_waiting(missing[start : start + CHUNK])
    return len(missing)


def _find(pairs: Iterable[Pair]) -> dict[Pair, RawKey]:
    wanted = set(pairs)
    tenants, days = {tenant_id for tenant_id, _ in wanted}, {day for _, day in wanted}
    rows = RawKey.objects.filter(tenant_id__in=tenants, day__in=days)
    return {(row.tenant_id, row.day): row for row in rows if (row.tenant_id, row.day) in wanted}


def _make_without_waiting(pairs: Sequence[Pair]) -> None:
    """Make keys; where somebody else is making the same ones, halve until the rest is made."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '50ms'")
            _make(pairs, CREATE_OR_SKIP)
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        middle = len(pairs) // 2
        for half in (pairs[:middle], pairs[middle:]) if middle else ():
            _make_without_waiting(half)


def _make(pairs: Sequence[Pair], statement: str) -> None:
    """Insert keys unless another process was first; whoever wins, all use the row that stands."""
    parameters: dict[str, Any] = {
        "installation": INSTALLATION_ID,
        "tenants": [tenant_id for tenant_id, _ in pairs],
        "days": [day for _, day in pairs],
        "wrapped": [wrap(_new_key(), RawKey(tenant_id=owner, day=day)) for owner, day in pairs],
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def cipher_of(sealed: bytes) -> Cipher:
    """Return the cipher that opens a value sealed under a day key, found by the id it carries.

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
    """Load the day keys of many values with one query; return the ids of those that still exist."""
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


def _raw_cipher(row: RawKey) -> Cipher:
    return _raw_ciphers.put(row.pk, Cipher(row.pk, unwrap(row)))


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
    for keys in (_tenant_keys, _field_ciphers, _day_ciphers, _raw_ciphers):
        keys.clear()
