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

from django.utils import timezone

from connectors.whatsapp.wire.parsing import LINKED_DEVICE, Update
from messaging.events import (
    AddressBookName,
    IdentityChange,
    MarketingPreference,
    MessageEvent,
    StatusUpdate,
)
from templates_wa.events import TemplateEvent
from workspaces import ownership
from workspaces.identity import digester
from workspaces.models import HOSTED, Proof, Workspace

NEEDS_NUMBER = (MessageEvent, StatusUpdate, IdentityChange, MarketingPreference, AddressBookName)
FIELDS = (
    "id", "tenant_id", "external_id", "waba_id", "transport", "number_proof", "account_proof",
)  # fmt: skip
WABA_ID = re.compile("(?!0$)[0-9]{1,64}")


class Numbers:
    """The workspaces that a batch of updates speaks of."""

    def __init__(self, workspaces: Iterable[Workspace]) -> None:
        self._by_number: dict[tuple[UUID, str], Workspace] = {}
        self._wabas: set[tuple[UUID, str]] = set()
        self._proven: list[Workspace] = []
        self._learned: list[tuple[Workspace, Proof]] = []
        for workspace in workspaces:
            self._by_number[workspace.tenant_id, workspace.external_id] = workspace
            if workspace.waba_id:
                self._wabas.add((workspace.tenant_id, workspace.waba_id))

    @classmethod
    def of(cls, updates: Iterable[tuple[UUID, Update]]) -> Numbers:
        """Load the workspaces of the given tenants and updates with one query; look at what the
        updates prove, where anything is not proven yet.
        """
        pairs = list(updates)
        tenants = {tenant_id for tenant_id, _ in pairs}
        numbers = cls(Workspace.objects.filter(tenant_id__in=tenants, is_active=True).only(*FIELDS))
        numbers._look(pairs)
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
        """Remember what the updates proved (Meta names the account beside the number)."""
        now = timezone.now()
        for workspace in self._proven:
            ownership.prove_number(workspace, Proof.CALLBACK, now=now)
        for workspace, proof in self._learned:
            ownership.prove_account(workspace, workspace.waba_id, proof, now=now)
        self._proven.clear()
        self._learned.clear()

    def _look(self, updates: Iterable[tuple[UUID, Update]]) -> None:
        """A callback proves number and account where a secret of the tenant's own signed it. That
        of a shared app says which account the number has, and not whose it is.
        """
        news: dict[UUID, tuple[Workspace, str]] = {}
        for tenant_id, update in updates:
            workspace = self._by_number.get((tenant_id, update.phone_number_id or ""))
            if workspace is not None and _may_learn(workspace):
                news.setdefault(workspace.pk, (workspace, update.waba_id))
        if not news:
            return
        signers = ownership.signers({workspace.tenant_id for workspace, _ in news.values()})
        others = ownership.proven_by_token({account_id for _, account_id in news.values()})
        for _, (workspace, account_id) in sorted(news.items()):
            own = workspace.tenant_id in signers
            if own and workspace.number_proof == Proof.TYPED:
                self._proven.append(workspace)
            taken = any(a == account_id and t != workspace.tenant_id for t, a in others)
            if WABA_ID.fullmatch(account_id) and not taken and (own or not workspace.waba_id):
                self._learn(workspace, account_id, Proof.CALLBACK if own else Proof.TYPED)

    def _learn(self, workspace: Workspace, account_id: str, proof: Proof) -> None:
        if workspace.account_proof <= proof:
            workspace.waba_id = account_id
            self._wabas.add((workspace.tenant_id, account_id))
            self._learned.append((workspace, proof))


def _may_learn(workspace: Workspace) -> bool:
    unproven = Proof.TYPED in (workspace.number_proof, workspace.account_proof)
    return unproven and workspace.transport not in HOSTED


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
