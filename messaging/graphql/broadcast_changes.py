"""GraphQL: create, fill, start, pause, resume and cancel a broadcast. Refusals are data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypedDict
from uuid import UUID

import graphene
from django.utils import timezone
from graphql import GraphQLResolveInfo

from lib.graphql import parse_id
from messaging import models
from messaging.broadcasts import audience, lifecycle, queries
from messaging.broadcasts.audience import Report, UnusableRows
from messaging.broadcasts.refusals import UnableToBroadcast
from messaging.graphql.broadcast_inputs import (
    AddBroadcastRecipientsInput,
    BroadcastInput,
    CreateBroadcastInput,
    Given,
    RetryFailedInput,
    StartBroadcastInput,
    rows_of,
    shared_by,
)
from messaging.graphql.broadcast_types import (
    Broadcast,
    BroadcastError,
    BroadcastListReport,
    Shown,
)
from messaging.graphql.sending import camel
from workspaces.access import Actor
from workspaces.scopes import Scope


class _Outcome:
    """The fields that the payloads have in common."""

    success = graphene.Boolean(required=True, description="Whether it was done.")
    broadcast = graphene.Field(Broadcast, description="The broadcast, on success.")
    errors = graphene.List(
        graphene.NonNull(BroadcastError), required=True, description="Why not, otherwise."
    )


class CreateBroadcast(_Outcome, graphene.Mutation):
    """The new broadcast, which has no recipients yet; or why there is none."""

    class Meta:
        name = "CreateBroadcastPayload"

    class Arguments:
        input = CreateBroadcastInput(required=True, description="The broadcast to create.")

    @staticmethod
    def mutate(
        root: None, info: GraphQLResolveInfo, input: CreateBroadcastInput
    ) -> CreateBroadcast:
        """Create it, or say why not."""
        actor = _writer(info)
        return CreateBroadcast(**_outcome(lambda: _create(actor, input)))


class AddBroadcastRecipients(_Outcome, graphene.Mutation):
    """What became of the recipients; where one cannot be taken none is."""

    class Meta:
        name = "AddBroadcastRecipientsPayload"

    class Arguments:
        input = AddBroadcastRecipientsInput(required=True, description="The recipients to add.")

    report = graphene.Field(BroadcastListReport, description="What became of the recipients.")

    @staticmethod
    def mutate(
        root: None, info: GraphQLResolveInfo, input: AddBroadcastRecipientsInput
    ) -> AddBroadcastRecipients:
        """Add them, or say why not."""
        actor, reports = _writer(info), list[Report]()
        outcome = _outcome(lambda: _add(actor, input, reports))
        return AddBroadcastRecipients(**outcome, report=next(iter(reports), None))


class StartBroadcast(_Outcome, graphene.Mutation):
    """The broadcast, whose rows are checked now, before the first message; or why not."""

    class Meta:
        name = "StartBroadcastPayload"

    class Arguments:
        input = StartBroadcastInput(required=True, description="The broadcast to start.")

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: StartBroadcastInput) -> StartBroadcast:
        """Start it, or say why not."""
        named = _named(_writer(info), input)
        return StartBroadcast(
            **_outcome(
                lambda: lifecycle.start(
                    **named, scheduled_at=_utc(input.get("scheduled_at")),
                    skip_invalid=bool(input.get("skip_invalid")), now=timezone.now(),
                )
            )
        )  # fmt: skip


class PauseBroadcast(_Outcome, graphene.Mutation):
    """The broadcast, of which nothing more is sent for now; or why not."""

    class Meta:
        name = "PauseBroadcastPayload"

    class Arguments:
        input = BroadcastInput(required=True, description="The broadcast to pause.")

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: BroadcastInput) -> PauseBroadcast:
        """Pause it, or say why not."""
        named = _named(_writer(info), input)
        return PauseBroadcast(**_outcome(lambda: lifecycle.pause(**named, now=timezone.now())))


class ResumeBroadcast(_Outcome, graphene.Mutation):
    """The broadcast, which goes on where it was paused; or why not."""

    class Meta:
        name = "ResumeBroadcastPayload"

    class Arguments:
        input = BroadcastInput(required=True, description="The broadcast to resume.")

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: BroadcastInput) -> ResumeBroadcast:
        """Resume it, or say why not."""
        named = _named(_writer(info), input)
        return ResumeBroadcast(**_outcome(lambda: lifecycle.resume(**named, now=timezone.now())))


class RetryFailed(_Outcome, graphene.Mutation):
    """The broadcast, which goes on with the people whose messages failed; or why not."""

    class Meta:
        name = "RetryFailedPayload"

    class Arguments:
        input = RetryFailedInput(required=True, description="Whose messages to send again.")

    count = graphene.Int(description="How many people are written to again, on success.")

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: RetryFailedInput) -> RetryFailed:
        """Send again, or say why not."""
        named, counts = _named(_writer(info), input), list[int]()

        def act() -> models.Broadcast:
            broadcast, count = lifecycle.retry_failed(
                **named, codes=input.get("codes"), now=timezone.now()
            )
            counts.append(count)
            return broadcast

        outcome = _outcome(act)
        return RetryFailed(**outcome, count=next(iter(counts), None))


class CancelBroadcast(_Outcome, graphene.Mutation):
    """The broadcast, which has ended for good; or why not."""

    class Meta:
        name = "CancelBroadcastPayload"

    class Arguments:
        input = BroadcastInput(required=True, description="The broadcast to cancel.")

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: BroadcastInput) -> CancelBroadcast:
        """Cancel it, or say why not."""
        named = _named(_writer(info), input)
        return CancelBroadcast(**_outcome(lambda: lifecycle.cancel(**named, now=timezone.now())))


class Mutation(graphene.ObjectType):
    """What can be done with broadcasts."""

    create_broadcast = CreateBroadcast.Field(
        required=True, description="Create a broadcast of one template; add recipients next."
    )
    add_broadcast_recipients = AddBroadcastRecipients.Field(
        required=True, description="Add up to 1,000 recipients to a broadcast not started yet."
    )
    start_broadcast = StartBroadcast.Field(
        required=True, description="Freeze the list, check every row, and send when all is well."
    )
    pause_broadcast = PauseBroadcast.Field(
        required=True, description="Stop sending; messages being sent are finished."
    )
    resume_broadcast = ResumeBroadcast.Field(
        required=True, description="Go on with a paused broadcast."
    )
    retry_failed = RetryFailed.Field(
        required=True,
        description="Send again to the people whose messages failed, and go on with a broadcast "
        "that was paused or completed.",
    )
    cancel_broadcast = CancelBroadcast.Field(
        required=True, description="End a broadcast for good; what waits is withdrawn."
    )


def _create(actor: Actor, given: Given) -> models.Broadcast:
    return lifecycle.create(
        tenant_id=actor.tenant_id, workspace_id=parse_id(given["workspace_id"], "workspaceId"),
        name=given["name"], template_name=given["template_name"], language=given.get("language"),
        shared=shared_by(given), expires_at=_utc(given.get("expires_at")),
        created_by=actor.label, now=timezone.now(),
    )  # fmt: skip


def _add(actor: Actor, given: Given, reports: list[Report]) -> models.Broadcast:
    named = _named(actor, given)
    try:
        reports.append(audience.append(**named, rows=rows_of(given["recipients"])))
    except UnusableRows as refusal:
        reports.append(refusal.report)
        raise
    broadcast = queries.find(**named)
    assert broadcast is not None  # noqa: S101 - rows were added to it
    return broadcast


def _outcome(act: Callable[[], models.Broadcast]) -> dict[str, Any]:
    """Return the fields of a payload: what was done, or why it was not."""
    try:
        return {"success": True, "broadcast": Shown(act()), "errors": []}
    except UnableToBroadcast as refusal:
        field = refusal.field and camel(refusal.field)
        error = BroadcastError(code=refusal.code, field=field, message=refusal.message)
        return {"success": False, "errors": [error]}


class _Named(TypedDict):
    tenant_id: UUID
    broadcast_id: UUID


def _named(actor: Actor, given: Given) -> _Named:
    return {"tenant_id": actor.tenant_id, "broadcast_id": parse_id(given["id"], "id")}


def _utc(given: datetime | None) -> datetime | None:
    return given.replace(tzinfo=UTC) if given is not None and given.tzinfo is None else given


def _writer(info: GraphQLResolveInfo) -> Actor:
    actor: Actor = info.context.actor
    actor.require(Scope.BROADCASTS_WRITE)
    return actor
