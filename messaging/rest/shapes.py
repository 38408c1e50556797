"""What the REST door answers, and the small things it is asked; OpenAPI's shapes are these."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from messaging.conversation_states import ConversationState
from templates_wa.parameters import TemplateParameters


def _says(text: str) -> Meta:
    return Meta(description=text)


class _Shape(Struct, frozen=True, kw_only=True):
    """Common to all."""


class Accepted(_Shape, frozen=True):
    """A message that was queued; queued is not sent: ask for the message to know."""

    message_id: Annotated[UUID, _says("The message's UUID.")]
    status: Annotated[str, _says("How far it is: queued, or further where it was sent before.")]
    is_repeat: Annotated[bool, _says("Whether it was queued before, under the same key.")]


class PaymentShape(_Shape, frozen=True):
    """One receipt of a payment that a message asked for."""

    status: Annotated[str, _says("Meta's word: pending, captured, success, failed …")]
    timestamp_utc: Annotated[datetime, _says("When it happened.")]
    reference_id: Annotated[str | None, _says("The business's own reference of the order.")]
    amount: Annotated[str | None, _says("A decimal number, in units of the currency.")]
    currency: Annotated[str | None, _says("ISO 4217, such as INR.")]
    transaction_id: Annotated[str | None, _says("The payment gateway's id, where told.")]
    transaction_type: Annotated[str | None, _says("The way of paying, such as upi.")]
    transaction_status: Annotated[str | None, _says("Meta's word for the transaction.")]
    details: Annotated[dict[str, Any], _says("All that was told, as it came.")]


class MediaShape(_Shape, frozen=True):
    """A file that a message carries."""

    id: Annotated[UUID, _says("The file's UUID, as in `/media/<id>`.")]
    mime_type: Annotated[str, _says("The sender's word for the kind of file.")]
    sha256: Annotated[str, _says("Base64 of its SHA-256, as the platform says.")]
    filename: Annotated[str, _says("The sender's file name; may be empty.")]
    size_bytes: Annotated[int | None, _says("Its size, where known.")]
    voice: Annotated[bool, _says("Whether it was recorded as a voice note.")]
    animated: Annotated[bool, _says("Whether it is an animated sticker.")]
    state: Annotated[str, _says("AVAILABLE at the platform, or GONE there.")]
    expires_at: Annotated[datetime | None, _says("When the platform will forget it.")]
    archive_state: Annotated[
        str | None,
        _says("PENDING, KEPT, LOST, REFUSED or REMOVED; null where there is no archive."),
    ]
    archive_error: Annotated[str | None, _says("Why it is not in the archive, or not yet.")]
    download_url: Annotated[
        str | None,
        _says("Serves the file for 15 minutes; null where it is gone, or without `media:read`."),
    ]
    thumbnail_url: Annotated[
        str | None, _says("Serves a small JPEG of a picture in the archive, likewise.")
    ]


class MessageShape(_Shape, frozen=True):
    """A message as it is stored."""

    id: Annotated[UUID, _says("The message's UUID.")]
    workspace_id: Annotated[UUID, _says("The workspace (number) it belongs to.")]
    contact_id: Annotated[UUID | None, _says("The person at the other end, where known.")]
    conversation_id: Annotated[
        UUID | None,
        _says("The conversation it is said in; null in groups, and of what begins none."),
    ]
    platform_message_id: Annotated[
        str | None, _says("Digest of the platform's id; null until the platform took it.")
    ]
    direction: Annotated[str, _says("INBOUND or OUTBOUND.")]
    source: Annotated[str, _says("API for what was sent here; LIVE, ECHO, HISTORY otherwise.")]
    type: Annotated[str, _says("The platform's word: text, image, template …")]
    text: Annotated[str | None, _says("Text, caption or label, where there is one.")]
    content: Annotated[dict[str, Any], _says("The structured rest, by type.")]
    reply_to: Annotated[str | None, _says("platform_message_id of what it answers.")]
    group_id: Annotated[
        str | None, _says("Digest of the group's id, where it was said in a group; else null.")
    ]
    timestamp_utc: Annotated[datetime, _says("When it was sent, or queued here.")]
    status: Annotated[
        str | None,
        _says(
            "queued, sending, accepted, held, sent, delivered, read, played, failed, unknown or "
            "cancelled."
        ),
    ]
    delivery: Annotated[dict[str, Any], _says("Times, errors, pricing; what holds it.")]
    payments: Annotated[list[PaymentShape], _says("What was told of the payment it asked for.")]
    media: Annotated[MediaShape | None, _says("The file it carries, where there is one.")]


class BlockShape(_Shape, frozen=True):
    """That one number of the business blocks a person at Meta, is to, or could not."""

    id: Annotated[UUID, _says("The block's UUID.")]
    workspace_id: Annotated[UUID, _says("The workspace (number) that blocks.")]
    contact_id: Annotated[UUID, _says("The contact's UUID.")]
    state: Annotated[
        str,
        _says(
            "BLOCKING and UNBLOCKING are pending; BLOCKED, UNBLOCKED; REFUSED: Meta did not block."
        ),
    ]
    by: Annotated[
        str,
        _says(
            "Who wanted the last change: user or api_key and an id; rule: the number's rule; "
            "platform: it was found in Meta's list."
        ),
    ]
    asked_at: Annotated[datetime, _says("When that was wanted.")]
    changed_at: Annotated[datetime, _says("Since when it is in its state.")]
    blocked_at: Annotated[datetime | None, _says("Since when Meta blocks the person.")]
    error_code: Annotated[int | None, _says("Meta's code of what went wrong last.")]
    error: Annotated[str, _says("What went wrong last, and what can be done; empty: nothing.")]


class ContactShape(_Shape, frozen=True):
    """A person the tenant talks with."""

    id: Annotated[UUID, _says("The contact's UUID.")]
    display_name: Annotated[
        str,
        _says(
            "The profile name, or else the name in the business's address book; may be empty. One "
            "that holds a phone number is `[purged]` once Raw is, and needs `messages:read`, else "
            "`[needs messages:read]`."
        ),
    ]
    username: Annotated[
        str, _says("The WhatsApp username; may be empty. It is kept as the display name is.")
    ]
    opted_out: Annotated[bool, _says("Whether the person wants no marketing templates.")]
    blocks: Annotated[
        list[BlockShape], _says("The numbers that block the person, are to, or could not.")
    ]


class LookupInput(_Shape, frozen=True, forbid_unknown_fields=True):
    """Whose contact to look for."""

    phone: Annotated[str, _says("The phone number (E.164), which is digested and not kept.")]


class LookupShape(_Shape, frozen=True):
    """Who has a phone number."""

    contact: Annotated[ContactShape | None, _says("The person; null where there is none.")]


class LabelShape(_Shape, frozen=True):
    """A word that a tenant puts on conversations."""

    id: Annotated[UUID, _says("The label's UUID.")]
    name: Annotated[str, _says("What it is called.")]
    colour: Annotated[str, _says("Its colour, as #rrggbb.")]


class LabelsShape(_Shape, frozen=True):
    """All labels of a tenant."""

    nodes: Annotated[list[LabelShape], _says("In the order of the alphabet.")]


class ConversationShape(_Shape, frozen=True):
    """What is said between one number of the business and one person."""

    id: Annotated[UUID, _says("The conversation's UUID.")]
    workspace_id: Annotated[UUID, _says("The workspace (number) it belongs to.")]
    contact: Annotated[ContactShape | None, _says("The person.")]
    last_message: Annotated[MessageShape | None, _says("The newest message of either side.")]
    last_message_at: Annotated[datetime, _says("When that was sent.")]
    unread_count: Annotated[
        int, _says("Messages of the person that nobody of the business has read.")
    ]
    window_open_until: Annotated[
        datetime | None,
        _says("Until when anything but a template may be sent; null while only those may."),
    ]
    state: Annotated[ConversationState, _says("Whether it is to be answered.")]
    snoozed_until: Annotated[datetime | None, _says("When it comes back, while it is SNOOZED.")]
    assignee_id: Annotated[
        int | None, _says("The user who answers it; null: nobody, or they left.")
    ]
    labels: Annotated[list[LabelShape], _says("Its labels, in the order of the alphabet.")]


class PageShape(_Shape, frozen=True):
    """Where a page ends, and whether there is more."""

    has_next_page: Annotated[bool, _says("Whether there is more after this page.")]
    has_previous_page: Annotated[bool, _says("Whether there is more before this page.")]
    start_cursor: Annotated[str | None, _says("Where the page begins.")]
    end_cursor: Annotated[str | None, _says("Where the page ends; use it with `after`.")]


class ConversationsShape(_Shape, frozen=True):
    """One page of conversations."""

    nodes: Annotated[list[ConversationShape], _says("The conversations.")]
    page_info: Annotated[PageShape, _says("Whether there is more.")]


class NoteShape(_Shape, frozen=True):
    """What somebody of the business wrote down; no customer ever gets it."""

    id: Annotated[UUID, _says("The note's UUID.")]
    conversation_id: Annotated[UUID, _says("The conversation's UUID.")]
    text: Annotated[str, _says("The note.")]
    author_id: Annotated[int | None, _says("The user who wrote it; null: an API key did.")]
    author_key: Annotated[str | None, _says("The name of the API key that wrote it.")]
    created_at: Annotated[datetime, _says("When it was written.")]


class NotesShape(_Shape, frozen=True):
    """One page of notes."""

    nodes: Annotated[list[NoteShape], _says("The newest first.")]
    page_info: Annotated[PageShape, _says("Whether there is more.")]


class ReadInput(_Shape, frozen=True, forbid_unknown_fields=True):
    """How to mark a message as read."""

    typing: Annotated[
        bool, _says("Whether to show for 25 seconds that an answer is being typed.")
    ] = False


class Done(_Shape, frozen=True):
    """It was done."""

    success: Annotated[bool, _says("Always true; refusals are errors.")] = True


class Reason(_Shape, frozen=True):
    """A reason why something was refused; nothing was stored."""

    code: Annotated[str, _says("The reason, for programs.")]
    field: Annotated[str | None, _says("The field at fault.")]
    message: Annotated[str, _says("The reason, for people.")]
    platform_code: Annotated[int | None, _says("Meta's error code for it, where there is one.")]
    retryable: Annotated[bool, _says("Whether the same request may succeed later.")]


class Refusal(Reason, frozen=True):
    """Why a request was refused, with every further reason."""

    others: Annotated[list[Reason], _says("Further reasons against the same request.")] = []


class Failure(_Shape, frozen=True):
    """What every answer with a status of 400 and above holds."""

    error: Annotated[Refusal, _says("Why.")]


class WarningShape(_Shape, frozen=True):
    """What may keep a queued message from arriving, or arriving soon."""

    code: Annotated[str, _says("What, for programs.")]
    message: Annotated[str, _says("What, for people.")]
    platform_code: Annotated[int | None, _says("Meta's error code for it, where there is one.")]


class ButtonShape(_Shape, frozen=True):
    """A button as the recipient sees it."""

    kind: Annotated[str, _says("Meta's word, such as URL.")]
    text: Annotated[str, _says("Its label.")]
    target: Annotated[str, _says("Its address or code; may be empty.")]


class PreviewShape(_Shape, frozen=True):
    """A template as the recipient sees it."""

    header: Annotated[str, _says("The header; a file is its kind in brackets.")]
    body: Annotated[str, _says("The text with its values.")]
    footer: Annotated[str, _says("The footer; may be empty.")]
    buttons: Annotated[list[ButtonShape], _says("The buttons.")]
    cards: Annotated[list[PreviewShape], _says("A carousel's cards.")]


class TemplateShape(_Shape, frozen=True):
    """The template that would be sent, as last synced."""

    id: Annotated[UUID, _says("The template's UUID.")]
    name: Annotated[str, _says("Its name.")]
    language: Annotated[str, _says("Its language.")]
    category: Annotated[str, _says("Meta's word, such as MARKETING.")]
    status: Annotated[str, _says("Meta's word, such as APPROVED.")]
    quality: Annotated[str, _says("Meta's word; empty: not told.")]


class PreflightShape(_Shape, frozen=True):
    """What would become of a send, if it were asked for now."""

    would: Annotated[str, _says("QUEUE, REPEAT or REFUSE.")]
    problems: Annotated[list[Reason], _says("Every reason against it.")]
    warnings: Annotated[list[WarningShape], _says("What else is good to know.")]
    message_id: Annotated[UUID | None, _says("What was queued before (REPEAT).")]
    window_open_until: Annotated[
        datetime | None, _says("Until when more than templates may be sent; null: not now.")
    ]
    earliest_at: Annotated[
        datetime | None, _says("When it could be sent at best; null: nobody can say.")
    ]
    template: Annotated[TemplateShape | None, _says("The template, where it was found.")]
    preview: Annotated[PreviewShape | None, _says("The template as the recipient sees it.")]


class DuplicateShape(_Shape, frozen=True):
    """A row of a list whose person stands in an earlier one."""

    position: Annotated[int, _says("The line in the file.")]
    first: Annotated[int, _says("The line of the same person.")]


class RowProblemShape(_Shape, frozen=True):
    """A row of a list that cannot be taken."""

    position: Annotated[int, _says("The line in the file.")]
    code: Annotated[str, _says("What is wrong with it, for programs.")]
    message: Annotated[str, _says("What was expected, and what came.")]


class ListReportShape(_Shape, frozen=True):
    """What became of the rows of a list."""

    added: Annotated[int, _says("How many people were added.")]
    total: Annotated[int, _says("How many the list has now.")]
    duplicate_count: Annotated[int, _says("How many rows name a person of an earlier row.")]
    problem_count: Annotated[int, _says("How many rows cannot be taken.")]
    duplicates: Annotated[
        list[DuplicateShape],
        _says("The first hundred: the line, and the line of the same person."),
    ]
    problems: Annotated[
        list[RowProblemShape],
        _says("The first hundred: the line, and what is wrong with it."),
    ]


class ListFailure(_Shape, frozen=True):
    """Why a list was refused."""

    error: Annotated[Refusal, _says("Why.")]
    report: Annotated[
        ListReportShape | UnsetType, _says("Which lines, where some cannot be taken.")
    ] = UNSET


class ListedInput(_Shape, frozen=True, forbid_unknown_fields=True):
    """One recipient: a phone number or a user id."""

    phone: Annotated[str, _says("The number, in international form (+27…).")] = ""
    user_id: Annotated[str, _says("The business-scoped user id (BSUID).")] = ""
    reference: Annotated[
        str, _says("Your own reference, up to 128 characters; not the number: it is kept longer.")
    ] = ""
    template_parameters: Annotated[
        TemplateParameters,
        _says("Their own values, such as a header's file; they go before those that all share."),
    ] = TemplateParameters()


class RecipientsInput(_Shape, frozen=True, forbid_unknown_fields=True):
    """Recipients to add to a list."""

    recipients: Annotated[list[ListedInput], _says("1 to 1,000 people.")]


class RetryInput(_Shape, frozen=True, forbid_unknown_fields=True):
    """Whose messages to send again: all that failed, or those with one of these codes."""

    codes: Annotated[
        list[int] | None,
        _says("Only those that failed with one of these codes of Meta's; all, unless given."),
    ] = None


class Retried(_Shape, frozen=True):
    """A broadcast that goes on with the people whose messages failed."""

    count: Annotated[int, _says("How many people are written to again.")]
    state: Annotated[str, _says("The broadcast's state.")]


class KeptFile(_Shape, frozen=True):
    """A file that is kept to be sent."""

    media_id: Annotated[str, _says("What `media.id` of a send takes.")]
    mime_type: Annotated[str, _says("Its type, as its bytes say.")]
    size: Annotated[int, _says("How many bytes it has.")]
    sha256: Annotated[str, _says("Its SHA-256, in hex.")]
