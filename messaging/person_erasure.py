"""Right to delete, of one person: everything that is known of them goes, and a signed receipt says
how much.

The request is a row; a worker performs it as the application, for a request on behalf of a tenant
may delete little. Messages go in bites first; then, while nobody stores or sends for the tenant,
what is left, in one transaction with the receipt. What is sealed with Raw ends with Raw
(docs/privacy.md).
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import connection, transaction
from msgspec import json

from messaging import archive, joining, locks, lookups, search_index
from messaging.models import Contact, OptOut, PersonErasure
from workspaces import keys
from workspaces.models import Tenant

# Which rows of a table are the person's, by the contact's ids (an alias has its own) and digests.
Places = Sequence[tuple[str, str]]
BATCH = 1_000
CONTACTS = """
SELECT id FROM contacts
WHERE tenant_id = %(tenant)s AND (id = %(contact)s OR merged_into = %(contact)s)
"""
DIGESTS = """
SELECT digest FROM contact_identities WHERE tenant_id = %(tenant)s AND contact_id = ANY(%(ids)s)
"""
MESSAGES = """
SELECT id FROM messages WHERE tenant_id = %(tenant)s AND contact_id = ANY(%(ids)s)
AND workspace_id IN (SELECT id FROM workspaces WHERE tenant_id = %(tenant)s)
ORDER BY id LIMIT %(batch)s
"""
# What is still pending first, or it is sent meanwhile; then children before parents.
OF_MESSAGES: Places = (
    ("outbox", f"message_id IN ({MESSAGES})"),
    ("read_marks", f"message_id IN ({MESSAGES})"),
    ("media", f"message_id IN ({MESSAGES})"),
    (
        "message_statuses",
        "(workspace_id, platform_message_id) IN (SELECT workspace_id, platform_message_id "  # noqa: S608
        f"FROM messages WHERE tenant_id = %(tenant)s AND id IN ({MESSAGES}))",
    ),
    ("message_words", f"message_id IN ({MESSAGES})"),
    ("messages", f"id IN ({MESSAGES})"),
)
# Of messages to groups, and of those that are gone: to find these takes reading all receipts.
RECEIPTS = ("message_statuses", "recipient = ANY(%(digests)s) OR participant = ANY(%(names)s)")
# Those that came since then: a range of the key.
LATE_RECEIPTS = (RECEIPTS[0], f"id > %(last_receipt)s AND ({RECEIPTS[1]})")
LAST_RECEIPT = "SELECT coalesce(max(id), 0) FROM message_statuses WHERE tenant_id = %(tenant)s"
OF_PEOPLE: Places = (
    ("outbox", "contact_id = ANY(%(ids)s)"),
    ("message_statuses", "waiting_key IS NOT NULL AND recipient = ANY(%(digests)s)"),
    ("broadcast_recipients", "digest = ANY(%(digests)s)"),
    (
        "conversation_notes",
        "conversation_id IN (SELECT id FROM conversations WHERE tenant_id = %(tenant)s "
        "AND contact_id = ANY(%(ids)s))",
    ),
    ("conversations", "contact_id = ANY(%(ids)s)"),
    ("portfolio_recipients", "contact_id = ANY(%(ids)s)"),
    ("contact_blocks", "contact_id = ANY(%(ids)s)"),
)
OF_CONTACTS: Places = (
    ("opt_outs", "contact_id = ANY(%(ids)s)"),
    ("contact_identities", "contact_id = ANY(%(ids)s)"),
    ("contacts", "id = ANY(%(ids)s)"),
)
# A stop that stays needs the digests by which its person is recognised, and nothing else.
ALIASES: Places = (
    ("opt_outs", "contact_id = ANY(%(ids)s) AND contact_id <> %(contact)s"),
    ("contacts", "id = ANY(%(ids)s) AND id <> %(contact)s"),
)
FORGET = (
    "UPDATE contact_identities SET address = NULL, address_day = NULL "
    "WHERE tenant_id = %(tenant)s AND contact_id = %(contact)s",
    "UPDATE contacts SET display_name = '', username = '', book_name = '', book_name_at = NULL "
    "WHERE tenant_id = %(tenant)s AND id = %(contact)s",
)
# What the admin's log says of people, by ids that are nobody else's.
LOG = "DELETE FROM django_admin_log WHERE object_id = ANY(%(names)s)"


class ErasureErrorCode(StrEnum):
    """Why nobody will be erased."""

    CONTACT_NOT_FOUND = "CONTACT_NOT_FOUND"


class UnableToErase(Exception):
    """Nobody will be erased; ``field`` is the input at fault."""

    def __init__(self, code: ErasureErrorCode, field: str, message: str) -> None:
        super().__init__(message)
        self.code, self.field, self.message = code, field, message


def request(
    *,
    tenant_id: UUID,
    contact_id: UUID,
    by: str,
    is_dry_run: bool = False,
    keeps_opt_out: bool = True,
    now: datetime,
) -> PersonErasure:
    """Ask for the erasure of a person (``is_dry_run``: for a count); return the pending request.

    With ``keeps_opt_out`` a person who wants no marketing stays on record by digests alone.

    Raises:
        UnableToErase: the tenant has no such contact.
    """
    contact = lookups.by_id(tenant_id=tenant_id, contact_id=contact_id)
    if contact is None:
        raise UnableToErase(
            ErasureErrorCode.CONTACT_NOT_FOUND,
            "contact_id",
            "Your tenant has no contact with this id; one that was erased has none.",
        )
    return PersonErasure.objects.create(
        tenant_id=tenant_id,
        contact_id=contact.id,
        is_dry_run=is_dry_run,
        keeps_opt_out=keeps_opt_out,
        requested_by=by[:150],
        requested_at=now,
    )


def find(*, tenant_id: UUID, erasure_id: UUID) -> PersonErasure | None:
    """Return a tenant's request, pending or done."""
    return PersonErasure.objects.filter(tenant_id=tenant_id, pk=erasure_id).first()


