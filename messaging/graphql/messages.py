"""GraphQL: a message as callers see it, with its sender, receipts, payments and file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from lib.graphql import JSON, ObjectType, column, described_enum, list_of, none_if_empty
from messaging import events, models, sealed_values
from messaging.blocks import BlockRow
from messaging.media import can_be_had, download_url, thumbnail_url
from messaging.payments import Payment
from messaging.queries import ContactRow, MessageRow
from messaging.related import Original, Related, ShownConversation
from workspaces import models as workspaces
from workspaces.access import Scope
from workspaces.graphql.schema import Platform, WorkspaceType

DIRECTIONS = {
    "INBOUND": "A person wrote to the business.",
    "OUTBOUND": "The business wrote to a person.",
}
SOURCES = {
    "LIVE": "A callback at the time it happened.",
    "ECHO": "Sent by the business with WhatsApp's own app, and echoed to us.",
    "HISTORY": "Imported from the number's history.",
    "API": "Sent through this API.",
}
MEDIA_STATES = {
    "AVAILABLE": "The platform can be asked for the file.",
    "GONE": "The platform no longer has the file, or the sender deleted the message.",
}
ARCHIVE_STATES = {
    "PENDING": "It is still to be fetched for the archive.",
    "KEPT": "It is kept here, and served from here.",
    "LOST": "It could not be had while the platform had it, or cannot be kept; the error says why.",
    "REFUSED": "The virus scanner refuses it, and so it is not served, archive or not.",
    "REMOVED": "It was kept until its time was over.",
}
ARCHIVE_ERRORS = {
    "PLATFORM_AWAY": "The platform gave no proper answer, or broke off.",
    "PLATFORM_REJECTED": "The platform refuses the access token.",
    "NOT_CONFIGURED": "The tenant has no access token.",
    "MEDIA_GONE": "The platform has no such file, or the access token may not see it.",
    "TOO_LARGE": "It is larger than this installation keeps.",
    "SIZE_MISMATCH": "It has not the size that the platform said.",
    "CHECKSUM_MISMATCH": "It has not the SHA-256 that the platform said.",
    "STORAGE_AWAY": "The storage of files cannot be written.",
    "SCANNER_AWAY": "The virus scanner gives no verdict.",
    "INFECTED": "The virus scanner refuses it.",
    "FAILED": "Something that nobody thought of; the log says more.",
}
MessageDirection = described_enum(
    events.Direction, "Who spoke.", DIRECTIONS, name="MessageDirection"
)
BLOCK_STATES = {
    "BLOCKING": "Pending: Meta is told, again if it was away.",
    "BLOCKED": "Meta blocks the person: they cannot write to the number, nor it to them.",
    "UNBLOCKING": "Pending: Meta still blocks the person.",
    "UNBLOCKED": "Meta blocks them no longer; forgotten with the next reading of its list.",
    "REFUSED": "Meta did not block the person; error says why. Forgotten after 7 days.",
}
MessageSource = described_enum(
    events.Source, "How we learned of a message.", SOURCES, name="MessageSource"
)
BlockStates = described_enum(
    models.BlockState, "How far a block is.", BLOCK_STATES, name="BlockState"
)
MediaState = described_enum(models.MediaState, "Whether the platform has a file.", MEDIA_STATES)
ArchiveState = described_enum(
    models.ArchiveState, "What became of a file that the tenant's archive wants.", ARCHIVE_STATES
)
ArchiveError = described_enum(
    models.ArchiveError, "Why a file is not in the archive, or not yet.", ARCHIVE_ERRORS
)


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message on its page."""

    row: MessageRow
    related: Related


class SenderType(ObjectType, name="Sender"):
    """Who spoke."""

    display_name = graphene.String(
        description="The person's profile name, or else their name in the business's address "
        "book; the workspace's name where the business spoke."
    )
    platform_user_id = graphene.String(
        description="Digest of the phone number or user id under the tenant's salt."
    )


class ContactBlockType(ObjectType, name="ContactBlock"):
    """That one number of the business blocks a person at Meta, is to, or could not."""

    id = graphene.ID(required=True, description="The block's UUID.")
    workspace_id = graphene.ID(required=True, description="The workspace (number) that blocks.")
    contact_id = graphene.ID(required=True, description="The contact's UUID.")
    state = graphene.Field(BlockStates, required=True, description="How far it is.")
    by = graphene.String(
        required=True,
        description="Who wanted the last change: user or api_key and an id; rule: the number's "
        "rule; platform: it was found in Meta's list.",
    )
    asked_at = graphene.DateTime(required=True, description="When that was wanted.")
    changed_at = graphene.DateTime(required=True, description="Since when it is in its state.")
    blocked_at = graphene.DateTime(description="Since when Meta blocks the person.")
    error_code = graphene.Int(description="Meta's code of what went wrong last.")
    error = graphene.String(description="What went wrong last, and what can be done about it.")

    resolve_error = none_if_empty("error")


