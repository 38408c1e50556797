"""GraphQL: create, fill, start, pause, resume and cancel a broadcast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict
from uuid import UUID

import graphene

from lib import clock
from lib.graphql import BadInput, list_of, parse_id, utc
from messaging.broadcasts import audience, lifecycle, queries
from messaging.broadcasts.audience import UnusableRows
from messaging.broadcasts.refusals import BroadcastErrorCode, UnableToBroadcast
from messaging.broadcasts.rows import ListedPerson, RowProblem, UnusableRow, make
from messaging.graphql.broadcasts import (
    BroadcastError,
    BroadcastListReport,
    BroadcastType,
    ShownBroadcast,
)
from messaging.models import Broadcast
from templates_wa.graphql.parameters import TemplateParametersInput, parameters_of
from templates_wa.parameters import TemplateParameters
from workspaces.access import Actor, Scope
from workspaces.graphql.base import MutationContext, ServiceMutation, errors_field, success_field

Given = Mapping[str, Any]


class CreateBroadcastInput(graphene.InputObjectType):
    """The broadcast to create."""

    workspace_id = graphene.ID(required=True, description="The workspace that sends it.")
    name = graphene.String(required=True, description="A name for people, up to 200 characters.")
    template_name = graphene.String(required=True, description="The template's name.")
    language = graphene.String(
        description="The template's language; may be left out where it has only one."
    )
    template_parameters = TemplateParametersInput(
        description="What all recipients share, such as a header's picture or a button's value."
    )
    expires_at = graphene.DateTime(description="Until when its messages are worth sending.")


class BroadcastRecipientInput(graphene.InputObjectType):
    """One recipient: a phone number or a user id."""

    phone = graphene.String(description="The number, in international form (+27…).")
    user_id = graphene.String(description="The business-scoped user id (BSUID).")
    reference = graphene.String(
        description="Your own reference, up to 128 characters; not the number: it is kept longer."
    )
    template_parameters = TemplateParametersInput(
        description="Their own values; they go before those that all share."
    )


class AddBroadcastRecipientsInput(graphene.InputObjectType):
    """Recipients for a broadcast that was not started yet."""

    id = graphene.ID(required=True, description="The broadcast's UUID.")
    recipients = list_of(BroadcastRecipientInput, "1 to 1,000 people.")


class BroadcastInput(graphene.InputObjectType):
    """The broadcast that is meant."""

    id = graphene.ID(required=True, description="The broadcast's UUID.")


class StartBroadcastInput(BroadcastInput):
    """When and how to start it."""

    scheduled_at = graphene.DateTime(description="Not before this time; now, unless given.")
    skip_invalid = graphene.Boolean(
        description="Leave rows out that do not fit the template, instead of refusing the whole."
    )


class RetryFailedInput(BroadcastInput):
    """Whose messages to send again."""

    codes = list_of(
        graphene.Int,
        "Only those that failed with one of these codes of Meta's; all, unless given.",
        required=False,
    )


class _BroadcastMutation(ServiceMutation, abstract=True):
    """Does something with a broadcast; the fields of all payloads."""

    scope, refusal = Scope.BROADCASTS_WRITE, UnableToBroadcast
    success = success_field()
    broadcast = graphene.Field(BroadcastType, description="The broadcast, on success.")
    errors = errors_field(BroadcastError)


class CreateBroadcast(_BroadcastMutation):
    """The new broadcast, which has no recipients yet; or why there is none."""

    class Arguments:
        input = CreateBroadcastInput(required=True, description="The broadcast to create.")

    @classmethod
    def act(cls, context: MutationContext, given: Given) -> dict[str, object]:
        """Create it."""
        actor = context.actor
        made = lifecycle.create(
            tenant_id=actor.tenant_id,
            workspace_id=parse_id(given["workspace_id"], "workspaceId"),
            name=given["name"],
            template_name=given["template_name"],
            language=given.get("language"),
            shared=_shared_by(given),
            expires_at=utc(given.get("expires_at")),
            created_by=actor.label,
            now=clock.now(),
        )
        return _shown(made)


class AddBroadcastRecipients(_BroadcastMutation):
    """What became of the recipients; where one cannot be taken none is."""

    class Arguments:
        input = AddBroadcastRecipientsInput(required=True, description="The recipients to add.")

    report = graphene.Field(BroadcastListReport, description="What became of the recipients.")

    @classmethod
    def act(cls, context: MutationContext, given: Given) -> dict[str, object]:
        """Add them."""
        named = _named(context.actor, given)
        rows = [_row(place, one) for place, one in enumerate(given["recipients"], start=1)]
        report = audience.append(**named, rows=rows)
        broadcast = queries.find(**named)
        assert broadcast is not None  # noqa: S101 - rows were added to it
        return {**_shown(broadcast), "report": report}

    @classmethod
    def refused(cls, refusal: UnableToBroadcast) -> dict[str, object]:
        """Report which recipients cannot be taken."""
        return {"report": refusal.report} if isinstance(refusal, UnusableRows) else {}


class StartBroadcast(_BroadcastMutation):
    """The broadcast, whose rows are checked now, before the first message; or why not."""

    class Arguments:
        input = StartBroadcastInput(required=True, description="The broadcast to start.")

    @classmethod
    def act(cls, context: MutationContext, given: Given) -> dict[str, object]:
        """Start it."""
        started = lifecycle.start(
            **_named(context.actor, given),
            scheduled_at=utc(given.get("scheduled_at")),
            skip_invalid=bool(given.get("skip_invalid")),
            now=clock.now(),
        )
        return _shown(started)


class PauseBroadcast(_BroadcastMutation):
    """The broadcast, of which nothing more is sent for now; or why not."""

    class Arguments:
        input = BroadcastInput(required=True, description="The broadcast to pause.")

    @classmethod
    def act(cls, context: MutationContext, given: Given) -> dict[str, object]:
        """Pause it."""
        return _shown(lifecycle.pause(**_named(context.actor, given), now=clock.now()))


class ResumeBroadcast(_BroadcastMutation):
    """The broadcast, which goes on where it was paused; or why not."""

    class Arguments:
        input = BroadcastInput(required=True, description="The broadcast to resume.")

    @classmethod
    def act(cls, context: MutationContext, given: Given) -> dict[str, object]:
        """Resume it."""
        return _shown(lifecycle.resume(**_named(context.actor, given), now=clock.now()))


class RetryFailed(_BroadcastMutation):
    """The broadcast, which goes on with the people whose messages failed; or why not."""

    class Arguments:
        input = RetryFailedInput(required=True, description="Whose messages to send again.")

    count = graphene.Int(description="How many people are written to again, on success.")

    @classmethod
    def act(cls, context: MutationContext, given: Given) -> dict[str, object]:
        """Send again."""
        broadcast, count = lifecycle.retry_failed(
            **_named(context.actor, given), codes=given.get("codes"), now=clock.now()
        )
        return {**_shown(broadcast), "count": count}


class CancelBroadcast(_BroadcastMutation):
    """The broadcast, which has ended for good; or why not."""

    class Arguments:
        input = BroadcastInput(required=True, description="The broadcast to cancel.")

    @classmethod
    def act(cls, context: MutationContext, given: Given) -> dict[str, object]:
        """Cancel it."""
        return _shown(lifecycle.cancel(**_named(context.actor, given), now=clock.now()))


class BroadcastMutations(graphene.ObjectType):
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


class _NamedBroadcast(TypedDict):
    tenant_id: UUID
    broadcast_id: UUID


def _named(actor: Actor, given: Given) -> _NamedBroadcast:
    return {"tenant_id": actor.tenant_id, "broadcast_id": parse_id(given["id"], "id")}


def _shown(broadcast: Broadcast) -> dict[str, object]:
    return {"broadcast": ShownBroadcast(broadcast)}


def _row(position: int, given: Given) -> ListedPerson | RowProblem:
    """Return a given recipient as a row, or as what is wrong with it."""
    try:
        return make(
            position,
            phone=given.get("phone") or "",
            user_id=given.get("user_id") or "",
            reference=given.get("reference") or "",
            parameters=_shared_by(given),
        )
    except UnusableRow as error:
        return error.at(position)


def _shared_by(given: Given) -> TemplateParameters:
    """Return the template's values in an input, or raise the refusal."""
    try:
        return parameters_of(given.get("template_parameters"))
    except BadInput as error:
        code = BroadcastErrorCode.INVALID_INPUT
        raise UnableToBroadcast(code, "template_parameters", str(error)) from None
