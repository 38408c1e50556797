"""Whose phone number is it? The URL's tenant is a claim; the numbers inside the callback are
checked.

The signature proves "Meta, for this app"; where tenants share an app it says nothing about the
tenant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hmac import compare_digest
from uuid import UUID

from connectors.cloud_api.parsing import LINKED_DEVICE, Update
from messaging.events import IdentityChange, MarketingPreference, MessageEvent, StatusUpdate
from templates_wa.events import TemplateEvent
from workspaces.identity import digester
from workspaces.models import HOSTED, Workspace

NEEDS_NUMBER = (MessageEvent, StatusUpdate, IdentityChange, MarketingPreference)
WABA_ID = re.compile("(?!0$)[0-9]{1,64}")


class Numbers:
    """The workspaces that a batch of updates speaks of."""

    def __init__(self, workspaces: Iterable[Workspace]) -> None:
        self._by_number: dict[tuple[UUID, str], Workspace] = {}
        self._wabas: set[tuple[UUID, str]] = set()
        self._learned: dict[UUID, str] = {}
        for workspace in workspaces:
            self._by_number[workspace.tenant_id, workspace.external_id] = workspace
            if workspace.waba_id:
                self._wabas.add((workspace.tenant_id, workspace.waba_id))

    @classmethod
    def of(cls, updates: Iterable[tuple[UUID, Update]]) -> Numbers:
        """Load the workspaces of the given tenants and updates with one query; learn WABAs on the
        way.
        """
        pairs = list(updates)
        tenants = {tenant_id for tenant_id, _ in pairs}
        fields = ("id", "tenant_id", "external_id", "waba_id", "transport")
        numbers = cls(Workspace.objects.filter(tenant_id__in=tenants, is_active=True).only(*fields))
        numbers._notice(pairs)
        return numbers

    def workspace(self, tenant_id: UUID, phone_number_id: str) -> UUID:
        """Return the workspace of a number that :meth:`refusal` let pass."""
        return self._by_number[tenant_id, phone_number_id].pk

    def refusal(self, tenant_id: UUID, update: Update) -> str | None:
        """Return why an update is not the tenant's, or ``None`` if it is."""
        if update.phone_number_id:
            workspace = self._by_number.get((tenant_id, update.phone_number_id))
            if workspace is None:
                return "No active workspace of this tenant has this phone number id."
            if not _came_its_way(workspace, update):
                return "This phone number's updates come another way."
        elif any(isinstance(event, NEEDS_NUMBER) for event in update.events):
            return "The update names no phone number id."
        for event in update.events:
            if isinstance(event, TemplateEvent) and (tenant_id, event.waba_id) not in self._wabas:
                return "No workspace of this tenant belongs to this WhatsApp Business Account."
        return None

    def learn(self) -> None:
        """Remember the WABA of workspaces that had none (Meta names it beside the number)."""
        for workspace_id, waba_id in sorted(self._learned.items()):
            Workspace.objects.filter(pk=workspace_id, waba_id="").update(waba_id=waba_id)
        self._learned.clear()

    def _notice(self, updates: Iterable[tuple[UUID, Update]]) -> None:
        """Learn accounts, unless another tenant has them: what a callback says of itself proves
        nothing where anybody may own an app.
        """
        news = [
            (workspace, update.waba_id)
            for tenant_id, update in updates
            if (workspace := self._by_number.get((tenant_id, update.phone_number_id or "")))
            and not workspace.waba_id
            and workspace.transport not in HOSTED
            and WABA_ID.fullmatch(update.waba_id)
        ]
        owners = _owners({waba_id for _, waba_id in news})
        for workspace, waba_id in news:
            if not workspace.waba_id and owners.setdefault(waba_id, set()) <= {workspace.tenant_id}:
                owners[waba_id].add(workspace.tenant_id)
                workspace.waba_id = self._learned[workspace.pk] = waba_id
                self._wabas.add((workspace.tenant_id, waba_id))


def _came_its_way(workspace: Workspace, update: Update) -> bool:
    """Whether an update came from the linked device or, for other numbers, did not say so. Whoever
    may sign callbacks does not know what a device's envelopes are signed with.
    """
    if update.object != LINKED_DEVICE:
        return workspace.transport not in HOSTED
    if workspace.transport not in HOSTED:
        return False
    expected = digester(workspace.tenant_id).device(workspace.external_id)
    return compare_digest(update.waba_id.encode(), expected.encode())


def _owners(waba_ids: set[str]) -> dict[str, set[UUID]]:
    owners: dict[str, set[UUID]] = {}
    if waba_ids:
        rows = Workspace.objects.filter(waba_id__in=waba_ids)
        for waba_id, tenant_id in rows.values_list("waba_id", "tenant_id"):
            owners.setdefault(waba_id, set()).add(tenant_id)
    return owners
