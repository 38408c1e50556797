"""Read the templates of accounts from Meta into the catalogue.

A sync asks Meta first, with no transaction open, and then stores all of it at once: a page that
fails changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from templates_wa import accounts, storing
from templates_wa.models import TemplateSync
from templates_wa.storing import SyncReport
from workspaces.channel_errors import ChannelError, NotConfigured, Throttled
from workspaces.channel_facts import TemplateFacts
from workspaces.channels import channel_for
from workspaces.models import Tenant, TenantStatus, Workspace

__all__ = ["SyncReport", "run_due", "sync", "sync_tenant"]

logger = logging.getLogger("sigma.whatsapp.templates")

# Looking again whether a token was added costs no request.
UNCONFIGURED = timedelta(minutes=1)
LONGEST = timedelta(minutes=1)


def sync(
    workspace: Workspace, *, now: datetime, name: str | None = None, lease: datetime | None = None
) -> SyncReport:
    """Read the templates of a workspace's account, or those called ``name``; ``now`` is before
    Meta is asked. Workspaces of one account share them.

    Raises:
        ChannelError: Meta was not asked, refused, or did not answer properly; nothing was changed.
    """
    tenant_id, waba_id = workspace.tenant_id, workspace.waba_id
    try:
        facts = list(_fetched(workspace, now, name))
    except ChannelError as error:
        if waba_id and name is None:
            _note_failure(workspace, now, lease, error)
        raise
    if not _is_there(tenant_id):
        return SyncReport()
    report = storing.store(tenant_id=tenant_id, waba_id=waba_id, facts=facts, now=now, name=name)
    if name is None:
        accounts.note_success(tenant_id=tenant_id, waba_id=waba_id, now=now, lease=lease)
    return report


def sync_tenant(tenant_id: UUID, *, now: datetime) -> None:
    """Ask for a sync of every account of a tenant, by a worker and soon."""
    accounts.request_all(tenant_id=tenant_id, now=now)


def run_due(*, now: datetime) -> int:
    """Sync the accounts that are due, one after the other; return how many there were.

    It ends after a minute or so: others wait for this worker, and the schedule calls again.
    """
    started = time.monotonic()
    accounts.learn(now=now)
    done = 0
    while (passed := timedelta(seconds=time.monotonic() - started)) < LONGEST:
        account = accounts.claim(now=now + passed)
        if account is None:
            break
        _run(account, now + passed)
        done += 1
    return done


def describe(error: ChannelError) -> str:
    """Return what went wrong in one line: the platform's message, code and details."""
    code = f" (code {error.code})" if error.code else ""
    details = f" {error.details}" if error.details else ""
    return f"{error.message}{code}{details}"


def _is_there(tenant_id: UUID) -> bool:
    """Tell whether the tenant is to stay: Meta took its time, and its erasure may have begun."""
    return Tenant.objects.filter(pk=tenant_id).exclude(status=TenantStatus.ERASING).exists()


def _fetched(workspace: Workspace, now: datetime, name: str | None) -> Iterator[TemplateFacts]:
    if not workspace.waba_id:
        raise NotConfigured("The workspace has no WABA ID; add it in the admin.")
    yield from channel_for(workspace, now=now).fetch_templates(name=name)


def _run(account: TemplateSync, now: datetime) -> None:
    workspace = accounts.workspace_of(tenant_id=account.tenant_id, waba_id=account.waba_id)
    if workspace is None:
        accounts.forget(account)
        return
    extra = {"tenant_id": str(account.tenant_id), "workspace_id": str(workspace.pk)}
    try:
        report = sync(workspace, now=now, lease=account.due_at)
    except NotConfigured:
        pass  # it stands in the row; a tenant without a token is no news
    except ChannelError as error:
        failed = {"error": type(error).__name__, "code": error.code}
        logger.warning("whatsapp templates not synced", extra={**extra, **failed})
    else:
        if report.added or report.changed or report.removed:
            counts = {name: getattr(report, name) for name in report.__slots__}
            logger.info("whatsapp templates synced", extra={**extra, **counts})


def _note_failure(
    workspace: Workspace, now: datetime, lease: datetime | None, error: ChannelError
) -> None:
    wait = None
    if isinstance(error, NotConfigured):
        wait = UNCONFIGURED
    elif isinstance(error, Throttled) and error.retry_after is not None:
        wait = timedelta(seconds=error.retry_after)
    accounts.note_failure(
        tenant_id=workspace.tenant_id,
        waba_id=workspace.waba_id,
        now=now,
        error=describe(error),
        lease=lease,
        wait=wait,
    )
