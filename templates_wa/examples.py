"""The files that headers of templates show Meta's reviewers: found, checked, and given to Meta by
its Resumable Upload API, which answers with a handle for the template's creation or edit.

An upload that broke off is written down, and goes on from what Meta has when somebody asks for the
same file again. A handle is used at once and never kept: Meta does not say for how long it is good.
``settings.SIGMA_TEMPLATE_FILES`` names what finds the files of an upper layer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils.module_loading import import_string

from templates_wa.definitions import HeaderFormat
from templates_wa.drafts import Component, headers_of, media_id_of
from templates_wa.models import TemplateExample
from workspaces.channel_errors import ChannelError, Rejected, Throttled, Unavailable
from workspaces.channel_facts import TemplateDraft
from workspaces.channels import Channel, OutgoingFile

MB = 1_048_576
# How long who asks waits for all files of a template.
SECONDS = 60.0
# Longer than a request may take; who has an upload goes on with it alone.
LEASE = timedelta(minutes=5)
# Meta does not say how long it knows an upload.
LIFE = timedelta(days=1)
LATER = (
    "What Meta has of the file it keeps: ask for the same again, and the upload goes on from there."
)

# Finds those of a tenant's files that are there.
FileSource = Callable[[UUID, Collection[UUID]], Mapping[UUID, OutgoingFile]]


class ExampleRule(NamedTuple):
    """Which files a header may have as its example: their types, and how many bytes at most."""

    types: tuple[str, ...]
    most: int


# Types: Meta, "Upload a file"; sizes: Meta, "Media" (of what is sent in the header later).
RULES = {
    HeaderFormat.IMAGE: ExampleRule(("image/jpeg", "image/png"), 5 * MB),
    HeaderFormat.VIDEO: ExampleRule(("video/mp4",), 16 * MB),
    HeaderFormat.GIF: ExampleRule(("video/mp4",), 3 * MB + MB // 2),
    HeaderFormat.DOCUMENT: ExampleRule(("application/pdf",), 100 * MB),
}


class NamedExample(NamedTuple):
    """A file of ours that a header names, and the header's place."""

    id: UUID
    field: str
    format: str


class ExampleReason(NamedTuple):
    """Why a file cannot be a header's example."""

    is_missing: bool
    field: str
    message: str


def named_in(components: Sequence[Component]) -> list[NamedExample]:
    """Return the files of ours that well-formed components name."""
    return [
        NamedExample(media_id, f"{place.field}.media.id", str(header.get("format")).upper())
        for place, header in headers_of(components)
        if (media_id := media_id_of(header)) is not None
    ]


def find(tenant_id: UUID, named: Sequence[NamedExample]) -> Mapping[UUID, OutgoingFile]:
    """Return those of the named files that are there."""
    source: FileSource = import_string(settings.SIGMA_TEMPLATE_FILES)
    return source(tenant_id, {one.id for one in named}) if named else {}


def reasons(
    named: Sequence[NamedExample], files: Mapping[UUID, OutgoingFile]
) -> Iterator[ExampleReason]:
    """Yield why files cannot be examples where they are named."""
    for one in named:
        file, rule = files.get(one.id), RULES[HeaderFormat(one.format)]
        if file is None:
            said = (
                "Your tenant has no file with this id: it was never uploaded, or removed after "
                "the retention window. Upload it again."
            )
            yield ExampleReason(True, one.field, said)
        elif file.mime_type not in rule.types:
            said = (
                f"The file is {file.mime_type}; Meta takes {' or '.join(rule.types)} as the "
                f"example of a header of the format {one.format}. Upload such a file."
            )
            yield ExampleReason(False, one.field, said)
        elif file.size > rule.most:
            said = (
                f"The file has {file.size:,} bytes; a header of the format {one.format} may have "
                f"{rule.most:,}. Upload a smaller one."
            )
            yield ExampleReason(False, one.field, said)


def with_handles(
    channel: Channel,
    draft: TemplateDraft,
    files: Mapping[UUID, OutgoingFile],
    *,
    tenant_id: UUID,
    now: datetime,
) -> TemplateDraft:
    """Give Meta the files that a draft names, each once; return the draft with their handles.

    Raises:
        workspaces.channel_errors.ChannelError: it could not be done; nothing was created or edited.
    """
    end = time.monotonic() + SECONDS
    handles = {
        media_id: _Upload(tenant_id, media_id, now).handle(channel, file, end)
        for media_id, file in files.items()
    }
    return replace(draft, components=tuple(_filled(one, handles) for one in draft.components))


def _filled(component: Mapping[str, Any], handles: Mapping[UUID, str]) -> dict[str, Any]:
    filled = dict(component)
    if isinstance(cards := filled.get("cards"), list):
        filled["cards"] = [
            {**card, "components": [_filled(one, handles) for one in card["components"]]}
            for card in cards
        ]
    if (media_id := media_id_of(component)) is not None:
        del filled["media"]
        filled["example"] = {"header_handle": [handles[media_id]]}
    return filled


class _Upload:
    """The upload of one file of a tenant."""

    def __init__(self, tenant_id: UUID, media_id: UUID, now: datetime) -> None:
        self._key, self._now = {"tenant_id": tenant_id, "media_id": media_id}, now

    def handle(self, channel: Channel, file: OutgoingFile, end: float) -> str:
        """Go on with it, or begin it; return the handle of the whole file."""
        session = self._take()
        if session is not None:
            try:
                return self._send(channel, session, file, end)
            except Rejected:
                pass  # Meta does not know it any more, or the token is of another app by now
        try:
            session = channel.open_example(file)
        except ChannelError as error:
            raise _nothing_done(error) from None
        self._keep(session)
        return self._send(channel, session, file, end)

    def _send(self, channel: Channel, session: str, file: OutgoingFile, end: float) -> str:
        try:
            handle = channel.send_example(session, file, seconds=end - time.monotonic())
        except (Throttled, Unavailable) as error:
            self._rows(session=session).update(lease_until=None)
            raise _to_go_on(error) from None
        except ChannelError:
            self._rows(session=session).delete()
            raise
        self._rows(session=session).delete()
        return handle

    def _take(self) -> str | None:
        """Return an upload that broke off, which nobody else goes on with from now on."""
        free = Q(lease_until=None) | Q(lease_until__lte=self._now)
        rows = self._rows(created_at__gt=self._now - LIFE).filter(free)
        if not rows.update(lease_until=self._now + LEASE):
            return None
        return self._rows().values_list("session", flat=True).first()

    def _keep(self, session: str) -> None:
        """Write an upload down, unless somebody else's of the same file is under way."""
        tenant_id = self._key["tenant_id"]
        TemplateExample.objects.filter(
            tenant_id=tenant_id, created_at__lte=self._now - LIFE
        ).delete()
        row = TemplateExample(
            **self._key, session=session, lease_until=self._now + LEASE, created_at=self._now
        )
        TemplateExample.objects.bulk_create([row], ignore_conflicts=True)

    def _rows(self, **which: object) -> QuerySet[TemplateExample]:
        return TemplateExample.objects.filter(**self._key, **which)


def _nothing_done(error: ChannelError) -> ChannelError:
    """Return the error of an upload's beginning: whatever came of it, no template did."""
    if isinstance(error, Rejected | Throttled | Unavailable):
        return error
    return Unavailable(error.message, code=error.code, details=error.details)


def _to_go_on(error: Throttled | Unavailable) -> ChannelError:
    """Return an error with what becomes of a part of a file."""
    if isinstance(error, Throttled):
        return error
    return Unavailable(
        f"{error.message} {LATER}", code=error.code, details=error.details, trace_id=error.trace_id
    )
