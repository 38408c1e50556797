"""GraphQL: send, cancel, and mark as read. Refusals are data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from lib import clock
from lib.graphql import BadInput, described_enum
from messaging import lookups, queries
from messaging.graphql.messages import MessageType, ShownMessage
from messaging.graphql.send_inputs import SendWhatsAppMessageInput
from messaging.related import Related
from messaging.sending import queueing, reading, reads, refusals
from messaging.sending.queueing import Queued
from messaging.sending.refusals import UnableToSend
from messaging.sending.requests import SendRequest
from templates_wa.graphql.parameters import parameters_of
from templates_wa.parameters import write
from workspaces.access import Actor, Scope
from workspaces.graphql.base import (
    MutationContext,
    ServiceMutation,
    camel,
    errors_field,
    reason_fields,
    success_field,
)

SendErrorCode = described_enum(
    refusals.SendErrorCode, "Why a message was refused.", refusals.DESCRIPTIONS
)


class SendError(graphene.ObjectType):
    """A reason why something was refused; nothing was stored."""

    code, field, message = reason_fields(SendErrorCode)
    platform_code = graphene.Int(
        description="Meta's error code for this, where there is one, such as 131047."
    )


def errors_of(refusal: UnableToSend) -> list[SendError]:
    """Return every reason of a refusal, its fields spelled as GraphQL does."""
    return [
        SendError(
            code=reason.code,
            field=None if reason.field is None else _spelled(reason.field),
            message=reason.message,
            platform_code=reason.platform_code,
        )
        for reason in refusal.reasons
    ]


def _spelled(field: str) -> str:
    return camel(field.replace(".named", ".named_params", 1))


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


class SendingMutation(ServiceMutation, abstract=True):
    """Sends, or changes what was sent."""

    scope, refusal = Scope.MESSAGES_SEND, UnableToSend

    @classmethod
    def errors_of(cls, refusal: UnableToSend) -> list[SendError]:
        """Return every reason of a refusal."""
        return errors_of(refusal)


class _MessageMutation(SendingMutation, abstract=True):
    """The fields of payloads that are about a message."""

    success = success_field()
    message_id = graphene.ID(description="The message's UUID.")
    status = graphene.String(description="How far the message is, such as queued.")
    message = graphene.Field(MessageType, description="The message as stored; needs messages:read.")
    errors = errors_field(SendError, "Why not: every reason.")

    @staticmethod
    def resolve_message(root: Any, info: GraphQLResolveInfo) -> ShownMessage | None:
        """Read the message."""
        if root.message_id is None:
            return None
        actor: Actor = info.context.actor
        actor.require(Scope.MESSAGES_READ)
        row = queries.find(tenant_id=actor.tenant_id, message_id=UUID(str(root.message_id)))
        if row is None:
            return None
        return ShownMessage(row, Related(actor.tenant_id, [row], info.context.read_originals))


class SendWhatsAppMessage(_MessageMutation):
    """Whether the message was queued, and if not, why. Queued is not sent: see its status."""

    class Arguments:
        input = SendWhatsAppMessageInput(required=True, description="The message to send.")

    is_repeat = graphene.Boolean(
        required=True, description="Whether this was queued before, under the same key."
    )

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Queue it."""
        request, tenant_id = request_of(context.actor, given), context.actor.tenant_id
        with lookups.counted(context.actor, request):
            queued = queueing.queue(tenant_id=tenant_id, request=request, now=clock.now())
        return {**_done(queued), "is_repeat": queued.is_repeat}

    @classmethod
    def refused(cls, refusal: UnableToSend) -> dict[str, object]:
        """What was refused is no repeat."""
        return {"is_repeat": False}


class CancelMessageInput(graphene.InputObjectType):
    """The message to take back."""

    message_id = graphene.ID(required=True, description="The message's UUID.")


class CancelMessage(_MessageMutation):
    """Whether a message that was waiting to be sent was taken back."""

    class Arguments:
        input = CancelMessageInput(required=True, description="The message to take back.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Cancel it."""
        message_id = reading.id_of(given["message_id"], "message_id")
        cancelled = queueing.cancel(
            tenant_id=context.actor.tenant_id, message_id=message_id, now=clock.now()
        )
        return _done(cancelled)


def _done(queued: Queued) -> dict[str, object]:
    return {"message_id": queued.message_id, "status": queued.status}


class MarkMessageReadInput(graphene.InputObjectType):
    """What somebody read: a message, or all of a conversation; one of the two."""

    message_id = graphene.ID(description="The UUID of a person's message.")
    conversation_id = graphene.ID(description="The UUID of a conversation, of which all was read.")
    typing = graphene.Boolean(
        description="Whether to show the person for 25 seconds that an answer is being typed."
    )


class MarkMessageRead(SendingMutation):
    """Whether the platform will be told; what was written before counts as read too."""

    class Arguments:
        input = MarkMessageReadInput(required=True, description="The message that was read.")

    success = success_field("Whether it was marked.")
    errors = errors_field(SendError, "Why not: every reason.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Mark it."""
        typing, tenant_id = bool(given.get("typing")), context.actor.tenant_id
        message_id = _message_read(given, tenant_id)
        reads.mark(tenant_id=tenant_id, message_id=message_id, typing=typing, now=clock.now())
        return {}


def _message_read(given: Mapping[str, Any], tenant_id: UUID) -> UUID:
    message, conversation = given.get("message_id"), given.get("conversation_id")
    if (message is None) == (conversation is None):
        why = "Name what was read by messageId or by conversationId: one of the two."
        raise UnableToSend(refusals.SendErrorCode.INVALID_INPUT, "message_id", why)
    if message is not None:
        return reading.id_of(message, "message_id")
    conversation_id = reading.id_of(str(conversation), "conversation_id")
    return reads.last_written(tenant_id=tenant_id, conversation_id=conversation_id)


class SendingMutations(graphene.ObjectType):
    """What can be sent."""

    send_whats_app_message = SendWhatsAppMessage.Field(
        required=True, description="Queue one message to one person; it is sent right after."
    )
    cancel_message = CancelMessage.Field(
        required=True, description="Take back a message that waits to be sent."
    )
    mark_message_read = MarkMessageRead.Field(
        required=True, description="Show a person that their message was read."
    )