class Acquaintances(Protocol):
    """What is known of some people, loaded for all of them at once when first asked for."""

    @property
    def opted_out(self) -> set[UUID]:
        """Those who want no marketing."""

    @property
    def blocks(self) -> Mapping[UUID, Sequence[BlockRow]]:
        """Whom which numbers block, by contact id."""


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """A person among others."""

    contact: ContactRow
    among: Acquaintances


def _fact(name: str, _: object, root: Acquaintance, info: GraphQLResolveInfo) -> object:
    if name in root.contact.sealed and not info.context.actor.may(Scope.MESSAGES_READ):
        return sealed_values.NEEDS_MESSAGES_READ
    return getattr(root.contact, name)


class ContactType(ObjectType, name="Contact", default_resolver=_fact):
    """A person the tenant talks with."""

    id = graphene.ID(required=True, description="The contact's UUID.")
    display_name = graphene.String(
        required=True,
        description="The profile name, or else the name in the business's address book; may be "
        'empty. One that holds a phone number is "[purged]" once Raw is, and needs messages:read, '
        'else "[needs messages:read]".',
    )
    username = graphene.String(
        required=True,
        description="The WhatsApp username; may be empty. One that holds a phone number is kept as "
        "such a displayName.",
    )
    opted_out = graphene.Boolean(
        required=True, description="Whether the person wants no marketing templates."
    )
    blocks = list_of(
        ContactBlockType, "The numbers of yours that block the person, are to, or could not."
    )

    @staticmethod
    def resolve_opted_out(root: Acquaintance, info: GraphQLResolveInfo) -> bool:
        """Tell whether the person opted out."""
        return root.contact.id in root.among.opted_out

    @staticmethod
    def resolve_blocks(root: Acquaintance, info: GraphQLResolveInfo) -> Sequence[BlockRow]:
        """Return which numbers block the person."""
        return root.among.blocks.get(root.contact.id, ())


def _reported(name: str, _: object, root: Mapping[str, object], info: GraphQLResolveInfo) -> object:
    value = root.get(name)
    return (
        datetime.fromisoformat(value) if name.endswith("_at") and isinstance(value, str) else value
    )


class MessageStatusType(ObjectType, name="MessageStatus"):
    """One receipt as the platform reported it."""

    status = graphene.String(
        required=True, description="The platform's word: sent, delivered, read, played, failed …"
    )
    timestamp_utc = graphene.DateTime(required=True, description="When it happened.")
    participant = graphene.String(
        resolver=none_if_empty("participant"),
        description="Digest of the group member it is about; null outside groups.",
    )
    errors = list_of(
        JSON,
        "The platform's errors, where there are any, as they came. A sentence that "
        'holds a phone number needs raw:read, and is "[purged]" once Raw is.',
        required=False,
    )
    pricing = graphene.Field(JSON, description="The platform's pricing facts, where given.")


class PaymentType(ObjectType, name="Payment"):
    """One receipt of a payment that a message asked for; the message's own status is another."""

    status = graphene.String(
        required=True, description="The platform's word: pending, captured, success, failed …"
    )
    timestamp_utc = graphene.DateTime(required=True, description="When it happened.")
    reference_id = graphene.String(description="The business's own reference of the order.")
    amount = graphene.String(description="A decimal number, in units of the currency.")
    currency = graphene.String(description="ISO 4217, such as INR.")
    transaction_id = graphene.String(description="The payment gateway's id, where told.")
    transaction_type = graphene.String(description="The way of paying, such as upi.")
    transaction_status = graphene.String(description="The platform's word for the transaction.")
    details = graphene.Field(JSON, required=True, description="All that was told, as it came.")


class Delivery(ObjectType, default_resolver=_reported):
    """How far an outbound message got."""

    scheduled_at = graphene.DateTime(description="When it was to be sent, where you said so.")
    accepted_at = graphene.DateTime(description="When the platform took it from us.")
    unknown_at = graphene.DateTime(
        description="When its request was lost sight of: only a receipt can tell what became of it."
    )
    cancelled_at = graphene.DateTime(description="When you took it back.")
    sent_at = graphene.DateTime(description="When the platform had sent it.")
    delivered_at = graphene.DateTime(description="When it reached the person's device.")
    read_at = graphene.DateTime(description="When the person had read it.")
    played_at = graphene.DateTime(description="When the person had played it (voice notes).")
    failed_at = graphene.DateTime(description="When the platform gave up.")
    errors = list_of(JSON, "The platform's errors of a failure.", required=False)
    past_errors = list_of(
        JSON, "Errors that were reported of a message that arrived all the same.", required=False
    )
    last_error = graphene.Field(
        JSON, description="Why the last attempt failed, of a message that is tried again."
    )
    waiting = graphene.String(
        description="What holds a queued message, in a sentence: a pause of the tenant or number, "
        "a paused broadcast, its schedule, the pace to one person, a limit, its template."
    )
    remedy = graphene.String(
        description="What helps, of a message that failed for its file (131052, 131053)."
    )
    pricing = graphene.Field(JSON, description="What the platform charges it as.")


