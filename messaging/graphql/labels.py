"""GraphQL: a tenant's labels, and what all changes at the desk share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from lib.graphql import BadInput, NotFound, ObjectType, described_enum, list_of, parse_id
from messaging import labels
from messaging.conversation_states import ConversationState
from messaging.desk import DeskErrorCode, UnableToHandle
from messaging.labels import LabelRow
from workspaces.access import Scope
from workspaces.graphql.base import (
    MutationContext,
    ServiceMutation,
    caller,
    camel,
    errors_field,
    reason_fields,
    success_field,
)

STATES = {
    "OPEN": "To be answered.",
    "SNOOZED": "To be answered later: it opens at its time, or when the person writes.",
    "CLOSED": "Done, until the person writes.",
}
CODES = {
    "INVALID_INPUT": "Something is missing, malformed, or too long.",
    "CONVERSATION_NOT_FOUND": "Your tenant has no such conversation.",
    "LABEL_NOT_FOUND": "Your tenant has no such label.",
    "WORKSPACE_NOT_FOUND": "Your tenant has no such workspace.",
    "CANNED_REPLY_NOT_FOUND": "Your tenant has no such canned reply.",
    "NOTE_NOT_FOUND": "Your tenant has no such note.",
    "NOT_A_MEMBER": "The user is not a member of your tenant.",
    "INVALID_TIME": "The time does not go with the state, is past, or too far.",
    "TOO_MANY": "There are as many as there may be.",
    "DUPLICATE": "There is one of this name.",
}
ConversationStates = described_enum(
    ConversationState, "Whether a conversation is to be answered.", STATES
)
DeskErrorCodes = described_enum(DeskErrorCode, "Why nothing was changed.", CODES)


@contextmanager
def as_error() -> Iterator[None]:
    """Turn a refusal into an error of a query, which has no payload to put it in.

    Raises:
        NotFound: there is no such thing.
        BadInput: anything else that was refused.
    """
    try:
        yield
    except UnableToHandle as refusal:
        if refusal.code.endswith("NOT_FOUND"):
            raise NotFound(refusal.message) from None
        raise BadInput(f"{camel(refusal.field or 'input')}: {refusal.message}") from None


def given_of(given: Mapping[str, Any], *, nullable: str = "") -> dict[str, Any]:
    """Return an input as services read it: null is absent, but where null says something."""
    plain = {name: getattr(value, "value", value) for name, value in given.items()}
    return {name: value for name, value in plain.items() if value is not None or name == nullable}


class DeskError(graphene.ObjectType):
    """A reason why nothing was changed."""

    code, field, message = reason_fields(DeskErrorCodes)


ERRORS = errors_field(DeskError)


class LabelType(ObjectType, name="Label"):
    """A word that your tenant puts on conversations."""

    id = graphene.ID(required=True, description="The label's UUID.")
    name = graphene.String(required=True, description="What it is called.")
    colour = graphene.String(required=True, description="Its colour, as #rrggbb.")


class LabelQueries(graphene.ObjectType):
    """What can be read about labels."""

    labels = list_of(
        LabelType, "Your tenant's labels, in the order of the alphabet.", required=False
    )

    @staticmethod
    def resolve_labels(root: None, info: GraphQLResolveInfo) -> list[LabelRow]:
        """Return all of them."""
        return labels.read_labels(tenant_id=caller(info, Scope.MESSAGES_READ).tenant_id)


class CreateLabelInput(graphene.InputObjectType):
    """The label to make."""

    name = graphene.String(
        required=True, description="1 to 50 characters, in your tenant once, without case."
    )
    colour = graphene.String(description="As #rrggbb; grey unless given.")


class UpdateLabelInput(graphene.InputObjectType):
    """What to change of a label; what is left out stays."""

    label_id = graphene.ID(required=True, description="The label's UUID.")
    name = graphene.String(description="The new name.")
    colour = graphene.String(description="The new colour, as #rrggbb.")


class DeleteLabelInput(graphene.InputObjectType):
    """The label to delete."""

    label_id = graphene.ID(required=True, description="The label's UUID.")


class _LabelMutation(ServiceMutation, abstract=True):
    """Changes a label; the fields of all payloads."""

    scope, refusal = Scope.MESSAGES_SEND, UnableToHandle
    success = success_field()
    label = graphene.Field(LabelType, description="The label, on success.")
    errors = ERRORS


class CreateLabel(_LabelMutation):
    """Whether the label was made, and if not, why."""

    class Arguments:
        input = CreateLabelInput(required=True, description="The label to make.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Make it."""
        wanted = labels.read_new(given_of(given))
        return {"label": labels.create(tenant_id=context.actor.tenant_id, wanted=wanted)}


class UpdateLabel(_LabelMutation):
    """Whether the label was changed, and if not, why."""

    class Arguments:
        input = UpdateLabelInput(required=True, description="What to change.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Change it."""
        said = given_of(given)
        label_id = parse_id(said.pop("label_id"), "labelId")
        wanted = labels.read_change(said)
        changed = labels.update(tenant_id=context.actor.tenant_id, label_id=label_id, wanted=wanted)
        return {"label": changed}


class DeleteLabel(ServiceMutation):
    """Whether the label was deleted, and if not, why."""

    class Arguments:
        input = DeleteLabelInput(required=True, description="The label to delete.")

    scope, refusal = Scope.MESSAGES_SEND, UnableToHandle
    success = success_field()
    errors = ERRORS

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Delete it."""
        label_id = parse_id(given["label_id"], "labelId")
        labels.delete(tenant_id=context.actor.tenant_id, label_id=label_id)
        return {}


class LabelMutations(graphene.ObjectType):
    """What can be changed about labels."""

    create_label = CreateLabel.Field(required=True, description="Make a label.")
    update_label = UpdateLabel.Field(
        required=True, description="Rename a label, or give it another colour."
    )
    delete_label = DeleteLabel.Field(
        required=True, description="Delete a label, and take it off all conversations."
    )
