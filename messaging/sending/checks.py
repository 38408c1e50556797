"""Check drafts against what the database knows, a query per kind of thing, however many they are.

Nothing is written here; :mod:`messaging.sending.accepting` queues what has no reason against it,
and :mod:`messaging.sending.preflight` tells what would happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from messaging import optouts
from messaging.sending import limits, portfolio, templates, timing, window
from messaging.sending.drafts import Draft, find_targets, wamid_of
from messaging.sending.recipients import ContactCache
from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.sending.requests import ReactionContent, TemplateContent
from messaging.sending.sender_numbers import SenderNumber


def check(
    drafts: Sequence[Draft], sender: SenderNumber, cache: ContactCache, *, now: datetime
) -> None:
    """Add to drafts what is known of them, and every reason against them."""
    known = [draft for draft in drafts if draft.recipient is not None]
    cache.look_up(draft.recipient for draft in known if draft.recipient)
    for draft in known:
        draft.contact_id = cache.contact_of(draft.recipient)
    for draft in drafts:
        draft.reasons.extend(sender.reasons(draft.request))
    _find_templates(drafts, sender, now)
    _find_targets(known, sender)
    for draft in drafts:
        secret = draft.template is not None and draft.template.is_secret
        draft.times, reasons = timing.times_of(draft.request, is_secret=secret, now=now)
        draft.reasons.extend(reasons)
    _check_people(known, sender, cache)


def _find_templates(drafts: Iterable[Draft], sender: SenderNumber, now: datetime) -> None:
    wanted = [
        (draft, draft.request.content)
        for draft in drafts
        if isinstance(draft.request.content, TemplateContent)
    ]
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


def _find_targets(drafts: Sequence[Draft], sender: SenderNumber) -> None:
    wanted = {draft: named for draft in drafts if (named := _named(draft)) is not None}
    found = find_targets(
        tenant_id=sender.tenant_id, ids={message_id for message_id, _ in wanted.values()}
    )
    for draft, (message_id, field) in wanted.items():
        target = found.get(message_id)
        try:
            wamid = wamid_of(
                target, workspace_id=sender.workspace.id, contact_id=draft.contact_id, field=field
            )
        except UnableToSend as reason:
            draft.reasons.append(reason)
            continue
        draft.target = target
        if field == "reply_to":
            draft.quoted = wamid
        else:
            draft.reacted = wamid


def _named(draft: Draft) -> tuple[UUID, str] | None:
    """Return the message that a draft answers or reacts to, and the field that says so."""
    if isinstance(draft.request.content, ReactionContent):
        return draft.request.content.message_id, "reaction.message_id"
    return (draft.request.reply_to, "reply_to") if draft.request.reply_to else None


def _check_people(drafts: Sequence[Draft], sender: SenderNumber, cache: ContactCache) -> None:
    contacts = {one for draft in drafts for one in cache.contacts_of(draft.recipient)}
    ends = window.ends(
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
        draft.window_ends = max((ends[one] for one in contacts if one in ends), default=None)
        if sender.has_windows:
            _check_window(draft)
        _check_template_for(draft, opted_out=not gone.isdisjoint(contacts))
        if draft.recipient is not None:
            draft.reasons.extend(sender.reasons_against(draft.recipient, cache))
    portfolio.check(drafts, sender)


def _check_window(draft: Draft) -> None:
    if isinstance(draft.request.content, TemplateContent) or draft.times is None:
        return
    if not draft.is_open:
        draft.refuse(
            SendErrorCode.WINDOW_CLOSED,
            limits.FIELDS[type(draft.request.content)],
            _closed(draft.window_ends),
        )


def _closed(ends: datetime | None) -> str:
    if ends is None:
        return "The person has never written to this number: only a template may be sent."
    return (
        "Only a template may be sent: the 24 hours since the person's last message end at "
        f"{ends:%Y-%m-%d %H:%M} UTC, before the message is due."
    )


def _check_template_for(draft: Draft, *, opted_out: bool) -> None:
    found = draft.template
    if found is None or draft.recipient is None:
        return
    if found.is_marketing and opted_out:
        draft.refuse(
            SendErrorCode.OPTED_OUT,
            "recipient_phone" if draft.recipient.phone else "recipient_user_id",
            "The person wants no marketing messages; other templates may be sent.",
        )
    if found.is_secret and draft.recipient.user_id is not None:
        draft.refuse(
            SendErrorCode.BSUID_NOT_SUPPORTED,
            "recipient_user_id",
            "Templates with a one-time password need the recipient's phone number.",
        )
