"""Read messages a page at a time, at the same cost at any depth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import (
    BooleanField,
    DateTimeField,
    Expression,
    F,
    Func,
    QuerySet,
    UUIDField,
    Value,
)

from messaging.cursors import Cursor
from messaging.events import Direction
from messaging.models import Message
from workspaces.models import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages of a workspace are wanted; ``None`` means any.

    ``sender`` is the digest of a phone number or BSUID. ``since`` is inclusive, ``until`` is not.
    """

    platform: Platform | None = None
    direction: Direction | None = None
    type: str | None = None
    status: str | None = None
    sender: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def apply(self, rows: QuerySet[Message]) -> QuerySet[Message]:
        """Return the rows that pass."""
        wanted = {
            "platform": self.platform,
            "direction": self.direction,
            "type": self.type,
            "status": self.status,
            "sender": self.sender,
            "timestamp_utc__gte": self.since,
            "timestamp_utc__lt": self.until,
        }
        return rows.filter(**{name: value for name, value in wanted.items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which part of the list is wanted: ``limit`` rows after ``cursor``, or before it."""

    limit: int
    cursor: Cursor | None = None
    backwards: bool = False
    newest_first: bool = True


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages in the order asked for.

    ``has_more`` tells whether there are others beyond them in the direction of travel.
    """

    messages: list[Message]
    has_more: bool


def messages_of(tenant_id: UUID) -> QuerySet[Message]:
    """Return the messages of a tenant."""
    return Message.objects.filter(tenant_id=tenant_id)


def messages_in(tenant_id: UUID, workspace_id: UUID, wanted: MessageFilter) -> QuerySet[Message]:
    """Return the messages of a workspace that pass the filter."""
    return wanted.apply(messages_of(tenant_id).filter(workspace_id=workspace_id))


def read_page(rows: QuerySet[Message], window: Window) -> Page:
    """Return one page of ``rows``: a range of the index ``messages_newest_first``, however deep."""
    falling = window.newest_first != window.backwards
    if window.cursor is not None:
        rows = rows.filter(_beyond(window.cursor, falling=falling))
    order = ("-timestamp_utc", "-id") if falling else ("timestamp_utc", "id")
    found = list(rows.order_by(*order)[: window.limit + 1])
    messages = found[: window.limit]
    if window.backwards:
        messages.reverse()
    return Page(messages, len(found) > window.limit)


def _beyond(cursor: Cursor, *, falling: bool) -> Expression:
    """Compare ``(timestamp_utc, id)`` as a row: that, and no form with OR, becomes an index range.

    https://www.postgresql.org/docs/current/functions-comparisons.html (Row Constructor Comparison)
    """
    place = Func(F("timestamp_utc"), F("id"), function="ROW", output_field=UUIDField())
    end = Func(
        Value(cursor.timestamp, output_field=DateTimeField()),
        Value(cursor.id, output_field=UUIDField()),
        function="ROW",
        output_field=UUIDField(),
    )
    return Func(
        place,
        end,
        template="(%(expressions)s)",
        arg_joiner=" < " if falling else " > ",
        output_field=BooleanField(),
    )
