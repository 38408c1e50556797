"""Drafts: requests with all that is known of them, and every reason against each.

The database is asked once per kind of thing, however many drafts there are. Nothing is written
here; :mod:`messaging.sending.queueing` queues what has no reason against it, and
:mod:`messaging.sending.preflight` tells what would happen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from lib.envelope import CannotOpen, associated_data
from lib.sql import columns_of, select
from messaging import blocks, conversations, numbers, optouts, portfolios
from messaging.people import SURVIVOR
from messaging.references import SEALED_ID
from messaging.sending import files, limits, naming, templates
from messaging.sending.content import Body, body_of
from messaging.sending.files import KnownFile
from messaging.sending.limits import Times
from messaging.sending.parties import ContactCache, SenderNumber, normalised
from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.sending.requests import (
    InteractiveContent,
    MediaContent,
    ReactionContent,
    Recipient,
    SendRequest,
    TemplateContent,
)
from messaging.sending.templates import FoundTemplate
from templates_wa.definitions import Definition
from workspaces import keys


class QuotedMessage(NamedTuple):
    """A message of the tenant that another answers or reacts to, as it is stored."""

    id: UUID
    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID | None
    group_id: str | None
    direction: str
    platform_message_id: str | None
    sealed_id: bytes | None


FIND = " ".join(
    ("SELECT", columns_of(QuotedMessage), "FROM messages WHERE tenant_id = %s AND id = ANY(%s)")
).replace(
    "contact_id",
    SURVIVOR.format(tenant_id="messages.tenant_id", contact_id="messages.contact_id"),
    1,
)


# What may name a file.
WITH_FILES = (MediaContent, InteractiveContent, TemplateContent)


@dataclass(slots=True, eq=False)
class Draft:
    """One request on its way: ``reasons`` are all reasons against it.

    ``asked`` is whom the request names; ``recipient`` their address, missing until it is known, or
    where it cannot be. ``quoted`` and ``reacted`` are wamids.
    ``reference`` and ``digest`` are what is kept of an idempotency key and of the request under it.
    """

    request: SendRequest
    reasons: list[UnableToSend] = field(default_factory=list)
    asked: Recipient | None = None
    recipient: Recipient | None = None
    contact_id: UUID | None = None
    template: FoundTemplate | None = None
    window_ends: datetime | None = None
    room_at: datetime | None = None
    times: Times | None = None
    target: QuotedMessage | None = None
    quoted: str | None = None
    reacted: str | None = None
    reference: str | None = None
    digest: bytes | None = None
    files: dict[UUID, KnownFile] = field(default_factory=dict)

    def refuse(self, code: SendErrorCode, field: str | None, message: str) -> None:
        """Add a reason."""
        self.reasons.append(UnableToSend(code, field, message))

    @property
    def person_field(self) -> str:
        """The field of the input that names the person."""
        asked = self.request.recipient
        if asked.phone is not None:
            return "recipient_phone"
        if asked.user_id is not None:
            return "recipient_user_id"
        named = naming.naming_of(self.request)
        return named.field if named else "recipient_phone"

    @property
    def is_open(self) -> bool:
        """Whether the person's window is open when the message is due."""
        times, ends = self.times, self.window_ends
        return times is not None and ends is not None and ends > times.due

    def body(self) -> Body:
        """Return the body of a message that has no reason against it."""
        content = self.request.content
        if isinstance(content, TemplateContent):
            assert self.template is not None  # noqa: S101 - or there would be a reason
            if self.files:
                values = files.with_names(content.parameters, self.template.definition, self.files)
                content = msgspec.structs.replace(content, parameters=values)
            return self.template.body(content)
        if isinstance(content, MediaContent):
            content = files.with_name(content, self.files)
        return body_of(content, self.reacted)


