"""What would become of a request: every reason against it, and what else is good to know.

Nothing is written: no message, no contact, no key is used up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from messaging.delivery import pauses
from messaging.models import SendingPause
from messaging.sending import places, warnings, window
from messaging.sending.answers import Answers, Queued
from messaging.sending.checks import check
from messaging.sending.drafts import Draft, shaped
from messaging.sending.places import Place
from messaging.sending.recipients import Book
from messaging.sending.refusals import UnableToSend
from messaging.sending.requests import SendRequest, TemplateContent
from messaging.sending.warnings import DESCRIPTIONS, Warned, WarningCode
from templates_wa.models import Template
from templates_wa.rendering import Preview

__all__ = ["DESCRIPTIONS", "Preflight", "Warned", "WarningCode", "Would", "preflight", "refused"]


class Would(StrEnum):
    """What a request would come to."""

    QUEUE = "QUEUE"
    REPEAT = "REPEAT"
    REFUSE = "REFUSE"


@dataclass(frozen=True, slots=True)
class Preflight:
    """What would happen. ``earliest_at`` is when it could be sent at best."""

    would: Would
    problems: tuple[UnableToSend, ...] = ()
    warnings: tuple[Warned, ...] = ()
    message_id: UUID | None = None
    window_open_until: datetime | None = None
    template: Template | None = None
    preview: Preview | None = None
    place: Place | None = field(default=None, repr=False)
    earliest_at: datetime | None = None


def preflight(*, tenant_id: UUID, request: SendRequest, now: datetime) -> Preflight:
    """Return what would become of a request, were it made now."""
    draft = shaped(request)
    try:
        place = places.find(tenant_id=tenant_id, workspace_id=request.workspace_id)
    except UnableToSend as refusal:
        return refused(refusal, *draft.reasons)
    answer = None if draft.reasons else _answer(draft, place)
    check([draft], place, Book(tenant_id), now=now)
    found = _described(draft, place, now)
    if isinstance(answer, Queued):
        return replace(found, would=Would.REPEAT, message_id=answer.message_id, problems=())
    problems = (*draft.reasons, *([answer] if answer else []))
    return replace(found, would=Would.REFUSE if problems else Would.QUEUE, problems=problems)


def refused(*problems: UnableToSend) -> Preflight:
    """Return the answer to a request that nothing can be said about."""
    return Preflight(Would.REFUSE, problems)


def _answer(draft: Draft, place: Place) -> Queued | UnableToSend | None:
    answers = Answers(tenant_id=place.tenant_id, workspace_id=place.workspace.id)
    answers.load([draft])
    return answers.answer(draft)


def _described(draft: Draft, place: Place, now: datetime) -> Preflight:
    content, template, ends = draft.request.content, draft.template, draft.window_ends
    held = list(
        pauses.open_pauses(tenant_id=place.tenant_id, workspace_id=place.workspace.id, now=now)
    )
    return Preflight(
        Would.QUEUE,
        warnings=(*warnings.of_place(place, held, now), *warnings.of_draft(draft, place, now)),
        window_open_until=window.still_open(ends, now=now),
        template=template.row if template else None,
        preview=template.preview(content)
        if template and isinstance(content, TemplateContent)
        else None,
        place=place,
        earliest_at=_earliest(draft, held),
    )


def _earliest(draft: Draft, held: list[SendingPause]) -> datetime | None:
    """Return when it could be sent at best; ``None``: nobody knows, or never."""
    if draft.reasons or draft.times is None or any(pause.until is None for pause in held):
        return None
    ends = [pause.until for pause in held if pause.until]
    return max([draft.times.due, *ends, *([draft.room_at] if draft.room_at else [])])
