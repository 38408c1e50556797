"""GraphQL: send, cancel, and mark as read. Refusals are data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any
from uuid import UUID

import graphene
from django.utils import timezone
from graphql import GraphQLResolveInfo

from lib.graphql import BadInput
from messaging import queries
from messaging.graphql.messages import Item, Message
from messaging.graphql.send_inputs import SendWhatsAppMessageInput
from messaging.related import Related
from messaging.sending import accepting, reading, reads, refusals
from messaging.sending.accepting import Queued
from messaging.sending.refusals import UnableToSend
from messaging.sending.requests import SendRequest
from templates_wa.graphql.parameters import parameters_of
from templates_wa.parameters import write
from workspaces.access import Actor
from workspaces.scopes import Scope

_SNAKE = re.compile(r"_([a-z])")


def _describe_code(value: refusals.SendErrorCode | None) -> str:
    return "Why a message was refused." if value is None else refusals.DESCRIPTIONS[value]


SendErrorCode = graphene.Enum.from_enum(refusals.SendErrorCode, description=_describe_code)


class SendError(graphene.ObjectType):
    """A reason why something was refused; nothing was stored."""

    code = graphene.Field(SendErrorCode, required=True, description="The reason, for programs.")
    field = graphene.String(description="The input field at fault.")
    message = graphene.String(required=True, description="The reason, for people.")
    platform_code = graphene.Int(
        description="Meta's error code for this, where there is one, such as 131047."
    )


def errors_of(refusal: UnableToSend) -> list[SendError]:
    """Return every reason of a refusal, its fields spelled as GraphQL does."""
    return [
        SendError(
            code=reason.code,
            field=None if reason.field is None else camel(reason.field),
            message=reason.message,
            platform_code=reason.platform_code,
        )
        for reason in refusal.reasons
    ]


def camel(field: str) -> str:
    """Return a field's name as this schema spells it."""
    return _SNAKE.sub(lambda found: found[1].upper(), field.replace(".named", ".named_params", 1))


def request_of(actor: Actor, given: Mapping[str, Any]) -> SendRequest:
    """Return the request in an input.

    Raises:
        UnableToSend: it is not one.
        workspaces.access.NotAllowed: only whoever manages sending may force.
    """
    try:
        plain = {name: _plain(v) for name, v in given.items() if name != "template_parameters"}
    except RecursionError:
        code = refusals.SendErrorCode.INVALID_INPUT
        raise UnableToSend(code, "interactive", "This is nested too deeply.") from None
    if given.get("template_parameters") is not None:
        try:
            plain["template_parameters"] = write(parameters_of(given["template_parameters"]))
        except BadInput as error:
            code = refusals.SendErrorCode.INVALID_INPUT
            raise UnableToSend(code, "template_parameters", str(error)) from None
    if plain.get("force"):
        actor.require(Scope.SENDING_MANAGE)
    return reading.request_of(plain)