def shaped(request: SendRequest) -> Draft:
    """Return a draft with what can be said of a request by itself, at any time."""
    draft = Draft(request)
    try:
        draft.asked = normalised(request)
    except UnableToSend as reason:
        draft.reasons.append(reason)
    else:
        if draft.asked.phone is not None or draft.asked.user_id is not None:
            draft.recipient = _address_of(draft.asked)
    for fault in limits.faults_of(request):
        draft.refuse(SendErrorCode.INVALID_INPUT, fault.field, fault.message)
    return draft


def check(
    drafts: Sequence[Draft], sender: SenderNumber, cache: ContactCache, *, now: datetime
) -> None:
    """Add to drafts what is known of them, and every reason against them."""
    meant = _find_named(drafts, sender)
    _compare_addresses(drafts, cache)
    known = [draft for draft in drafts if draft.recipient is not None]
    cache.look_up(draft.recipient for draft in known if draft.recipient)
    for draft in known:
        draft.contact_id = cache.contact_of(draft.recipient)
        named = meant.get(draft)
        if named is not None and named not in cache.contacts_of(draft.recipient):
            draft.reasons.append(naming.differing(draft.person_field))
    for draft in drafts:
        draft.reasons.extend(sender.reasons(draft.request))
    _find_templates(drafts, sender, now)
    _find_files(drafts, sender)
    _find_targets(known, sender)
    for draft in drafts:
        is_secret = draft.template is not None and draft.template.is_secret
        times = limits.times_of(draft.request, is_secret=is_secret, now=now)
        if isinstance(times, Times):
            draft.times = times
        else:
            draft.refuse(SendErrorCode.INVALID_INPUT, times.field, times.message)
    _check_people(known, sender, cache)
    _check_room(known, sender)


def _address_of(asked: Recipient) -> Recipient:
    """Return where whoever is named by an address is written to: a number goes before a BSUID."""
    return Recipient(asked.phone) if asked.phone is not None else Recipient(user_id=asked.user_id)


def _compare_addresses(drafts: Sequence[Draft], cache: ContactCache) -> None:
    """Refuse a number and a BSUID that are not known to be one person's."""
    both = {
        draft: (_address_of(asked), Recipient(user_id=asked.user_id))
        for draft in drafts
        if (asked := draft.asked) and asked.phone is not None and asked.user_id is not None
    }
    cache.look_up(address for pair in both.values() for address in pair)
    for draft, (phone, user_id) in both.items():
        if cache.contacts_of(phone).isdisjoint(cache.contacts_of(user_id)):
            draft.reasons.append(naming.differing(draft.person_field))
            draft.recipient = None


def _find_named(drafts: Sequence[Draft], sender: SenderNumber) -> dict[Draft, UUID]:
    """Return the contacts that drafts name; give those without an address theirs."""
    named = {draft: one for draft in drafts if (one := naming.naming_of(draft.request))}
    found = naming.find(set(named.values()), sender) if named else {}
    contacts = {}
    for draft, name in named.items():
        meant = found[name]
        if isinstance(meant, UnableToSend):
            draft.reasons.append(meant)
            continue
        contacts[draft] = meant.contact_id
        asked = draft.asked
        if asked is not None and asked.phone is None and asked.user_id is None:
            if meant.address is None:
                draft.reasons.append(naming.expired(name.field))
            else:
                draft.recipient = Recipient(*meant.address)
    return contacts


def _find_templates(drafts: Sequence[Draft], sender: SenderNumber, now: datetime) -> None:
    wanted = [
        (draft, draft.request.content)
        for draft in drafts
        if isinstance(draft.request.content, TemplateContent)
    ]
    if not wanted:
        return
    found = templates.find_all(
        ((content, draft.request.force) for draft, content in wanted),
        tenant_id=sender.tenant_id,
        waba_id=sender.workspace.waba_id,
    )
    for draft, content in wanted:
        template = found[templates.key_of(content, draft.request.force)]
        if isinstance(template, UnableToSend):
            draft.reasons.append(template)
            continue
        draft.template = templates.fitted(template, content)
        if not draft.request.force:
            draft.reasons.extend(templates.check(template, content, now))