class MediaType(ObjectType, name="Media"):
    """A file that a message carries; its bytes stay with the platform until somebody asks, unless
    the tenant has an archive.
    """

    id = graphene.ID(required=True, description="The file's UUID.")
    mime_type = graphene.String(
        required=True, description="The sender's word for the kind of file."
    )
    sha256 = graphene.String(
        required=True, description="Base64 of its SHA-256, as the platform says."
    )
    filename = graphene.String(required=True, description="The sender's file name; may be empty.")
    size_bytes = graphene.BigInt(description="Its size, where known.")
    voice = graphene.Boolean(required=True, description="Whether it was recorded as a voice note.")
    animated = graphene.Boolean(required=True, description="Whether it is an animated sticker.")
    state = graphene.Field(MediaState, required=True, description="Whether the platform has it.")
    archive_state = graphene.Field(
        ArchiveState, description="What became of it in the archive; null where there is none."
    )
    archive_error = graphene.Field(
        ArchiveError, description="Why it is not in the archive, or not yet."
    )
    expires_at = graphene.DateTime(description="When the platform will forget it, where known.")
    download_url = graphene.String(
        description="A link that serves the file to anybody for 15 minutes; needs media:read. "
        "Null where the file is gone."
    )
    thumbnail_url = graphene.String(
        description="A link to a small JPEG of a picture in the archive, likewise; null where "
        "there is none."
    )

    @staticmethod
    def resolve_thumbnail_url(root: models.Media, info: GraphQLResolveInfo) -> str | None:
        """Sign a link, for callers who may have the file."""
        info.context.actor.require(Scope.MEDIA_READ)
        return thumbnail_url(root)

    @staticmethod
    def resolve_download_url(root: models.Media, info: GraphQLResolveInfo) -> str | None:
        """Sign a link, for callers who may have the file."""
        info.context.actor.require(Scope.MEDIA_READ)
        return download_url(root) if can_be_had(root) else None


