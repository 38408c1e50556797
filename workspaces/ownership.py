"""Which tenant a phone number or an account (WABA) belongs to. What somebody typed is a claim and
proves nothing; the platform's own answer to the tenant's own access token outranks everything.

In an app that tenants share, an update goes to the tenant with the best proof, or to nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from workspaces.models import (
    HOSTED,
    Proof,
    SecretKind,
    Tenant,
    TenantSecret,
    TenantStatus,
    Workspace,
)

STALE = timedelta(days=1)
# The tenants that an update may go to: one, none of those who claim it, or too many. Whatever is
# not in it is claimed by nobody.
Owners = Mapping[str, Collection[UUID]]


def of_numbers(numbers: Collection[str]) -> Owners:
    """Return whose phone numbers these are."""
    rows = _active().filter(external_id__in=numbers)
    return _best(rows.values_list("external_id", "number_proof", "number_proven_at", "tenant_id"))


def of_accounts(accounts: Collection[str]) -> Owners:
    """Return whose accounts these are."""
    rows = _active().filter(waba_id__in=accounts)
    return _best(rows.values_list("waba_id", "account_proof", "account_proven_at", "tenant_id"))


def proven_by_token(accounts: Collection[str]) -> set[tuple[UUID, str]]:
    """Return the tenants (and account) whose token reads one of these accounts."""
    rows = _active().filter(waba_id__in=accounts, account_proof=Proof.TOKEN)
    return set(rows.values_list("tenant_id", "waba_id"))


def signers(tenant_ids: Collection[UUID]) -> set[UUID]:
    """Return the tenants whose callbacks are signed with a secret of their own, not with that of an
    app that tenants share.
    """
    rows = TenantSecret.objects.filter(tenant_id__in=tenant_ids, kind=SecretKind.APP_SECRET)
    own = set(rows.values_list("tenant_id", flat=True))
    configured = settings.SIGMA_WHATSAPP.app_secrets
    for tenant in Tenant.objects.filter(pk__in=set(tenant_ids) - own) if configured else ():
        if tenant.slug.lower() in configured or str(tenant.pk) in configured:
            own.add(tenant.pk)
    return own


def prove_number(workspace: Workspace, proof: Proof, *, now: datetime) -> None:
    """Note how the number of a workspace proved to be its tenant's; a better proof stays.

    A number that moved to another tenant is the new one's: a token that read it, and has not for a
    day, proves nothing any more.
    """
    same = Workspace.objects.filter(pk=workspace.pk, external_id=workspace.external_id)
    news = same.filter(**_is_news("number_proof", proof))
    news.update(number_proof=proof, number_proven_at=now)
    if proof == Proof.TOKEN:
        others = Workspace.objects.exclude(tenant_id=workspace.tenant_id).filter(
            external_id=workspace.external_id,
            number_proof=Proof.TOKEN,
            number_proven_at__lt=now - STALE,
        )
        others.update(number_proof=Proof.TYPED, account_proof=Proof.TYPED)


def prove_account(workspace: Workspace, account_id: str, proof: Proof, *, now: datetime) -> None:
    """Note which account the number of a workspace belongs to; a better proof stays."""
    same = Workspace.objects.filter(pk=workspace.pk, external_id=workspace.external_id)
    # In two steps: changing the id takes its proof away.
    same.filter(account_proof__lte=proof).exclude(waba_id=account_id).update(waba_id=account_id)
    news = same.filter(waba_id=account_id, **_is_news("account_proof", proof))
    news.update(account_proof=proof, account_proven_at=now)


def prove_accounts(tenant_id: UUID, account_ids: Iterable[str], *, now: datetime) -> None:
    """Note accounts that a tenant's token was granted."""
    rows = Workspace.objects.filter(tenant_id=tenant_id, waba_id__in=list(account_ids))
    rows.exclude(waba_id="").update(account_proof=Proof.TOKEN, account_proven_at=now)


def _is_news(column: str, proof: Proof) -> dict[str, Proof]:
    """Return which rows a proof changes: a token proves anew each time, a callback once."""
    return {f"{column}__lte" if proof == Proof.TOKEN else f"{column}__lt": proof}


def _active() -> QuerySet[Workspace]:
    rows = Workspace.objects.filter(is_active=True).exclude(transport__in=HOSTED)
    return rows.exclude(tenant__status=TenantStatus.ERASING)


def _best(claims: Iterable[tuple[str, int, datetime | None, UUID]]) -> Owners:
    found: dict[str, tuple[tuple[int, float], set[UUID]]] = {}
    for key, proof, proven_at, tenant_id in claims:
        # Whoever was named first stays: anybody may make a secret up, and sign with it later.
        since = proven_at.timestamp() if proven_at and proof == Proof.CALLBACK else 0.0
        rank = proof, -since
        best, tenants = found.setdefault(key, (rank, set()))
        if rank > best:
            found[key] = rank, {tenant_id}
        elif rank == best:
            tenants.add(tenant_id)
    typed = {key for key, ((proof, _), _) in found.items() if proof == Proof.TYPED}
    if typed and not _is_alone():
        return {key: () if key in typed else tenants for key, (_, tenants) in found.items()}
    return {key: tenants for key, (_, tenants) in found.items()}


def _is_alone() -> bool:
    """Whether there is one tenant only: nobody could take anything from them."""
    others = Tenant.objects.exclude(status=TenantStatus.ERASING)
    return others.order_by()[:2].count() < 2
