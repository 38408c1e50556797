"""What callers read of a file to send: whether it is kept, and how far it is on its way to the
platform, for each number.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from messaging import uploads
from messaging.models import Upload, UploadHandle, UploadState
from workspaces.models import Tenant


class GivingState(StrEnum):
    """How far a file is on its way to the platform."""

    WAITING = "WAITING"
    UPLOADING = "UPLOADING"
    GIVEN = "GIVEN"
    REFUSED = "REFUSED"


GIVING_STATES = {
    GivingState.WAITING: "It is given, or given again, when a message needs it.",
    GivingState.UPLOADING: "It is on its way.",
    GivingState.GIVEN: "The platform has it.",
    GivingState.REFUSED: "The platform does not take it; its messages fail.",
}


class GivingError(Struct, frozen=True):
    """Why a file is not given to the platform yet, and what helps."""

    code: Annotated[
        int | None, Meta(description="Meta's error code, where there is one, such as 131053.")
    ]
    message: Annotated[str, Meta(description="The reason, for people.")]
    remedy: Annotated[str, Meta(description="What helps.")]


class Giving(Struct, frozen=True):
    """A file on its way to the platform, for one number."""

    workspace_id: Annotated[UUID, Meta(description="The workspace of the number.")]
    state: Annotated[GivingState, Meta(description="How far it is.")]
    bytes_given: Annotated[
        int, Meta(description="How many bytes the platform has; written every few seconds.")
    ]
    next_attempt_at: Annotated[
        datetime | None, Meta(description="When it is tried at the earliest.")
    ]
    expires_at: Annotated[
        datetime | None, Meta(description="When it is given again, if a message needs it.")
    ]
    error: Annotated[GivingError | None, Meta(description="Why the last attempt failed.")]


class FileToSend(Struct, frozen=True):
    """A file that an application gave us to send."""

    media_id: Annotated[UUID, Meta(description="What `media.id` of a send takes.")]
    mime_type: Annotated[str, Meta(description="Its type, as its bytes say.")]
    size: Annotated[int, Meta(description="How many bytes it has.")]
    filename: Annotated[str, Meta(description="The name it came with; may be empty.")]
    state: Annotated[
        UploadState,
        Meta(description="`READY` to be sent; `STORING`: not yet, or lost: upload it again."),
    ]
    created_at: Annotated[datetime, Meta(description="When it came first.")]
    kept_until: Annotated[
        datetime, Meta(description="When it is removed, unless it is used until then.")
    ]
    numbers: Annotated[list[Giving], Meta(description="The numbers it was given for, or is to be.")]


def read(*, tenant_id: UUID, upload_id: UUID, now: datetime) -> FileToSend | None:
    """Return a tenant's file, with all numbers that it was given for, or is to be."""
    row = Upload.objects.filter(tenant_id=tenant_id, pk=upload_id).first()
    if row is None:
        return None
    days = Tenant.objects.values_list("retention_days", flat=True).get(pk=tenant_id)
    handles = UploadHandle.objects.filter(tenant_id=tenant_id, upload_id=upload_id)
    sealed = None if row.sealed_name is None else bytes(row.sealed_name)
    return FileToSend(
        media_id=row.id,
        mime_type=row.mime_type,
        size=row.size_bytes,
        filename=uploads.opened_name(tenant_id, row.id, sealed),
        state=UploadState(row.state),
        created_at=row.created_at,
        kept_until=row.used_at + timedelta(days=days),
        numbers=[_giving(one, row.size_bytes, now) for one in handles.order_by("workspace_id")],
    )


def _giving(handle: UploadHandle, size: int, now: datetime) -> Giving:
    state = _state_of(handle, now)
    given = {GivingState.GIVEN: size, GivingState.UPLOADING: handle.sent_bytes}.get(state, 0)
    is_pending = state in (GivingState.WAITING, GivingState.REFUSED)
    return Giving(
        workspace_id=handle.workspace_id,
        state=state,
        bytes_given=given,
        next_attempt_at=handle.due_at if is_pending else None,
        expires_at=handle.expires_at if state is GivingState.GIVEN else None,
        error=_error_of(handle, state) if is_pending and handle.error else None,
    )


def _state_of(handle: UploadHandle, now: datetime) -> GivingState:
    if handle.platform_media_id and handle.expires_at and handle.expires_at > now:
        return GivingState.GIVEN
    if handle.lease_until is not None and handle.lease_until > now:
        return GivingState.UPLOADING
    is_refused = handle.error_code is not None and handle.due_at > now
    return GivingState.REFUSED if is_refused else GivingState.WAITING


def _error_of(handle: UploadHandle, state: GivingState) -> GivingError:
    remedy = (
        "It is tried again by itself. Where the number's sending is paused, end what it is paused "
        "for."
    )
    if state is GivingState.REFUSED:
        remedy = (
            "Send another file, of a type, a size and a coding that WhatsApp takes; or send this "
            f"one again after {handle.due_at:%Y-%m-%d %H:%M} UTC, when the platform is asked anew."
        )
    return GivingError(handle.error_code, handle.error, remedy)