def _find_files(drafts: Sequence[Draft], sender: SenderNumber) -> None:
    """Find the files of ours that drafts name."""
    wanted = {
        draft: named
        for draft in drafts
        if isinstance(draft.request.content, WITH_FILES)
        and (named := list(files.named_in(draft.request.content, _definition_of(draft))))
    }
    if not wanted:
        return
    ids = {one.id for named in wanted.values() for one in named}
    found = files.find(sender.tenant_id, ids)
    for draft, named in wanted.items():
        reasons = (files.reason_against(one, found.get(one.id)) for one in named)
        draft.reasons.extend(reason for reason in reasons if reason is not None)
        draft.files = {one.id: found[one.id] for one in named if one.id in found}


def _definition_of(draft: Draft) -> Definition | None:
    return draft.template.definition if draft.template else None


def _find_targets(drafts: Sequence[Draft], sender: SenderNumber) -> None:
    """Find the messages that drafts answer or react to; each with the field that names it."""
    wanted: dict[Draft, tuple[UUID, str]] = {}
    for draft in drafts:
        content, reply_to = draft.request.content, draft.request.reply_to
        if isinstance(content, ReactionContent):
            wanted[draft] = content.message_id, "reaction.message_id"
        elif reply_to is not None:
            wanted[draft] = reply_to, "reply_to"
    if not wanted:
        return
    found = find_targets(
        tenant_id=sender.tenant_id, ids={message_id for message_id, _ in wanted.values()}
    )
    for draft, (message_id, name) in wanted.items():
        target = found.get(message_id)
        try:
            wamid = _wamid_of(
                target, workspace_id=sender.workspace.id, contact_id=draft.contact_id, field=name
            )
        except UnableToSend as reason:
            draft.reasons.append(reason)
            continue
        draft.target = target
        if name == "reply_to":
            draft.quoted = wamid
        else:
            draft.reacted = wamid


def find_targets(*, tenant_id: UUID, ids: Collection[UUID]) -> dict[UUID, QuotedMessage]:
    """Return some of a tenant's messages by id."""
    rows = select(QuotedMessage, FIND, [tenant_id, list(ids)]) if ids else []
    return {row.id: row for row in rows}


def _wamid_of(
    target: QuotedMessage | None, *, workspace_id: UUID, contact_id: UUID | None, field: str
) -> str:
    """Return the platform's id of a message of one conversation; there are none with groups.

    Raises:
        UnableToSend: it is not there, of another conversation, not sent yet, or purged.
    """
    conversation = workspace_id, contact_id
    is_here = target and (target.workspace_id, target.contact_id) == conversation
    if target is None or contact_id is None or target.group_id is not None or not is_here:
        raise UnableToSend(
            SendErrorCode.REPLY_TARGET_NOT_FOUND,
            field,
            "There is no message with this id in the conversation with this person.",
        )
    if target.platform_message_id is None or target.sealed_id is None:
        raise UnableToSend(
            SendErrorCode.REPLY_TARGET_NOT_FOUND,
            field,
            "The platform has no id for this message yet: it was not sent, or its answer is out.",
        )
    return open_wamid(target, field)


def open_wamid(target: QuotedMessage, field: str) -> str:
    """Return the platform's id of a message that has one.

    Raises:
        UnableToSend: the key of its day is gone.
    """
    sealed = bytes(target.sealed_id or b"")
    associated = associated_data(target.tenant_id, SEALED_ID, target.id)
    try:
        return keys.cipher_of(sealed).open(sealed, associated).decode()
    except CannotOpen:
        raise UnableToSend(
            SendErrorCode.REPLY_TARGET_GONE,
            field,
            "The platform's id of this message was purged with its day; it cannot be named to the "
            "platform any more.",
        ) from None


