"""Create, edit and delete templates at Meta, and in the catalogue at once.

Meta is called with no transaction open. A call whose outcome is not known is followed by a sync,
which finds out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import transaction

from templates_wa import accounts, drafts, examples, storing
from templates_wa.models import Template
from templates_wa.problems import Problem
from workspaces.channel_errors import (
    ChannelError,
    NotConfigured,
    OutcomeUnknown,
    Rejected,
    Throttled,
    Unavailable,
)
from workspaces.channel_facts import TemplateDraft
from workspaces.channels import Channel, OutgoingFile, channel_for
from workspaces.models import Workspace

EDITABLE = ("APPROVED", "PAUSED", "REJECTED")
# Meta refuses to delete these.
KEPT = ("DISABLED",)


class TemplateErrorCode(StrEnum):
    """Why a template was not created, edited, deleted or synced."""

    WORKSPACE_NOT_FOUND = "WORKSPACE_NOT_FOUND"
    TEMPLATE_NOT_FOUND = "TEMPLATE_NOT_FOUND"
    INVALID_TEMPLATE = "INVALID_TEMPLATE"
    MEDIA_NOT_FOUND = "MEDIA_NOT_FOUND"
    MEDIA_KIND = "MEDIA_KIND"
    DUPLICATE = "DUPLICATE"
    NOT_EDITABLE = "NOT_EDITABLE"
    NOT_DELETABLE = "NOT_DELETABLE"
    NOT_CONFIGURED = "NOT_CONFIGURED"
    PLATFORM_REJECTED = "PLATFORM_REJECTED"
    PLATFORM_THROTTLED = "PLATFORM_THROTTLED"
    PLATFORM_UNAVAILABLE = "PLATFORM_UNAVAILABLE"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"


_CODES: tuple[tuple[type[ChannelError], TemplateErrorCode], ...] = (
    (NotConfigured, TemplateErrorCode.NOT_CONFIGURED),
    (Rejected, TemplateErrorCode.PLATFORM_REJECTED),
    (Throttled, TemplateErrorCode.PLATFORM_THROTTLED),
    (Unavailable, TemplateErrorCode.PLATFORM_UNAVAILABLE),
    (OutcomeUnknown, TemplateErrorCode.OUTCOME_UNKNOWN),
)


@dataclass(frozen=True, slots=True)
class TemplateRefusal:
    """One reason; ``platform_code``, ``details`` and ``trace_id`` are Meta's, where it refused."""

    code: TemplateErrorCode
    message: str
    field: str | None = None
    platform_code: int | None = None
    details: str = ""
    trace_id: str = ""


class UnableToManage(Exception):
    """Nothing was done, or it is not known whether; ``refusals`` say why."""

    def __init__(self, *refusals: TemplateRefusal) -> None:
        super().__init__(refusals[0].message)
        self.refusals = refusals


def refusal_of(error: ChannelError) -> TemplateRefusal:
    """Return what a channel's error means to whoever asked."""
    kinds = (code for kind, code in _CODES if isinstance(error, kind))
    return TemplateRefusal(
        next(kinds, TemplateErrorCode.PLATFORM_UNAVAILABLE),
        error.message,
        platform_code=error.code or None,
        details=error.details,
        trace_id=error.trace_id,
    )


def workspace_of(*, tenant_id: UUID, workspace_id: UUID) -> Workspace:
    """Return a workspace of the tenant.

    Raises:
        UnableToManage: there is none.
    """
    found = Workspace.objects.filter(tenant_id=tenant_id, pk=workspace_id).first()
    if found is None:
        raise _refused("WORKSPACE_NOT_FOUND", "There is no such workspace.", "workspaceId")
    return found


def create(*, tenant_id: UUID, workspace_id: UUID, draft: TemplateDraft, now: datetime) -> Template:
    """Submit a template for review and add it to the catalogue.

    Raises:
        UnableToManage: it cannot be, or Meta refused; with OUTCOME_UNKNOWN it may exist.
    """
    workspace = workspace_of(tenant_id=tenant_id, workspace_id=workspace_id)
    _check(
        drafts.problems(
            name=draft.name,
            language=draft.language,
            category=draft.category,
            parameter_format=draft.parameter_format,
            components=draft.components,
        )
    )
    if Template.objects.filter(
        tenant_id=tenant_id,
        waba_id=workspace.waba_id,
        name=draft.name,
        language=draft.language,
        deleted_at=None,
    ).exists():
        raise _refused(
            "DUPLICATE", f"There is a template {draft.name} in {draft.language} already.", "name"
        )
    files = _examples(tenant_id, draft.components)
    with _Calls(workspace, now) as channel:
        whole = examples.with_handles(channel, draft, files, tenant_id=tenant_id, now=now)
        made = replace(channel.create_template(whole), components=draft.components)
    with transaction.atomic():
        storing.lock(tenant_id, workspace.waba_id)
        row = storing.put(tenant_id=tenant_id, waba_id=workspace.waba_id, fact=made, now=now)
        storing.publish([row], now)
    return row


