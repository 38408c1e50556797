"""GraphQL: broadcasts as callers see them, a page or one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import graphene
from graphql import GraphQLResolveInfo

from lib import cursors
from lib.graphql import (
    ObjectType,
    PageInfo,
    column,
    cursor_of,
    described_enum,
    forward,
    limit_of,
    list_of,
    none_if_empty,
    page_info,
    parse_id,
)
from messaging import models
from messaging.broadcasts import feeding, outcomes, queries, refusals, rows
from messaging.broadcasts.outcomes import RefusedRow
from messaging.broadcasts.queries import Counts
from workspaces.access import Scope
from workspaces.graphql.base import caller, reason_fields

STATES = {
    "DRAFT": "It takes recipients.",
    "CHECKING": "Every row is being checked; its list is frozen from now on.",
    "REFUSED": "Nothing was sent: see the reason and the refused rows; the list may be changed.",
    "SCHEDULED": "Checked; it waits for its time.",
    "RUNNING": "Messages are being queued and sent; a reason says why it does not get on.",
    "PAUSED": "Nothing more is sent until it is resumed.",
    "COMPLETED": "Every message has left, or was refused.",
    "CANCELLED": "It was ended before everybody was written to.",
}
ROW_CODES = {
    "NOT_UTF_8": "The line is not UTF-8.",
    "NOT_CSV": "The line has quotes that do not end, or a control character.",
    "TOO_LONG": "The line is too long.",
    "WRONG_NUMBER_OF_CELLS": "The line has more or fewer cells than the header.",
    "NO_RECIPIENT": "Neither a phone number nor a user id was given, or both were.",
    "INVALID_PHONE": "The phone number is not in international form (E.164).",
    "INVALID_USER_ID": "The user id is not a BSUID.",
    "INVALID_REFERENCE": "The reference is too long, or holds the phone number.",
    "INVALID_MEDIA": "header:media is neither a media_id nor an https address.",
}


BroadcastState = described_enum(models.BroadcastState, "Where a broadcast is.", STATES)
BroadcastErrorCodes = described_enum(
    refusals.BroadcastErrorCode, "Why a broadcast refused.", refusals.DESCRIPTIONS
)
BroadcastRowCode = described_enum(
    rows.RowCode, "What is wrong with a row.", ROW_CODES, name="BroadcastRowCode"
)


@dataclass(frozen=True, eq=False)
class ShownBroadcast:
    """A broadcast on its way out; counted once, and only if somebody asks."""

    row: models.Broadcast

    @cached_property
    def counted(self) -> Counts:
        """How far it got."""
        return queries.counts(self.row)


class BroadcastCounts(graphene.ObjectType):
    """How many people of the list are where; each is in one place, and they sum up to total."""

    total = graphene.Int(required=True, description="People in the list.")
    pending = graphene.Int(required=True, description="Not queued yet.")
    queued = graphene.Int(required=True, description="Waiting to be sent, or being sent.")
    accepted = graphene.Int(required=True, description="The platform took the message.")
    sent = graphene.Int(required=True, description="On its way to the phone.")
    delivered = graphene.Int(required=True, description="On the phone.")
    read = graphene.Int(required=True, description="Read.")
    failed = graphene.Int(required=True, description="The platform refused or could not deliver.")
    unknown = graphene.Int(
        required=True, description="The request left without an answer; a receipt will tell."
    )
    refused = graphene.Int(required=True, description="Left out by us; the rows say why.")
    cancelled = graphene.Int(required=True, description="Not sent: cancelled or expired.")


class BroadcastRefusedRow(graphene.ObjectType):
    """A row of the list that was left out."""

    position = graphene.Int(required=True, description="Its line in the file, or its place.")
    reference = graphene.String(description="Your reference.")
    code = graphene.String(
        required=True,
        description="The reason for programs: a SendErrorCode, DUPLICATE or UNREADABLE.",
    )
    reason = graphene.String(required=True, description="The reason for people.")


class BroadcastType(ObjectType, name="Broadcast", default_resolver=column):
    """One template to a list of people, each exactly once."""

    id = graphene.ID(required=True, description="The broadcast's UUID.")
    workspace_id = graphene.ID(required=True, description="The workspace that sends it.")
    name = graphene.String(required=True, description="Its name for people.")
    state = graphene.Field(BroadcastState, required=True, description="Where it is.")
    reason = graphene.String(
        resolver=none_if_empty("row.reason"),
        description="Why it is refused, paused or does not get on.",
    )
    template_name = graphene.String(required=True, description="The template's name.")
    language = graphene.String(required=True, description="The template's language.")
    counts = graphene.Field(
        BroadcastCounts, required=True, description="How far it got; counted when asked for."
    )
    refused_rows = list_of(
        BroadcastRefusedRow,
        "The first rows that were left out, in the order of the list.",
        first=graphene.Int(description="How many; 20 unless given."),
    )
    created_at = graphene.DateTime(required=True, description="When it was created.")
    scheduled_at = graphene.DateTime(description="Its earliest time, where one was given.")
    expires_at = graphene.DateTime(description="Until when its messages are worth sending.")
    started_at = graphene.DateTime(description="When the first message was queued.")
    ended_at = graphene.DateTime(description="When the last message left, or was withdrawn.")
    purged_at = graphene.DateTime(description="When its numbers and parameters were purged.")
    eta_seconds = graphene.Int(
        description="Seconds until the last message leaves at the number's speed, while it runs."
    )

    @staticmethod
    def resolve_counts(root: ShownBroadcast, info: GraphQLResolveInfo) -> Counts:
        """Count."""
        return root.counted

    @staticmethod
    def resolve_refused_rows(
        root: ShownBroadcast, info: GraphQLResolveInfo, first: int | None = None
    ) -> list[RefusedRow]:
        """Read the first of them."""
        return outcomes.refused_rows(root.row, limit=limit_of(first))

    @staticmethod
    def resolve_eta_seconds(root: ShownBroadcast, info: GraphQLResolveInfo) -> int | None:
        """Reckon."""
        speed = feeding.speed_of(root.row)
        return queries.eta_seconds(root.row, root.counted, per_second=speed)


class BroadcastConnection(graphene.ObjectType):
    """One page of broadcasts."""

    nodes = list_of(BroadcastType, "The broadcasts, newest first.")
    page_info = graphene.Field(PageInfo, required=True, description="Whether there is more.")


class BroadcastError(graphene.ObjectType):
    """A reason why it was not done."""

    code, field, message = reason_fields(BroadcastErrorCodes)


class BroadcastRowError(graphene.ObjectType):
    """A recipient that cannot be taken."""

    position = graphene.Int(required=True, description="Their place among the given, from 1.")
    code = graphene.Field(BroadcastRowCode, required=True, description="What is wrong.")
    message = graphene.String(required=True, description="What was expected, and what came.")


class BroadcastDuplicate(graphene.ObjectType):
    """A recipient who stands in the list already, however their number is written."""

    position = graphene.Int(required=True, description="Their place among the given, from 1.")
    first = graphene.Int(required=True, description="Their place in the list.")


class BroadcastListReport(graphene.ObjectType):
    """What became of given recipients; of duplicates and problems the first hundred."""

    added = graphene.Int(required=True, description="How many were added.")
    total = graphene.Int(required=True, description="How many people the list has now.")
    duplicate_count = graphene.Int(required=True, description="How many were there already.")
    duplicates = list_of(BroadcastDuplicate, "The first of those.")
    problem_count = graphene.Int(required=True, description="How many cannot be taken.")
    problems = list_of(BroadcastRowError, "The first of those.")


class BroadcastQueries(graphene.ObjectType):
    """What can be read about broadcasts."""

    broadcast = graphene.Field(
        BroadcastType,
        id=graphene.ID(required=True, description="The broadcast's UUID."),
        description="One broadcast of your tenant; null where there is none with this id.",
    )
    broadcasts = graphene.Field(
        BroadcastConnection,
        description="Broadcasts of your tenant, the newest first.",
        workspace_id=graphene.ID(description="Only those of this workspace."),
        **forward(),
    )

    @staticmethod
    def resolve_broadcast(root: None, info: GraphQLResolveInfo, id: str) -> ShownBroadcast | None:
        """Return one broadcast."""
        actor = caller(info, Scope.BROADCASTS_READ)
        row = queries.find(tenant_id=actor.tenant_id, broadcast_id=parse_id(id, "id"))
        return None if row is None else ShownBroadcast(row)

    @staticmethod
    def resolve_broadcasts(
        root: None,
        info: GraphQLResolveInfo,
        workspace_id: str | None = None,
        first: int | None = None,
        after: str | None = None,
    ) -> dict[str, object]:
        """Return one page."""
        actor, limit = caller(info, Scope.BROADCASTS_READ), limit_of(first)
        found = queries.newest(
            tenant_id=actor.tenant_id,
            workspace_id=None if workspace_id is None else parse_id(workspace_id, "workspaceId"),
            after=cursor_of(after),
            limit=limit + 1,
        )
        page = cursors.Page.of(found, limit)
        return {
            "nodes": [ShownBroadcast(row) for row in page.rows],
            "page_info": page_info(page, _cursor_of, is_first=after is None),
        }


def _cursor_of(row: models.Broadcast) -> str:
    return cursors.encode(cursors.Cursor(row.created_at, row.id))
