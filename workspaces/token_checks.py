"""Ask the platform about every access token once a day, and about one that is no good once an hour.

https://developers.facebook.com/docs/graph-api/reference/debug_token
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from workspaces import secrets
from workspaces.channel_errors import ChannelError, Rejected, Unavailable
from workspaces.channel_facts import TokenFacts
from workspaces.channels import channel_of_token
from workspaces.envelope import CannotOpen
from workspaces.keys import TenantHasNoKeys
from workspaces.models import (
    SecretKind,
    TenantSecret,
    TenantStatus,
    TokenCheck,
    Transport,
    Workspace,
)

logger = logging.getLogger("sigma.whatsapp.tokens")

EVERY = timedelta(days=1)
WHILE_INVALID = timedelta(hours=1)
# Long enough to make a new token before the old one ends.
WARN_BEFORE = timedelta(days=7)
# How often in a row the platform may be silent before the others are left for the next time.
MOST_SILENCES = 3
MAX_WORD = 64


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one check; ``is_used`` tells the token that a tenant's channels use."""

    tenant_id: UUID
    secret_id: int
    is_valid: bool
    is_used: bool


def check_due(*, now: datetime) -> Iterator[Checked]:
    """Check the tokens whose turn it is."""
    silences = 0
    for secret in due(now).order_by("tenant_id", "id"):
        try:
            found = check(secret, now=now)
        except (CannotOpen, TenantHasNoKeys):
            _warn("whatsapp access token cannot be opened", secret)
        except ChannelError as error:
            _warn("whatsapp access token not checked", secret, type(error).__name__)
            silences += isinstance(error, Unavailable)
        else:
            silences = 0
            yield found
        if silences == MOST_SILENCES:
            return


def check(secret: TenantSecret, *, now: datetime) -> Checked:
    """Ask the platform about one token, and store what it says.

    Raises:
        workspaces.channel_errors.ChannelError: no proper answer; what was known stays.
        workspaces.envelope.CannotOpen: the token was altered.
    """
    facts = _ask(secret, now)
    problem = facts.problem or (_account_problem(secret, facts) if facts.is_valid else "")
    TokenCheck.objects.update_or_create(
        secret=secret,
        defaults={
            "tenant_id": secret.tenant_id,
            "checked_at": now,
            "is_valid": facts.is_valid,
            "expires_at": facts.expires_at,
            "scopes": [scope[:MAX_WORD] for scope in facts.scopes],
            "account_ids": [account[:MAX_WORD] for account in facts.account_ids],
            "problem": problem,
        },
    )
    if not facts.is_valid:
        _warn("whatsapp access token is not valid", secret)
    elif problem:
        _warn("whatsapp access token lacks something", secret)
    elif facts.expires_at and facts.expires_at <= now + WARN_BEFORE:
        _warn("whatsapp access token expires soon", secret, facts.expires_at.isoformat())
    return Checked(secret.tenant_id, secret.pk, facts.is_valid, _is_used(secret, now))


def latest(tenant_id: UUID) -> TokenCheck | None:
    """Return what the platform last said about the newest token of a tenant's that was checked."""
    return TokenCheck.objects.filter(tenant_id=tenant_id).order_by("-secret_id").first()


def due(now: datetime) -> QuerySet[TenantSecret]:
    """Return the live access tokens of active tenants that were not checked lately."""
    never = Q(token_check=None)
    old = Q(token_check__checked_at__lte=now - EVERY)
    invalid = Q(token_check__is_valid=False, token_check__checked_at__lte=now - WHILE_INVALID)
    rows = secrets.live(now).filter(kind=SecretKind.ACCESS_TOKEN)
    return rows.filter(never | old | invalid, tenant__status=TenantStatus.ACTIVE)


def _ask(secret: TenantSecret, now: datetime) -> TokenFacts:
    try:
        return channel_of_token(secret, transport=Transport.CLOUD_API, now=now).token()
    except Rejected as refused:
        if not refused.code:
            raise
        # Meta refused to speak of it at all, as with an app secret that is not this token's.
        return TokenFacts(False, problem=f"{refused} {refused.details}".strip())


def _account_problem(secret: TenantSecret, facts: TokenFacts) -> str:
    """Say which accounts of the tenant the token was not granted; an ungranular one has all."""
    if not facts.account_ids:
        return ""
    rows = Workspace.objects.filter(tenant_id=secret.tenant_id, is_active=True).exclude(waba_id="")
    wanted = set(rows.values_list("waba_id", flat=True))
    missing = sorted(wanted - set(facts.account_ids))
    return f"The token was not granted the account {', '.join(missing)}." if missing else ""


def _is_used(secret: TenantSecret, now: datetime) -> bool:
    of_tenant = secrets.live(now).filter(tenant_id=secret.tenant_id, kind=secret.kind)
    return of_tenant.values_list("pk", flat=True).first() == secret.pk


def _warn(message: str, secret: TenantSecret, detail: str = "") -> None:
    extra = {"tenant_id": secret.tenant_id, "secret_id": secret.pk, "detail": detail}
    logger.warning(message, extra=extra)
