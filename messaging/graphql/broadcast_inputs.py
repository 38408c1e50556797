"""GraphQL: what a caller wants of a broadcast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import graphene

from lib.graphql import BadInput
from messaging.broadcasts.refusals import BroadcastErrorCode, UnableToBroadcast
from messaging.broadcasts.rows import Row, RowProblem, UnusableRow, make
from templates_wa.graphql.parameters import TemplateParametersInput, parameters_of
from templates_wa.parameters import TemplateParameters

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
        description="His own values; they go before those that all share."
    )


class AddBroadcastRecipientsInput(graphene.InputObjectType):
    """Recipients for a broadcast that was not started yet."""

    id = graphene.ID(required=True, description="The broadcast's UUID.")
    recipients = graphene.List(
        graphene.NonNull(BroadcastRecipientInput), required=True, description="1 to 1,000 people."
    )


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

    codes = graphene.List(
        graphene.NonNull(graphene.Int),
        description="Only those that failed with one of these codes of Meta's; all, unless given.",
    )


def rows_of(recipients: Sequence[Given]) -> list[Row | RowProblem]:
    """Return the given recipients as rows, or as what is wrong with them, numbered from 1."""
    return [_row(position, given) for position, given in enumerate(recipients, start=1)]


def _row(position: int, given: Given) -> Row | RowProblem:
    try:
        return make(
            position, phone=given.get("phone") or "", user_id=given.get("user_id") or "",
            reference=given.get("reference") or "", parameters=shared_by(given),
        )  # fmt: skip
    except UnusableRow as error:
        return error.at(position)


def shared_by(given: Given) -> TemplateParameters:
    """Return the template's values in an input.

    Raises:
        UnableToBroadcast: they are not such values.
    """
    try:
        return parameters_of(given.get("template_parameters"))
    except BadInput as error:
        code = BroadcastErrorCode.INVALID_INPUT
        raise UnableToBroadcast(code, "template_parameters", str(error)) from None