class MessageType(ObjectType, name="Message", default_resolver=column):
    """One message, received or sent."""

    id = graphene.ID(required=True, description="The message's UUID; later ones sort higher.")
    workspace = graphene.Field(
        WorkspaceType, required=True, description="The number it belongs to."
    )
    platform = graphene.Field(Platform, required=True, description="The messaging platform.")
    platform_message_id = graphene.String(
        description="Digest of the platform's message id: that id itself spells the phone number. "
        "Null until the platform took a message of ours."
    )
    wamid = graphene.String(
        description="The platform's message id in plaintext; needs raw:read. Null once purged."
    )
    direction = graphene.Field(MessageDirection, required=True, description="Who spoke.")
    source = graphene.Field(MessageSource, required=True, description="How we learned of it.")
    type = graphene.String(
        required=True, description="The platform's word: text, image, interactive, reaction …"
    )
    text = graphene.String(
        description="Text, caption or label, where this type has one. A label that holds a phone "
        'number is "[purged]" once Raw is.'
    )
    content = graphene.Field(
        JSON,
        required=True,
        description="The structured rest, by type, as it came. Values that hold a phone number are "
        '"[purged]" once Raw is; numbers on shared cards need raw:read, else "[needs raw:read]".',
    )
    timestamp_utc = graphene.DateTime(required=True, description="When it was sent.")
    sender = graphene.Field(SenderType, required=True, description="Who spoke.")
    contact = graphene.Field(ContactType, description="The person at the other end, where known.")
    conversation = graphene.Field(
        "messaging.graphql.conversations.ConversationType",
        description="The conversation it is said in; null in groups, and of what begins none.",
    )
    group_id = graphene.String(
        description="Digest of the group's id, where it was said in a group; null in private. An "
        "answer to its sender would be private."
    )
    reply_to = graphene.String(
        description="platformMessageId of what this answers, reacts to, edits or revokes."
    )
    status = graphene.String(
        description="How far an outbound message got, in the platform's words; never goes back."
    )
    statuses = list_of(MessageStatusType, "All receipts, oldest first.")
    payments = list_of(PaymentType, "What was told of the payment it asked for, oldest first.")
    delivery = graphene.Field(
        Delivery, required=True, description="Times, errors and pricing of an outbound message."
    )
    attempts = graphene.Int(required=True, description="How often we began to send it.")
    next_attempt_at = graphene.DateTime(
        description="When it is sent, or tried again, at the earliest; null unless it is queued."
    )
    expires_at = graphene.DateTime(
        description="When it is no longer worth sending; null where you said nothing."
    )
    media = graphene.Field(MediaType, description="The file it carries, where there is one.")
    edited_at = graphene.DateTime(description="When its text was last edited.")
    revoked_at = graphene.DateTime(description="When the sender deleted it for everyone.")
    raw = graphene.Field(
        JSON,
        description="The platform's original JSON object, phone number included; needs raw:read. "
        "Null once purged.",
    )

    @staticmethod
    def resolve_workspace(root: ShownMessage, info: GraphQLResolveInfo) -> workspaces.Workspace:
        """Return the workspace."""
        return root.related.workspaces[root.row.workspace_id]

    @staticmethod
    def resolve_sender(root: ShownMessage, info: GraphQLResolveInfo) -> SenderType:
        """Name whoever spoke."""
        return SenderType(display_name=_name_of(root), platform_user_id=root.row.sender or None)

    @staticmethod
    def resolve_contact(root: ShownMessage, info: GraphQLResolveInfo) -> Acquaintance | None:
        """Return the person at the other end."""
        contact = _contact_of(root)
        return contact and Acquaintance(contact, root.related)

    @staticmethod
    def resolve_conversation(
        root: ShownMessage, info: GraphQLResolveInfo
    ) -> ShownConversation | None:
        """Return the conversation."""
        return root.related.conversation_of(root.row)

    @staticmethod
    def resolve_statuses(
        root: ShownMessage, info: GraphQLResolveInfo
    ) -> list[models.MessageStatus]:
        """Return the receipts."""
        with_numbers = info.context.actor.may(Scope.RAW_READ)
        return root.related.statuses(root.row, with_numbers=with_numbers)

    @staticmethod
    def resolve_payments(root: ShownMessage, info: GraphQLResolveInfo) -> list[Payment]:
        """Return the receipts of payments."""
        return root.related.payments(root.row)

    @staticmethod
    def resolve_text(root: ShownMessage, info: GraphQLResolveInfo) -> str | None:
        """Return the text as it came."""
        return root.related.opened.text_of(root.row)

    @staticmethod
    def resolve_content(root: ShownMessage, info: GraphQLResolveInfo) -> object:
        """Read the column's JSON and put what is sealed in its place."""
        with_numbers = info.context.actor.may(Scope.RAW_READ)
        content = sealed_values.decode(root.row.content)
        return root.related.opened.fill(root.row.id, content, with_numbers=with_numbers)

    @staticmethod
    def resolve_delivery(root: ShownMessage, info: GraphQLResolveInfo) -> object:
        """Read the column's JSON, and say what holds the message."""
        with_numbers = info.context.actor.may(Scope.RAW_READ)
        return root.related.delivery_of(root.row, with_numbers=with_numbers)

    @staticmethod
    def resolve_attempts(root: ShownMessage, info: GraphQLResolveInfo) -> int:
        """Count what the outbox counts, while the message is in it."""
        return root.related.holds.attempts_of(root.row)

    @staticmethod
    def resolve_next_attempt_at(root: ShownMessage, info: GraphQLResolveInfo) -> datetime | None:
        """Ask the outbox."""
        return root.related.holds.due_at(root.row)

    @staticmethod
    def resolve_media(root: ShownMessage, info: GraphQLResolveInfo) -> models.Media | None:
        """Return the file."""
        return root.related.media.get(root.row.id)

    @staticmethod
    def resolve_wamid(root: ShownMessage, info: GraphQLResolveInfo) -> str | None:
        """Open the platform's message id."""
        original = _original_of(root, info)
        return original.wamid if original else None

    @staticmethod
    def resolve_raw(root: ShownMessage, info: GraphQLResolveInfo) -> object:
        """Open the original."""
        original = _original_of(root, info)
        return original.body if original else None


def _original_of(root: ShownMessage, info: GraphQLResolveInfo) -> Original | None:
    info.context.actor.require(Scope.RAW_READ)
    return root.related.originals.get(root.row.id)


def _contact_of(root: ShownMessage) -> ContactRow | None:
    contact_id = root.row.contact_id
    return root.related.contacts.get(contact_id) if contact_id else None


def _name_of(root: ShownMessage) -> str | None:
    if root.row.direction == events.Direction.OUTBOUND:
        return root.related.workspaces[root.row.workspace_id].name
    contact = _contact_of(root)
    return (contact.display_name or None) if contact else None
