"""Who belongs to a tenant, by the names that colleagues know: people to assign things to."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from lib.cursors import Cursor, Page, encode
from lib.sql import columns_of, select


class MemberRow(NamedTuple):
    """What is shown of a user who is a member of the tenant: never an address of mail.

    ``display_name`` is the user's full name, or else the user name up to an ``@``.
    """

    id: int
    display_name: str
    role: str
    is_active: bool
    joined_at: datetime


# The function goes by the tenant that the transaction acts for.
LIST = f"SELECT {columns_of(MemberRow)} FROM tenant_members(%s, %s, %s)"  # noqa: S608 - ours


def read_members(*, limit: int, after: Cursor | None) -> Page[MemberRow]:
    """Return a page of the members of the tenant acted for (``as_tenant``), as they joined it."""
    joined_at, user_id = (after.timestamp, after.id.int % 2**31) if after else ("-infinity", 0)
    return Page.of(select(MemberRow, LIST, [joined_at, user_id, limit + 1]), limit)


def cursor_of(row: MemberRow) -> str:
    """Return the cursor of a member."""
    return encode(Cursor(row.joined_at, UUID(int=row.id)))
