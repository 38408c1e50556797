"""GraphQL: what would become of a send."""

from __future__ import annotations

from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from lib import clock
from lib.graphql import described_enum, list_of
from messaging import lookups, numbers
from messaging.graphql.send_inputs import SendWhatsAppMessageInput
from messaging.graphql.sending import SendError, errors_of, request_of
from messaging.sending import preflight
from messaging.sending.preflight import Preflight
from messaging.sending.refusals import UnableToSend
from workspaces.access import Scope
from workspaces.graphql.base import caller

WOULD = {
    "QUEUE": "It would be queued.",
    "REPEAT": "It was queued before, under the same key; nothing more would happen.",
    "REFUSE": "It would be refused.",
}
SendOutcome = described_enum(
    preflight.Would, "What a request would come to.", WOULD, name="SendOutcome"
)
SendWarningCode = described_enum(
    preflight.WarningCode,
    "What to know before sending.",
    preflight.DESCRIPTIONS,
    name="SendWarningCode",
)


class SendWarning(graphene.ObjectType):
    """What may keep a queued message from arriving, or arriving soon."""

    code = graphene.Field(SendWarningCode, required=True, description="What, for programs.")
    message = graphene.String(required=True, description="What, for people.")
    platform_code = graphene.Int(description="Meta's error code for this, where there is one.")


class SendPreviewButton(graphene.ObjectType):
    """A button as the recipient sees it."""

    kind = graphene.String(required=True, description="Meta's word, such as URL.")
    text = graphene.String(required=True, description="Its label.")
    target = graphene.String(required=True, description="Its address or code; may be empty.")


class SendPreview(graphene.ObjectType):
    """A template as the recipient sees it."""

    header = graphene.String(required=True, description="The header; a file is its kind in [].")
    body = graphene.String(required=True, description="The text with its values.")
    footer = graphene.String(required=True, description="The footer; may be empty.")
    buttons = list_of(SendPreviewButton, "The buttons.")
    cards = list_of(lambda: SendPreview, "A carousel's cards.")


class SendTemplate(graphene.ObjectType):
    """The template that would be sent, as last synced."""

    id = graphene.ID(required=True, description="The template's UUID.")
    name = graphene.String(required=True, description="Its name.")
    language = graphene.String(required=True, description="Its language.")
    category = graphene.String(required=True, description="Meta's word, such as MARKETING.")
    status = graphene.String(required=True, description="Meta's word, such as APPROVED.")
    quality = graphene.String(required=True, description="Meta's word; empty: not told.")


class SendNumber(graphene.ObjectType):
    """The number that would send, as last synced; an empty text: not told."""

    number = graphene.String(required=True, description="The number, masked.")
    verified_name = graphene.String(required=True, description="The name people see.")
    status = graphene.String(required=True, description="Meta's word, such as CONNECTED.")
    quality_rating = graphene.String(required=True, description="GREEN, YELLOW, RED or UNKNOWN.")
    messaging_limit = graphene.String(required=True, description="Meta's word, such as TIER_2K.")

    @staticmethod
    def resolve_number(root: Any, info: GraphQLResolveInfo) -> str:
        """Mask the number."""
        return numbers.masked(root)


class SendPreflight(graphene.ObjectType):
    """What would become of a send, if it were asked for now."""

    would = graphene.Field(SendOutcome, required=True, description="What it would come to.")
    problems = list_of(SendError, "Every reason against it.")
    warnings = list_of(SendWarning, "What else is good to know.")
    message_id = graphene.ID(description="The message that was queued before (REPEAT).")
    window_open_until = graphene.DateTime(
        description="Until when more than templates may be sent; null: not now."
    )
    earliest_at = graphene.DateTime(
        description="When it could be sent at best; null: never, or nobody can say."
    )
    template = graphene.Field(SendTemplate, description="The template, where it was found.")
    preview = graphene.Field(SendPreview, description="The template as the recipient sees it.")
    number = graphene.Field(SendNumber, description="The number, where it was synced.")

    @staticmethod
    def resolve_problems(root: Preflight, info: GraphQLResolveInfo) -> list[SendError]:
        """Spell the reasons as this schema does."""
        return [error for problem in root.problems for error in errors_of(problem)]

    @staticmethod
    def resolve_number(root: Preflight, info: GraphQLResolveInfo) -> object:
        """Return what is known of the number."""
        return root.sender and root.sender.number


class PreflightQueries(graphene.ObjectType):
    """What can be asked before sending."""

    preflight_whats_app_message = graphene.Field(
        SendPreflight,
        input=SendWhatsAppMessageInput(required=True, description="The message to think about."),
        description="What sendWhatsAppMessage would say to this input; nothing is written.",
    )

    @staticmethod
    def resolve_preflight_whats_app_message(
        root: None, info: GraphQLResolveInfo, input: SendWhatsAppMessageInput
    ) -> Preflight:
        """Think it through."""
        actor = caller(info, Scope.MESSAGES_SEND)
        try:
            request = request_of(actor, input)
        except UnableToSend as refusal:
            return preflight.refused(refusal)
        lookups.count_preflight(actor, request)
        return preflight.preflight(tenant_id=actor.tenant_id, request=request, now=clock.now())
