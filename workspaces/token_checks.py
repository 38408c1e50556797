"""Ask the platform about every access token once a day, about one that is no good once an hour, and
about each secret when it is entered.

https://developers.facebook.com/docs/graph-api/reference/debug_token
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet

from lib.envelope import CannotOpen
from lib.wakeups import WakeUp
from workspaces import ownership, secrets
from workspaces.channel_errors import (
    ChannelError,
    NotConfigured,
    Rejected,
    Unavailable,
    WrongAppSecret,
)
from workspaces.channel_facts import TokenFacts
from workspaces.channels import app_secrets, channel_of_token, configured_app_secrets
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
LATELY = timedelta(minutes=5)
# Woken when a secret was entered: sending may go on.
WAKE_UP = WakeUp("tokens", task="tokens.check", queue="maintenance")
# Long enough to make a new token before the old one ends.
WARN_BEFORE = timedelta(days=7)
# How often in a row the platform may be silent before the others are left for the next time.
MOST_SILENCES = 3
MAX_WORD = 64


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one check. ``is_fine``: the platform accepts the token, and it lacks nothing;
    ``is_used`` tells the token that a tenant's channels use.
    """

    tenant_id: UUID
    secret_id: int
    is_valid: bool
    is_fine: bool
    is_used: bool


class TokenAnswer(NamedTuple):
    """What the platform says of a secret, in a sentence; ``None``: it was not tried, for that
    reason.
    """

    is_good: bool | None
    sentence: str


NOT_TRIED = "not tried"


def check_due(*, now: datetime, doubted: Collection[UUID] = ()) -> Iterator[Checked]:
    """Check the tokens whose turn it is; those of ``doubted`` tenants have theirs every hour."""
    silences = 0
    for secret in due(now, doubted).order_by("tenant_id", "id"):
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
    """Ask the platform about one token, and store what it says, with the app secret that fits.

    Raises:
        workspaces.channel_errors.ChannelError: no proper answer; what was known stays.
        lib.envelope.CannotOpen: the token was altered.
    """
    facts, fitting = _ask(secret, now)
    problem = _problem_of(secret, facts)
    _store(secret, facts, problem, fitting, now=now)
    if not facts.is_valid:
        _warn("whatsapp access token is not valid", secret)
    elif problem:
        _warn("whatsapp access token lacks something", secret)
    elif facts.expires_at and facts.expires_at <= now + WARN_BEFORE:
        _warn("whatsapp access token expires soon", secret, facts.expires_at.isoformat())
    is_fine = facts.is_valid and not problem
    return Checked(secret.tenant_id, secret.pk, facts.is_valid, is_fine, _is_used(secret, now))


def try_out(secret: TenantSecret, *, now: datetime) -> TokenAnswer:
    """Try a secret that was entered just now, and store the answer; it stays in any case.

    An access token is asked about; an app secret proves each live token until it fits one.
    """
    try:
        if secret.kind == SecretKind.ACCESS_TOKEN:
            check(secret, now=now)
        elif secret.kind == SecretKind.APP_SECRET:
            _try_app_secret(secret, now)
    except (CannotOpen, TenantHasNoKeys) as error:
        return TokenAnswer(None, f"{NOT_TRIED}: it cannot be opened. {error}")
    except ChannelError as error:
        _warn("whatsapp secret not tried", secret, type(error).__name__)
        return TokenAnswer(None, f"{NOT_TRIED}: {error}")
    WAKE_UP.notify()
    return answer_about(secret)


def answer_about(secret: TenantSecret) -> TokenAnswer:
    """Return what the platform last said of a secret."""
    found = TokenCheck.objects.filter(secret=secret).first()
    if secret.kind == SecretKind.VERIFY_TOKEN:
        return TokenAnswer(None, "")
    if found is None:
        return TokenAnswer(None, NOT_TRIED)
    good = "Meta accepts it." if secret.kind == SecretKind.ACCESS_TOKEN else "It fits the token."
    return TokenAnswer(found.is_valid and not found.problem, found.problem or good)


def latest(tenant_id: UUID) -> TokenCheck | None:
    """Return what the platform last said about the newest token of a tenant's that was checked."""
    rows = TokenCheck.objects.filter(tenant_id=tenant_id, kind=SecretKind.ACCESS_TOKEN)
    return rows.order_by("-secret_id").first()


def found_fine_since(tenant_id: UUID, since: datetime, *, now: datetime) -> bool:
    """Whether the token that a tenant's channels use was asked about since then, and is fine."""
    tokens = secrets.live(now).filter(tenant_id=tenant_id, kind=SecretKind.ACCESS_TOKEN)
    found = TokenCheck.objects.filter(secret=tokens.first()).first()
    is_fine = found is not None and found.is_valid and not found.problem
    return found is not None and is_fine and found.checked_at > since


