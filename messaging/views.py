"""HTTP: files of messages, for API keys, signed-in users and holders of a download link."""

from __future__ import annotations

import math
import mimetypes
import re
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from lib import clock
from messaging import archive, scanning
from messaging import media as files
from messaging.models import Media
from messaging.sealed_storage import StorageAway
from workspaces import channel_errors
from workspaces.access import (
    NotAllowed,
    NotAuthenticated,
    Scope,
    TenantRequired,
    WrongTenant,
    actor_of,
)
from workspaces.acting import as_tenant
from workspaces.channels import MediaStream

PLAIN_TYPE = re.compile(
    r"[a-z0-9.+-]+/[a-z0-9.+-]+(?:; ?codecs=\"?[a-z0-9.,-]+\"?)?", re.IGNORECASE
)
# Browsers run these, were they ever tricked into showing them.
# Office files are not of a type XML, though theirs have "openxml" in them.
ACTIVE = re.compile(r"html|[/+]xml|svg|javascript|ecmascript|x-shockwave", re.IGNORECASE)
UNKNOWN_TYPE = "application/octet-stream"
RETRY_SECONDS = 30

# What each refusal means over HTTP: status, and a code for programs.
REFUSALS: dict[type[Exception], tuple[int, str]] = {
    NotAuthenticated: (401, "UNAUTHENTICATED"),
    files.InvalidLink: (403, "INVALID_LINK"),
    files.ExpiredLink: (403, "EXPIRED_LINK"),
    NotAllowed: (403, "FORBIDDEN"),
    WrongTenant: (403, "WRONG_TENANT"),
    TenantRequired: (400, "TENANT_REQUIRED"),
    files.NoSuchMedia: (404, "NOT_FOUND"),
    archive.NoThumbnail: (404, "NO_THUMBNAIL"),
    scanning.Infected: (403, "MEDIA_REFUSED"),
    channel_errors.NotConfigured: (409, "NOT_CONFIGURED"),
    files.Revoked: (410, "MEDIA_GONE"),
    channel_errors.MediaGone: (410, "MEDIA_GONE"),
    channel_errors.Rejected: (502, "PLATFORM_REJECTED"),
    StorageAway: (503, "UNAVAILABLE"),
    scanning.ScannerAway: (503, "NOT_SCANNED"),
    channel_errors.Throttled: (503, "PLATFORM_THROTTLED"),
    channel_errors.Unavailable: (503, "PLATFORM_UNAVAILABLE"),
}


@require_GET
def media(request: HttpRequest, media_id: UUID) -> HttpResponseBase:
    """Stream one file; the database is left before the platform is asked."""
    now = clock.now()
    stream: MediaStream
    try:
        tenant_id = _tenant_of(request, media_id)
        with as_tenant(tenant_id):
            row, workspace = files.find(tenant_id=tenant_id, media_id=media_id)
        if "thumbnail" in request.GET:
            stream = archive.open_thumbnail(row)
            row.mime_type, row.filename = stream.mime_type, "thumbnail.jpg"
        else:
            stream = files.open_file(row, workspace, now=now)
    except tuple(REFUSALS) as refusal:
        return _refuse(refusal)
    return _respond(row, stream)


def _tenant_of(request: HttpRequest, media_id: UUID) -> UUID:
    token = request.GET.get("token")
    if token:
        return files.tenant_of_link(token, media_id)
    return actor_of(request, now=clock.now()).require(Scope.MEDIA_READ).tenant_id


def _respond(row: Media, stream: MediaStream) -> StreamingHttpResponse:
    kind = _safe_type(row.mime_type or stream.mime_type)
    headers = {
        "Content-Type": kind,
        "Content-Disposition": content_disposition_header(True, _filename(row, kind))
        or "attachment",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-site",
        "Cache-Control": "private, no-store",
    }
    if stream.size is not None:
        headers["Content-Length"] = str(stream.size)
    return StreamingHttpResponse(stream, headers=headers)


def _safe_type(given: str) -> str:
    safe = PLAIN_TYPE.fullmatch(given.strip()) and not ACTIVE.search(given)
    return given.strip() if safe else UNKNOWN_TYPE


def _filename(row: Media, kind: str) -> str:
    """Return the sender's file name without anything that means something to a file system."""
    last = row.filename.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(character for character in last if character.isprintable()).strip(" .")
    if name:
        return name[-150:]
    return f"{row.id}{mimetypes.guess_extension(kind.split(';')[0]) or ''}"


def _refuse(refusal: Exception) -> JsonResponse:
    status, code = next(REFUSALS[kind] for kind in type(refusal).__mro__ if kind in REFUSALS)
    response = JsonResponse({"error": {"code": code, "message": str(refusal)}}, status=status)
    response["Cache-Control"] = "no-store"
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    if status == 503:
        wait = getattr(refusal, "retry_after", None) or RETRY_SECONDS
        response["Retry-After"] = str(math.ceil(wait))
    return response
