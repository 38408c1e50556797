"""Where people can be written to, so that whoever may not see a number can answer its owner.

Each identity of a contact keeps what it was made of, a phone number or a BSUID, sealed under the
key of the day on which it was last seen; so an address dies with the Raw of that day
(docs/privacy.md). A tenant may choose the field key instead: then it stays while the contact does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from psycopg.sql import SQL

from lib import bulk, clock
from lib.envelope import CannotOpen, associated_data
from lib.sql import columns_of, select
from messaging import joining
from messaging.models import IdentityKind
from messaging.people import People, Someone
from workspaces import keys
from workspaces.models import Tenant

PLACE = "contact_identities.address"
KEEPERS = "SELECT t.id FROM {rows} JOIN tenants t ON t.id = r.id WHERE t.keeps_addresses"


class _Seen(NamedTuple):
    """An identity's address, as it was seen on a day (UTC)."""

    tenant_id: UUID
    digest: str
    address: bytes
    address_day: date


# Nobody is waited for: whoever has a row locked tells as much of it, or the person's next message
# does; and whoever links identities (`messaging.joining`) may wait for rows of ours.
KEEP = """
WITH mine AS MATERIALIZED (
    SELECT m.tenant_id, m.digest, r.address, r.address_day
    FROM {rows} JOIN contact_identities m ON m.tenant_id = r.tenant_id AND m.digest = r.digest
    WHERE m.address_day IS NULL OR m.address_day < r.address_day
    FOR UPDATE OF m SKIP LOCKED
)
UPDATE contact_identities i SET address = mine.address, address_day = mine.address_day
FROM mine WHERE i.tenant_id = mine.tenant_id AND i.digest = mine.digest
"""


class _Known(NamedTuple):
    """An identity with an address."""

    contact_id: UUID
    kind: str
    digest: str
    workspace_id: UUID | None
    address: bytes


# What was seen last first: who changed their number has two for a while.
FIND = f"""
SELECT {columns_of(_Known)} FROM contact_identities
WHERE tenant_id = %s AND contact_id = ANY(%s) AND address IS NOT NULL
ORDER BY address_day DESC, since DESC NULLS LAST, id DESC
"""  # noqa: S608 - names of ours
FORGET = SQL("""
WITH gone AS (
    UPDATE contact_identities SET address = NULL, address_day = NULL WHERE id = ANY(ARRAY(
        SELECT id FROM contact_identities WHERE tenant_id = %s AND address_day < %s LIMIT %s
    )) AND tenant_id = %s RETURNING 1
) SELECT count(*) FROM gone
""")
BATCH = 5_000


def keep(people: People, seen: Iterable[Someone]) -> None:
    """Keep the addresses of people whom ``people`` has settled, in the caller's transaction: the
    first time on each day.
    """
    today = clock.now().date()
    news: dict[tuple[UUID, str], tuple[date, str]] = {}
    for someone in seen:
        day = someone.day or today
        for digest, address in someone.addresses:
            before = people.address_days.get(digest)
            if before is None or before < day:
                place = someone.tenant_id, digest
                news[place] = max(news.get(place, (day, address)), (day, address))
    if not news:
        return
    tenants = {tenant_id for tenant_id, _ in news}
    keepers = {row[0] for row in bulk.run(KEEPERS, ("id uuid",), [(one,) for one in tenants])}
    rows: list[_Seen] = []
    for (tenant_id, digest), (day, address) in news.items():
        forever = tenant_id in keepers
        cipher = keys.field_cipher(tenant_id) if forever else keys.day_cipher(tenant_id, day)
        sealed = cipher.seal(address.encode(), associated_data(tenant_id, PLACE, digest))
        rows.append(_Seen(tenant_id, digest, sealed, day))
        people.address_days[digest] = day
    bulk.run(KEEP, bulk.columns(_Seen), rows)


class Address(NamedTuple):
    """Where a person can be written to: a phone number's digits, or else a BSUID."""

    phone: str | None = None
    user_id: str | None = None


def find(
    *,
    tenant_id: UUID,
    workspace_id: UUID,
    contact_ids: Collection[UUID],
    phones_only: bool = False,
    parents: bool = True,
) -> dict[UUID, Address]:
    """Return where one number of the business can write to people, of those who can be told.

    A phone number where one is known, however the platform wrote it last; else a BSUID, which is
    one of the portfolio of the number (Meta, "Business-scoped user IDs"), or a parent BSUID, unless
    no ``parents`` are wanted.
    """
    portfolios = joining.portfolios(tenant_id)
    own, found = portfolios.get(workspace_id), dict[UUID, Address]()
    for known in select(_Known, FIND, [tenant_id, list(contact_ids)]):
        is_phone = known.kind in (IdentityKind.PHONE, IdentityKind.ALIAS)
        before = found.get(known.contact_id)
        if before and (before.phone or not is_phone):
            continue
        if known.kind == IdentityKind.PARENT and not parents:
            continue
        if not is_phone and (
            phones_only or portfolios.get(known.workspace_id or workspace_id) != own
        ):
            continue
        if address := _open(tenant_id, known):
            found[known.contact_id] = Address(address) if is_phone else Address(None, address)
    return found


def _open(tenant_id: UUID, known: _Known) -> str | None:
    """Return an address, or ``None`` where its key is gone."""
    sealed, place = bytes(known.address), associated_data(tenant_id, PLACE, known.digest)
    for cipher_of in (keys.cipher_of, lambda _: keys.field_cipher(tenant_id)):
        try:
            return cipher_of(sealed).open(sealed, place).decode()
        except CannotOpen:
            continue  # a value does not say which of the two it was sealed under
    return None


def purge(*, now: datetime) -> int:
    """Remove addresses that were last seen before their tenant's retention window, of tenants that
    keep none longer; return how many. By then most can be opened by nobody.
    """
    count = 0
    for tenant in Tenant.objects.filter(keeps_addresses=False):
        before = now.date() - timedelta(days=tenant.retention_days)
        given = [tenant.id, before, BATCH, tenant.id]
        count += sum(bulk.repeat(FORGET, given, batch=BATCH))
    return count