def perform(pending: PersonErasure, *, elsewhere: Places = (), now: datetime) -> PersonErasure:
    """Do what was asked for, and write the receipt; done again it changes nothing.

    ``elsewhere`` are the person's rows in tables of the layers above.
    """
    if pending.ended_at is None and pending.is_dry_run:
        who = _known_as(pending) | {"batch": None}
        is_kept = _stays_out(pending, who)
        places = (*OF_MESSAGES, RECEIPTS, *elsewhere, *OF_PEOPLE, *_people(is_kept))
        _end(pending, _count(places, who), is_kept=is_kept, now=now)
    elif pending.ended_at is None:
        (last_receipt,) = _column(LAST_RECEIPT, {"tenant": pending.tenant_id})
        removed = _remove_most(pending)
        with transaction.atomic():
            locks.go_alone([pending.tenant_id])
            joining.lock([pending.tenant_id])
            _remove_rest(pending, removed, last_receipt, elsewhere, now)
    return PersonErasure.objects.get(tenant_id=pending.tenant_id, pk=pending.pk)


def _remove_most(row: PersonErasure) -> Counter[str]:
    """Remove, while others store and send, all that may be much."""
    removed: Counter[str] = Counter()
    archive.erase(row.tenant_id, _known_as(row)["ids"])
    while _bite(row, removed) == BATCH:
        pass
    removed[RECEIPTS[0]] += _take(RECEIPTS, _known_as(row))
    return removed


def _bite(row: PersonErasure, removed: Counter[str]) -> int:
    """Remove the oldest messages with what hangs on them; return how many messages."""
    with transaction.atomic():
        who = _known_as(row)
        search_index.wait_for_reader()
        _run(f"{MESSAGES} FOR UPDATE", who)  # first, as whoever stores does
        gone = {place[0]: _take(place, who) for place in OF_MESSAGES}
    removed.update(gone)
    return gone["messages"]


def _remove_rest(
    pending: PersonErasure,
    removed: Counter[str],
    last_receipt: int,
    elsewhere: Places,
    now: datetime,
) -> None:
    """Remove what is left, in a transaction in which nobody else stores or sends; receipts up to
    ``last_receipt`` have been looked through.
    """
    search_index.wait_for_reader()
    rows = PersonErasure.objects.select_for_update()
    row = rows.get(tenant_id=pending.tenant_id, pk=pending.pk)
    if row.ended_at is not None:
        return
    who = _known_as(row) | {"batch": None, "last_receipt": last_receipt}
    is_kept = _stays_out(row, who)
    for place in (*OF_MESSAGES, LATE_RECEIPTS, *elsewhere, *OF_PEOPLE, *_people(is_kept)):
        removed[place[0]] += _take(place, who)
    for statement in (LOG, *(FORGET if is_kept else ())):
        _run(statement, who)
    _end(row, removed, is_kept=is_kept, now=now)