def _check_people(drafts: Sequence[Draft], sender: SenderNumber, cache: ContactCache) -> None:
    contacts = {one for draft in drafts for one in cache.contacts_of(draft.recipient)}
    known = conversations.reachability(
        tenant_id=sender.tenant_id, workspace_id=sender.workspace.id, contact_ids=contacts
    )
    asked = {
        contact
        for draft in drafts
        if draft.template and draft.template.is_marketing
        for contact in cache.contacts_of(draft.recipient)
    }
    gone = optouts.opted_out(tenant_id=sender.tenant_id, contact_ids=asked)
    for draft in drafts:
        contacts = cache.contacts_of(draft.recipient)
        ends = [end for one in contacts if (end := known[one].window_ends)]
        draft.window_ends = max(ends, default=None)
        if any(known[one].block in blocks.HELD for one in contacts):
            _refuse_blocked(draft)
        if sender.has_windows:
            _check_window(draft)
        if draft.recipient is not None:
            if draft.template is not None:
                opted_out = not gone.isdisjoint(contacts)
                _check_template_for(draft, draft.template, draft.recipient, opted_out=opted_out)
            field = draft.person_field
            draft.reasons.extend(sender.reasons_against(draft.recipient, cache, field))


def _refuse_blocked(draft: Draft) -> None:
    draft.refuse(
        SendErrorCode.CONTACT_BLOCKED,
        draft.person_field,
        "This number blocks the person, so Meta takes no message to them; unblock them first "
        "(unblockContact).",
    )


def _check_window(draft: Draft) -> None:
    is_template = isinstance(draft.request.content, TemplateContent)
    if is_template or draft.times is None or draft.is_open:
        return
    closed = "The person has never written to this number: only a template may be sent."
    if draft.window_ends is not None:
        closed = (
            "Only a template may be sent: the 24 hours since the person's last message end at "
            f"{draft.window_ends:%Y-%m-%d %H:%M} UTC, before the message is due."
        )
    draft.refuse(SendErrorCode.WINDOW_CLOSED, limits.FIELDS[type(draft.request.content)], closed)


def _check_template_for(
    draft: Draft, found: FoundTemplate, recipient: Recipient, *, opted_out: bool
) -> None:
    if found.is_marketing and opted_out:
        draft.refuse(
            SendErrorCode.OPTED_OUT,
            draft.person_field,
            "The person wants no marketing messages; other templates may be sent.",
        )
    if found.is_secret and recipient.user_id is not None:
        draft.refuse(
            SendErrorCode.BSUID_NOT_SUPPORTED,
            draft.person_field,
            "Templates with a one-time password need the recipient's phone number.",
        )


def _check_room(drafts: Sequence[Draft], sender: SenderNumber) -> None:
    """Say of drafts that are bound by the messaging limit when there is room for them, and refuse
    those that cannot wait for it.
    """
    number, limit = sender.number, numbers.limit_of(sender.number)
    if number is None or limit is None:
        return
    waiting = [
        (draft, draft.times)
        for draft in drafts
        if isinstance(draft.request.content, TemplateContent) and draft.times and not draft.is_open
    ]
    full = waiting and portfolios.full_at(
        min(times.due for _, times in waiting),
        tenant_id=sender.tenant_id,
        portfolio=number.portfolio_id,
        limit=limit,
        contacts=[draft.contact_id for draft, _ in waiting if draft.contact_id],
    )
    for draft, times in waiting:
        if not full or not full.holds(draft.contact_id, due=times.due):
            continue
        draft.room_at = full.until
        if times.expires is not None and full.until >= times.expires:
            draft.refuse(
                SendErrorCode.LIMIT_REACHED,
                "expires_at",
                "The messaging limit of the business portfolio is reached; there is room again at "
                f"{full.until:%Y-%m-%d %H:%M} UTC, after the message expires.",
            )
