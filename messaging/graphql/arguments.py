"""GraphQL arguments of ``messages`` turned into what ``queries`` understands, or refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TypedDict
from uuid import UUID

from django.conf import settings

from lib import cursors
from lib.graphql import BadInput
from lib.numbering import NotInternational, international
from messaging.events import Direction
from messaging.graphql.connection import Direction as SortDirection
from messaging.queries import Wanted, Window, ways_of_writing
from workspaces.identity import digester
from workspaces.models import Platform

DEFAULT_PAGE = 20
DIGEST = re.compile(r"[0-9a-f]{64}")
WORD = re.compile(r"[A-Za-z0-9_]{1,64}")


class Order(TypedDict):
    """The ``orderBy`` argument."""

    timestamp: SortDirection


class MessageArguments(TypedDict, total=False):
    """The arguments of ``messages`` besides the workspace; each may be absent or null."""

    platform: Platform | None
    first: int | None
    after: str | None
    last: int | None
    before: str | None
    order_by: Order | None
    direction: Direction | None
    type: str | None
    status: str | None
    sender: str | None
    sender_phone: str | None
    since: datetime | None
    until: datetime | None


def wanted_of(arguments: MessageArguments, *, tenant_id: UUID, workspace_id: UUID) -> Wanted:
    """Return which messages the arguments ask for.

    Raises:
        BadInput: one of them cannot be used.
    """
    return Wanted(
        tenant_id=tenant_id,
        workspace_id=workspace_id,
        platform=arguments.get("platform"),
        direction=arguments.get("direction"),
        type=_word(arguments.get("type"), "type"),
        status=_word(arguments.get("status"), "status"),
        senders=_senders(arguments, tenant_id),
        since=_utc(arguments.get("since")),
        until=_utc(arguments.get("until")),
    )


def window_of(arguments: MessageArguments) -> Window:
    """Return the part of the list that the arguments ask for.

    Raises:
        BadInput: forward and backward are mixed, or one of them cannot be used.
    """
    backwards = arguments.get("last") is not None or arguments.get("before") is not None
    if backwards and (arguments.get("first") is not None or arguments.get("after") is not None):
        raise BadInput("Use first with after, or last with before, but not both.")
    order = arguments.get("order_by")
    return Window(
        limit=limit_of(arguments.get("last") if backwards else arguments.get("first")),
        cursor=cursor_of(arguments.get("before") if backwards else arguments.get("after")),
        backwards=backwards,
        newest_first=order is None or order["timestamp"] == SortDirection.DESC,
    )


def limit_of(value: int | None) -> int:
    """Return the size of a page.

    Raises:
        BadInput: larger than a page may be.
    """
    if value is None:
        return DEFAULT_PAGE
    if not 0 <= value <= settings.SIGMA_GRAPHQL_MAX_PAGE:
        raise BadInput(f"A page may have 0 to {settings.SIGMA_GRAPHQL_MAX_PAGE} items.")
    return value


def cursor_of(value: str | None) -> cursors.Cursor | None:
    """Return the place that a cursor of ours stands for.

    Raises:
        BadInput: it is none of ours.
    """
    try:
        return None if value is None else cursors.decode(value)
    except cursors.InvalidCursor as error:
        raise BadInput(str(error)) from None


def _word(value: str | None, name: str) -> str | None:
    if value is not None and not WORD.fullmatch(value):
        raise BadInput(f"{name} must be one of the platform's words, such as text or delivered.")
    return value


def _senders(arguments: MessageArguments, tenant_id: UUID) -> tuple[str, ...] | None:
    digest, phone = arguments.get("sender"), arguments.get("sender_phone")
    if phone is not None:
        if digest is not None:
            raise BadInput("Use sender or senderPhone, not both.")
        return ways_of_writing(tenant_id=tenant_id, phones=_digests_of(phone, tenant_id))
    if digest is not None and not DIGEST.fullmatch(digest):
        raise BadInput("sender must be a platformUserId: 64 hexadecimal digits.")
    return None if digest is None else (digest,)


def _digests_of(phone: str, tenant_id: UUID) -> tuple[str, ...]:
    try:
        return digester(tenant_id).phones(international(phone))
    except NotInternational as error:
        raise BadInput(f"senderPhone: {error}") from None


def _utc(value: datetime | None) -> datetime | None:
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value