def _people(is_kept: bool) -> Places:
    return ALIASES if is_kept else OF_CONTACTS


def _end(row: PersonErasure, removed: Counter[str], *, is_kept: bool, now: datetime) -> None:
    row.removed, row.ended_at = dict(removed), now
    _sign(row, kept_opt_out=is_kept)
    rows = PersonErasure.objects.filter(tenant_id=row.tenant_id, pk=row.pk)
    rows.update(removed=row.removed, ended_at=now, receipt=row.receipt, signature=row.signature)


def public_key(tenant_id: UUID) -> bytes:
    """Return the key (32 bytes, Ed25519) that receipts of a tenant are checked with."""
    key = _signing_key(tenant_id).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _signing_key(tenant_id: UUID) -> Ed25519PrivateKey:
    # Of the salt, which stays as long as the tenant does, whatever the master keys are.
    seed = hmac.digest(keys.salt(tenant_id), b"receipts of erasures", "sha256")
    return Ed25519PrivateKey.from_private_bytes(seed)


def _sign(row: PersonErasure, *, kept_opt_out: bool) -> None:
    tenant = Tenant.objects.get(pk=row.tenant_id)
    assert row.ended_at is not None  # noqa: S101 - just set
    said = {
        "erasure": row.id,
        "tenant": row.tenant_id,
        "contact": row.contact_id,
        "is_dry_run": row.is_dry_run,
        "requested_by": row.requested_by,
        "requested_at": row.requested_at,
        "ended_at": row.ended_at,
        "kept_opt_out": kept_opt_out,
        "removed": row.removed,
        # The last day on which a callback or file of theirs from before may be readable.
        "raw_until": (row.ended_at + timedelta(days=tenant.retention_days)).date(),
    }
    receipt = json.encode(said, order="sorted")
    row.receipt = receipt.decode()
    row.signature = _signing_key(row.tenant_id).sign(receipt)


def _known_as(row: PersonErasure) -> dict[str, Any]:
    """Return by which ids and digests the person is known, as parameters of statements."""
    who: dict[str, Any] = {"tenant": row.tenant_id, "contact": _survivor(row), "batch": BATCH}
    who["ids"] = [row.contact_id, *_column(CONTACTS, who)]
    who["digests"] = _column(DIGESTS, who)
    who["names"] = [*map(str, who["ids"]), *who["digests"]]
    return who


def _survivor(row: PersonErasure) -> UUID:
    alias = Contact.objects.filter(tenant_id=row.tenant_id, pk=row.contact_id)
    return alias.values_list("merged_into", flat=True).first() or row.contact_id


def _stays_out(row: PersonErasure, who: Mapping[str, Any]) -> bool:
    """Tell whether a stop of marketing is to be kept."""
    out = OptOut.objects.filter(tenant_id=row.tenant_id, contact_id__in=who["ids"], lifted_at=None)
    return row.keeps_opt_out and out.exists()


def _take(place: tuple[str, str], who: Mapping[str, Any]) -> int:
    table, theirs = place
    statement = f"DELETE FROM {table} WHERE tenant_id = %(tenant)s AND ({theirs})"  # noqa: S608
    return _run(archive.LEAVE.format(files=statement) if table == "media" else statement, who)


def _count(places: Places, who: Mapping[str, Any]) -> Counter[str]:
    """Return how many rows would go from each table; one that two places name is one."""
    theirs: dict[str, list[str]] = {}
    for table, rows in places:
        theirs.setdefault(table, []).append(f"({rows})")
    count = "SELECT count(*) FROM {} WHERE tenant_id = %(tenant)s AND ({})"
    return Counter(
        {
            table: _column(count.format(table, " OR ".join(rows)), who)[0]
            for table, rows in theirs.items()
        }
    )


def _run(statement: str, who: Mapping[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, who)
        return int(cursor.rowcount)


def _column(statement: str, who: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, who)
        return [value for (value,) in cursor.fetchall()]
