"""Rotate master keys: wrap every data key anew. What the data keys sealed is not touched."""

from __future__ import annotations

from collections.abc import Iterator

from workspaces import daykeys, master, second_factors
from workspaces.keys import tenant_place
from workspaces.models import RawKey, SecondFactor, TenantKey


def rewrap() -> Iterator[int]:
    """Wrap every key under the first master key, yielding the count so far. Safe to run again.

    Raises:
        workspaces.master.UnknownMasterKey: a key is wrapped by a master key that is not configured.
    """
    done = 0
    # Updates, never inserts: a key that is destroyed meanwhile must stay destroyed.
    for tenant_key in TenantKey.objects.order_by("pk").iterator():
        place = tenant_place(tenant_key.tenant_id, tenant_key.purpose)
        wrapped = master.wrap(master.unwrap(bytes(tenant_key.wrapped), place), place)
        TenantKey.objects.filter(pk=tenant_key.pk).update(wrapped=wrapped)
        yield (done := done + 1)
    for raw_key in RawKey.objects.order_by("pk").iterator():
        place = daykeys.place(raw_key.tenant_id, raw_key.day)
        wrapped = master.wrap(master.unwrap(bytes(raw_key.wrapped), place), place)
        RawKey.objects.filter(pk=raw_key.pk).update(wrapped=wrapped)
        yield (done := done + 1)
    for factor in SecondFactor.objects.order_by("pk").iterator():
        place = second_factors.place(factor.pk)
        wrapped = master.wrap(master.unwrap(bytes(factor.wrapped), place), place)
        SecondFactor.objects.filter(pk=factor.pk).update(wrapped=wrapped)
        yield (done := done + 1)