def _plain(value: Any) -> Any:
    """Return an input without graphene's own types."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


class _Outcome:
    """The fields that the payloads have in common."""

    success = graphene.Boolean(required=True, description="Whether it was done.")
    message_id = graphene.ID(description="The message's UUID.")
    status = graphene.String(description="How far the message is, such as queued.")
    message = graphene.Field(Message, description="The message as stored; needs messages:read.")
    errors = graphene.List(
        graphene.NonNull(SendError), required=True, description="Why not: every reason."
    )

    @staticmethod
    def resolve_message(root: Any, info: GraphQLResolveInfo) -> Item | None:
        """Read the message."""
        if root.message_id is None:
            return None
        actor: Actor = info.context.actor
        actor.require(Scope.MESSAGES_READ)
        row = queries.find(tenant_id=actor.tenant_id, message_id=UUID(str(root.message_id)))
        if row is None:
            return None
        return Item(row, Related(actor.tenant_id, [row], info.context.read_originals))


class SendWhatsAppMessage(_Outcome, graphene.Mutation):
    """Whether the message was accepted, and if not, why. Accepted is not sent: see its status."""

    class Meta:
        name = "SendWhatsAppMessagePayload"

    class Arguments:
        input = SendWhatsAppMessageInput(required=True, description="The message to send.")

    is_repeat = graphene.Boolean(
        required=True, description="Whether this was accepted before, under the same key."
    )

    @staticmethod
    def mutate(
        root: None, info: GraphQLResolveInfo, input: SendWhatsAppMessageInput
    ) -> SendWhatsAppMessage:
        """Accept it, or say why not."""
        actor = _sender(info)
        try:
            request = request_of(actor, input)
            queued = accepting.queue(tenant_id=actor.tenant_id, request=request, now=timezone.now())
        except UnableToSend as refusal:
            return SendWhatsAppMessage(success=False, is_repeat=False, errors=errors_of(refusal))
        return SendWhatsAppMessage(is_repeat=queued.is_repeat, **_done(queued))


class CancelMessageInput(graphene.InputObjectType):
    """The message to take back."""

    message_id = graphene.ID(required=True, description="The message's UUID.")


class CancelMessage(_Outcome, graphene.Mutation):
    """Whether a message that was waiting to be sent was taken back."""

    class Meta:
        name = "CancelMessagePayload"

    class Arguments:
        input = CancelMessageInput(required=True, description="The message to take back.")

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: CancelMessageInput) -> CancelMessage:
        """Cancel it, or say why not."""
        actor = _sender(info)
        try:
            cancelled = accepting.cancel(
                tenant_id=actor.tenant_id, message_id=reading.id_of(input.message_id, "message_id"),
                now=timezone.now(),
            )  # fmt: skip
        except UnableToSend as refusal:
            return CancelMessage(success=False, errors=errors_of(refusal))
        return CancelMessage(**_done(cancelled))


class MarkMessageReadInput(graphene.InputObjectType):
    """The message that somebody read."""

    message_id = graphene.ID(required=True, description="The UUID of a person's message.")
    typing = graphene.Boolean(
        description="Whether to show the person for 25 seconds that an answer is being typed."
    )


class MarkMessageRead(graphene.Mutation):
    """Whether the platform will be told; what was written before counts as read too."""

    class Meta:
        name = "MarkMessageReadPayload"

    class Arguments:
        input = MarkMessageReadInput(required=True, description="The message that was read.")

    success = graphene.Boolean(required=True, description="Whether it was marked.")
    errors = graphene.List(
        graphene.NonNull(SendError), required=True, description="Why not: every reason."
    )

    @staticmethod
    def mutate(
        root: None, info: GraphQLResolveInfo, input: MarkMessageReadInput
    ) -> MarkMessageRead:
        """Mark it, or say why not."""
        actor = _sender(info)
        try:
            reads.mark(
                tenant_id=actor.tenant_id, message_id=reading.id_of(input.message_id, "message_id"),
                typing=bool(input.get("typing")), now=timezone.now(),
            )  # fmt: skip
        except UnableToSend as refusal:
            return MarkMessageRead(success=False, errors=errors_of(refusal))
        return MarkMessageRead(success=True, errors=[])


class Mutation(graphene.ObjectType):
    """What can be sent."""

    send_whats_app_message = SendWhatsAppMessage.Field(
        required=True, description="Accept one message to one person; it is sent right after."
    )
    cancel_message = CancelMessage.Field(
        required=True, description="Take back a message that waits to be sent."
    )
    mark_message_read = MarkMessageRead.Field(
        required=True, description="Show a person that their message was read."
    )


def _sender(info: GraphQLResolveInfo) -> Actor:
    actor: Actor = info.context.actor
    actor.require(Scope.MESSAGES_SEND)
    return actor


def _done(queued: Queued) -> dict[str, Any]:
    return {
        "success": True, "message_id": queued.message_id, "status": queued.status, "errors": [],
    }  # fmt: skip