def entered_lately(now: datetime) -> set[UUID]:
    """Return the tenants with a valid access token that is new."""
    rows = secrets.live(now).filter(kind=SecretKind.ACCESS_TOKEN, token_check__is_valid=True)
    return set(rows.filter(created_at__gt=now - LATELY).values_list("tenant_id", flat=True))


def due(now: datetime, doubted: Collection[UUID] = ()) -> QuerySet[TenantSecret]:
    """Return the live access tokens of active tenants that were not checked lately."""
    never = Q(token_check=None)
    old = Q(token_check__checked_at__lte=now - EVERY)
    is_bad = Q(token_check__is_valid=False) | ~Q(token_check__problem="")
    bad = (is_bad | Q(tenant__in=doubted)) & Q(token_check__checked_at__lte=now - WHILE_INVALID)
    rows = secrets.live(now).filter(kind=SecretKind.ACCESS_TOKEN)
    return rows.filter(never | old | bad, tenant__status=TenantStatus.ACTIVE)


def _ask(token: TenantSecret, now: datetime) -> tuple[TokenFacts, TenantSecret | None]:
    """Return what the platform says of a token, and the stored app secret that fits it, if there is
    any that does.
    """
    stored = app_secrets(token, now=now)
    candidates: list[tuple[TenantSecret | None, list[str]]] = [
        (secret, [secrets.reveal(secret)]) for secret in stored
    ]
    configured = configured_app_secrets(token, has_stored=bool(stored))
    if configured or not stored:
        candidates.append((None, configured))
    facts = TokenFacts(False)
    for secret, values in candidates:
        try:
            return channel_of_token(token, values, transport=Transport.CLOUD_API).token(), secret
        except WrongAppSecret as refused:
            facts = _refused(refused)
        except Rejected as refused:
            if not refused.code:
                raise
            # Meta refused to speak of it at all.
            return _refused(refused), None
    return facts, None


def _refused(error: Rejected) -> TokenFacts:
    return TokenFacts(False, problem=f"{error} {error.details}".strip())


def _try_app_secret(secret: TenantSecret, now: datetime) -> None:
    """Find a token that the secret fits: that one is used with it from now on.

    Raises:
        workspaces.channel_errors.ChannelError: there is no token, or no proper answer.
    """
    tokens = list(secrets.live(now).filter(tenant=secret.tenant_id, kind=SecretKind.ACCESS_TOKEN))
    if not tokens:
        raise NotConfigured("there is no access token yet that it could fit.")
    for token in tokens:
        try:
            values = [secrets.reveal(secret)]
            facts = channel_of_token(token, values, transport=Transport.CLOUD_API).token()
        except WrongAppSecret:
            continue
        _store(token, facts, _problem_of(token, facts), secret, now=now)
        _store(secret, TokenFacts(True), "", None, now=now)
        return
    problem = "It is not the secret of the app of any access token."
    _store(secret, TokenFacts(False), problem, None, now=now)


def _store(
    secret: TenantSecret,
    facts: TokenFacts,
    problem: str,
    fitting: TenantSecret | None,
    *,
    now: datetime,
) -> None:
    TokenCheck.objects.update_or_create(
        secret=secret,
        defaults={
            "tenant_id": secret.tenant_id,
            "kind": secret.kind,
            "checked_at": now,
            "is_valid": facts.is_valid,
            "expires_at": facts.expires_at,
            "scopes": [scope[:MAX_WORD] for scope in facts.scopes],
            "account_ids": [account[:MAX_WORD] for account in facts.account_ids],
            "problem": problem,
            "app_secret_id": fitting.pk if fitting else None,
        },
    )
    if facts.is_valid and facts.account_ids:
        ownership.prove_accounts(secret.tenant_id, facts.account_ids, now=now)


def _problem_of(token: TenantSecret, facts: TokenFacts) -> str:
    """Return what the platform says against a token, else which accounts of the tenant it was not
    granted; an ungranular one has all.
    """
    if facts.problem or not facts.is_valid or not facts.account_ids:
        return facts.problem
    rows = Workspace.objects.filter(tenant_id=token.tenant_id, is_active=True).exclude(waba_id="")
    wanted = set(rows.values_list("waba_id", flat=True))
    missing = sorted(wanted - set(facts.account_ids))
    return f"The token was not granted the account {', '.join(missing)}." if missing else ""


def _is_used(secret: TenantSecret, now: datetime) -> bool:
    of_tenant = secrets.live(now).filter(tenant_id=secret.tenant_id, kind=secret.kind)
    return of_tenant.values_list("pk", flat=True).first() == secret.pk


def _warn(message: str, secret: TenantSecret, detail: str = "") -> None:
    extra = {"tenant_id": secret.tenant_id, "secret_id": secret.pk, "detail": detail}
    logger.warning(message, extra=extra)
