"""Whether a broadcast may be sent at all: its workspace, and its template as last synced."""

from __future__ import annotations

from uuid import UUID

from messaging.broadcasts.refusals import BroadcastErrorCode, UnableToBroadcast
from messaging.models import Broadcast
from templates_wa import catalogue
from templates_wa.catalogue import AmbiguousLanguage, NotSendable, UnableToFind
from templates_wa.models import Template
from workspaces.models import HOSTED, Workspace

# What one message was refused for, the others would be, too.
STALE = (
    "Meta refused a message that the template as last synced allows. It is synced again just now; "
    "have a look at it then."
)


def check_workspace(*, tenant_id: UUID, workspace_id: UUID) -> Workspace:
    """Return the workspace where broadcasts may go through it.

    A linked device is a person's own account, which WhatsApp blocks for bulk messages.

    Raises:
        UnableToBroadcast: another tenant's, inactive, or over a linked device.
    """
    workspace = Workspace.objects.filter(tenant_id=tenant_id, pk=workspace_id).first()
    if workspace is None:
        raise _unusable(
            BroadcastErrorCode.WORKSPACE_NOT_FOUND, "Your tenant has no such workspace."
        )
    if workspace.transport in HOSTED:
        raise _unusable(
            BroadcastErrorCode.UNSUPPORTED_TRANSPORT,
            f"Broadcasts go through the Cloud API; this workspace is a {workspace.transport}.",
        )
    if not workspace.is_active:
        raise _unusable(BroadcastErrorCode.WORKSPACE_INACTIVE, "The workspace is inactive.")
    return workspace


def template_of(workspace: Workspace, name: str, language: str | None) -> str:
    """Return the language of the template; one that is not approved yet may be named already.

    Raises:
        UnableToBroadcast: there is no such template, or the language has to be named.
    """
    try:
        return _find(workspace, name, language).language
    except NotSendable as error:
        if language is not None:
            return language
        raise _refused(error) from None
    except UnableToFind as error:
        raise _refused(error) from None


def check_sendable(broadcast: Broadcast) -> Template:
    """Return the template where it may be sent now, through a workspace that may send.

    Raises:
        UnableToBroadcast: one of the two may not.
    """
    workspace = check_workspace(tenant_id=broadcast.tenant_id, workspace_id=broadcast.workspace_id)
    try:
        template = _find(workspace, broadcast.template_name, broadcast.language)
    except UnableToFind as error:
        raise _refused(error) from None
    if template.stale_at is not None:
        raise UnableToBroadcast(BroadcastErrorCode.TEMPLATE_NOT_SENDABLE, "template_name", STALE)
    return template


def _find(workspace: Workspace, name: str, language: str | None) -> Template:
    return catalogue.find(
        tenant_id=workspace.tenant_id, waba_id=workspace.waba_id, name=name, language=language
    )


def _refused(error: UnableToFind) -> UnableToBroadcast:
    code, field = BroadcastErrorCode.TEMPLATE_NOT_FOUND, "template_name"
    if isinstance(error, NotSendable):
        code = BroadcastErrorCode.TEMPLATE_NOT_SENDABLE
    elif isinstance(error, AmbiguousLanguage):
        code, field = BroadcastErrorCode.TEMPLATE_LANGUAGE, "language"
    return UnableToBroadcast(code, field, error.message)


def _unusable(code: BroadcastErrorCode, message: str) -> UnableToBroadcast:
    return UnableToBroadcast(code, "workspace_id", message)