def edit(
    *,
    tenant_id: UUID,
    template_id: UUID,
    components: Sequence[Mapping[str, Any]],
    ttl_seconds: int | None,
    now: datetime,
) -> Template:
    """Replace a template's components; Meta reviews it again.

    Raises:
        UnableToManage: it cannot be, or Meta refused; with OUTCOME_UNKNOWN it may be done.
    """
    row = _template(tenant_id, template_id)
    if row.status not in EDITABLE:
        raise _refused(
            "NOT_EDITABLE",
            f"The template is {row.status}; only {', '.join(EDITABLE)} ones can be edited.",
        )
    _check(drafts.content_problems(row.category, row.parameter_format, components))
    contents = tuple(dict(component) for component in components)
    draft = TemplateDraft(
        row.name, row.language, row.category, contents, row.parameter_format, ttl_seconds
    )
    files = _examples(tenant_id, contents)
    with _Calls(_workspace_for(row), now) as channel:
        whole = examples.with_handles(channel, draft, files, tenant_id=tenant_id, now=now)
        channel.edit_template(row.platform_template_id, whole)
    with transaction.atomic():
        storing.lock(tenant_id, row.waba_id)
        row = storing.put_under_review(
            tenant_id=tenant_id,
            template_id=row.pk,
            components=contents,
            ttl_seconds=ttl_seconds,
            now=now,
        )
        storing.publish([row], now)
        accounts.request(tenant_id=tenant_id, waba_id=row.waba_id)
    return row


def delete(*, tenant_id: UUID, template_id: UUID, all_languages: bool, now: datetime) -> int:
    """Delete a template in its language, or in all; return how many are gone.

    Raises:
        UnableToManage: it cannot be, or Meta refused; with OUTCOME_UNKNOWN it may be done.
    """
    row = _template(tenant_id, template_id)
    if row.status in KEPT:
        raise _refused("NOT_DELETABLE", f"Meta deletes no template that is {row.status}.")
    one = None if all_languages else row.platform_template_id
    with _Calls(_workspace_for(row), now) as channel:
        channel.delete_template(row.name, platform_template_id=one)
    with transaction.atomic():
        storing.lock(tenant_id, row.waba_id)
        gone = Template.objects.filter(
            tenant_id=tenant_id, waba_id=row.waba_id, name=row.name, deleted_at=None
        )
        gone = gone if all_languages else gone.filter(pk=row.pk)
        ids = list(gone.values_list("pk", flat=True))
        Template.objects.filter(pk__in=ids).update(
            status=storing.DELETED, status_at=now, synced_at=now, deleted_at=now
        )
        storing.publish(list(Template.objects.filter(pk__in=ids)), now)
    return len(ids)


class _Calls:
    """Opens a workspace's channel; says in our words what it raises, and has what is not known
    found out.
    """

    def __init__(self, workspace: Workspace, now: datetime) -> None:
        self._workspace, self._now = workspace, now

    def __enter__(self) -> Channel:
        try:
            return channel_for(self._workspace, now=self._now)
        except ChannelError as error:
            raise UnableToManage(refusal_of(error)) from None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not isinstance(error, ChannelError):
            return
        if isinstance(error, OutcomeUnknown):
            accounts.request(tenant_id=self._workspace.tenant_id, waba_id=self._workspace.waba_id)
        raise UnableToManage(refusal_of(error)) from None


def _template(tenant_id: UUID, template_id: UUID) -> Template:
    row = Template.objects.filter(tenant_id=tenant_id, pk=template_id, deleted_at=None).first()
    if row is None:
        raise _refused("TEMPLATE_NOT_FOUND", "There is no such template.", "id")
    return row


def _workspace_for(row: Template) -> Workspace:
    found = accounts.workspace_of(tenant_id=row.tenant_id, waba_id=row.waba_id)
    if found is None:
        raise _refused("NOT_CONFIGURED", "No active workspace uses the template's account.")
    return found


def _examples(
    tenant_id: UUID, components: Sequence[Mapping[str, Any]]
) -> Mapping[UUID, OutgoingFile]:
    """Return the files that headers have as their examples.

    Raises:
        UnableToManage: one is not there, or cannot be one.
    """
    named = examples.named_in(components)
    files = examples.find(tenant_id, named)
    found = [
        TemplateRefusal(
            TemplateErrorCode.MEDIA_NOT_FOUND if why.is_missing else TemplateErrorCode.MEDIA_KIND,
            why.message,
            why.field,
        )
        for why in examples.reasons(named, files)
    ]
    if found:
        raise UnableToManage(*found)
    return files


def _check(found: Sequence[Problem]) -> None:
    if found:
        code = TemplateErrorCode.INVALID_TEMPLATE
        raise UnableToManage(*(TemplateRefusal(code, p.message, p.field) for p in found))


def _refused(code: str, message: str, field: str | None = None) -> UnableToManage:
    return UnableToManage(TemplateRefusal(TemplateErrorCode(code), message, field))
