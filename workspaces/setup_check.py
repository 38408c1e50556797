"""What is missing in a tenant's set-up, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from django.conf import settings

from workspaces import access
from workspaces.checks import master_key_is_generated
from workspaces.models import (
    HOSTED,
    KeyPurpose,
    SecretKind,
    Tenant,
    TenantSecret,
    TenantStatus,
    TokenCheck,
    Workspace,
)

# Long enough to get a new secret from Meta before the old one ends.
EXPIRES_SOON = timedelta(days=7)
WHEN = "%d %B %Y, %H:%M UTC"


class Severity(StrEnum):
    """``ERROR``: something does not work. ``WARNING``: something will not, or is not safe."""

    ERROR = "ERROR"
    WARNING = "WARNING"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is missing or wrong, and its remedy."""

    severity: Severity
    message: str
    remedy: str


_error, _warning = partial(Finding, Severity.ERROR), partial(Finding, Severity.WARNING)


@dataclass(frozen=True, slots=True)
class SetUp:
    """Everything the rules look at: rows of a tenant, and facts of it and of the installation."""

    status: str
    has_keys: bool
    secrets: Sequence[TenantSecret]
    configured_app_secret: bool
    configured_verify_token: bool
    workspaces: Sequence[Workspace]
    numbers_shared_with_others: bool
    public_url: str
    master_key_is_generated: bool
    has_readers: bool

    def live(self, kind: SecretKind, now: datetime) -> list[TenantSecret]:
        """Return the secrets of a kind that have not expired."""
        of_kind = [secret for secret in self.secrets if secret.kind == kind]
        return [s for s in of_kind if s.expires_at is None or s.expires_at > now]

    def active(self) -> list[Workspace]:
        """Return the workspaces that are in use."""
        return [workspace for workspace in self.workspaces if workspace.is_active]


Rule = Callable[[SetUp, datetime], Iterator[Finding]]


def findings_of(tenant: Tenant, *, now: datetime) -> list[Finding]:
    """Return what is missing in a tenant's set-up, errors first."""
    return check(gather(tenant, now=now), now=now)


def gather(tenant: Tenant, *, now: datetime) -> SetUp:
    """Read what the rules look at of one tenant."""
    configured = settings.SIGMA_WHATSAPP
    secrets = tenant.secrets.defer("sealed").select_related("token_check").order_by("id")
    workspaces = list(tenant.workspaces.order_by("name", "id"))
    numbers = [workspace.external_id for workspace in workspaces if workspace.is_active]
    same = Workspace.objects.filter(external_id__in=numbers, is_active=True)
    keys = access.usable_api_keys(now).filter(tenant=tenant)
    return SetUp(
        status=tenant.status,
        has_keys=tenant.keys.values("purpose").distinct().count() == len(KeyPurpose),
        secrets=list(secrets),
        configured_app_secret=bool(configured.app_secrets_of(tenant.slug, tenant.id)),
        configured_verify_token=bool(configured.verify_token),
        workspaces=workspaces,
        numbers_shared_with_others=same.exclude(tenant=tenant).exists(),
        public_url=settings.SIGMA_PUBLIC_URL,
        master_key_is_generated=master_key_is_generated(),
        has_readers=keys.exists() or tenant.memberships.exists(),
    )


def check(set_up: SetUp, *, now: datetime) -> list[Finding]:
    """Return what is wrong, errors first."""
    active = set_up.active()
    is_metas = not active or any(workspace.transport not in HOSTED for workspace in active)
    rules = RULES if is_metas else [rule for rule in RULES if rule not in METAS]
    found = [finding for rule in rules for finding in rule(set_up, now)]
    return sorted(found, key=lambda finding: finding.severity != Severity.ERROR)


def _title(secret: TenantSecret) -> str:
    """Return what people call a secret."""
    kind = SecretKind(secret.kind).label
    return f"{kind} “{secret.label}”" if secret.label else f"One {kind.lower()}"


def _check_of(secret: TenantSecret) -> TokenCheck | None:
    """Return what the platform last said of a secret, if it was asked."""
    found: TokenCheck | None = getattr(secret, "token_check", None)
    return found


def _status(set_up: SetUp, _: datetime) -> Iterator[Finding]:
    if set_up.status == TenantStatus.ERASING:
        yield _error(
            "The tenant is being erased and receives nothing.",
            "Run the erasure again if it was interrupted; it cannot be undone.",
        )
    elif set_up.status == TenantStatus.SUSPENDED:
        yield _warning(
            "The tenant is suspended: callbacks are stored, its API keys are refused.",
            "Set the status to ACTIVE.",
        )


def _keys(set_up: SetUp, _: datetime) -> Iterator[Finding]:
    if not set_up.has_keys:
        yield _error(
            "The tenant has no keys, so nothing of it can be stored.",
            "Tenants are made in the admin or with manage.py create_tenant, not by SQL alone.",
        )


def _app_secret(set_up: SetUp, now: datetime) -> Iterator[Finding]:
    if not set_up.live(SecretKind.APP_SECRET, now) and not set_up.configured_app_secret:
        yield _error(
            "There is no app secret: every callback is refused with 401.",
            "Copy it from Meta's app dashboard (App settings → Basic) into Secrets.",
        )


def _verify_token(set_up: SetUp, now: datetime) -> Iterator[Finding]:
    if not set_up.live(SecretKind.VERIFY_TOKEN, now) and not set_up.configured_verify_token:
        yield _error(
            "There is no verify token: Meta cannot confirm the callback URL.",
            "Add one of at least 20 random characters under Secrets.",
        )


def _access_token(set_up: SetUp, now: datetime) -> Iterator[Finding]:
    if not set_up.live(SecretKind.ACCESS_TOKEN, now):
        yield _warning(
            "There is no access token: media cannot be downloaded and nothing can be sent.",
            "Add a system user's token with the permission whatsapp_business_messaging.",
        )


def _tokens(set_up: SetUp, now: datetime) -> Iterator[Finding]:
    for secret in set_up.live(SecretKind.ACCESS_TOKEN, now):
        token, title = _check_of(secret), _title(secret)
        if token is None:
            continue
        if not token.is_valid:
            remedy = "Issue a new one at Meta and add it under Secrets."
            yield _error(f"{title} is refused. {token.problem}", remedy)
        elif token.problem:
            remedy = "Give the system user that permission or account, then issue a new token."
            yield _warning(f"{title}: {token.problem}", remedy)
        elif token.expires_at is not None and token.expires_at <= now + EXPIRES_SOON:
            when = token.expires_at.strftime(WHEN)
            remedy = "Add its successor beside it; the newest is used."
            yield _warning(f"Meta ends {title} on {when}.", remedy)


def _fitting(set_up: SetUp, now: datetime) -> Iterator[Finding]:
    for secret in set_up.live(SecretKind.APP_SECRET, now):
        token, title = _check_of(secret), _title(secret)
        if token is not None and not token.is_valid:
            yield _warning(
                f"{title} fits no access token. {token.problem}",
                "Copy the app secret and the token from one and the same app; delete the old one.",
            )


def _expiring(set_up: SetUp, now: datetime) -> Iterator[Finding]:
    for secret in set_up.secrets:
        if secret.expires_at is None or secret.expires_at > now + EXPIRES_SOON:
            continue
        title = _title(secret)
        if secret.expires_at <= now:
            yield _warning(f"{title} has expired.", "Delete it under Secrets.")
        else:
            when = secret.expires_at.strftime(WHEN)
            yield _warning(
                f"{title} expires on {when}.",
                "Add its successor beside it; both are live until then.",
            )


def _workspaces(set_up: SetUp, _: datetime) -> Iterator[Finding]:
    active = set_up.active()
    if not active:
        yield _error(
            "There is no active workspace: every update goes to quarantine.",
            "Add one with Meta's phone number ID, then replay what is in quarantine.",
        )
    for workspace in active:
        if not workspace.waba_id and workspace.transport not in HOSTED:
            yield _warning(
                f"Workspace “{workspace.name}” has no WABA ID: template events are not assigned.",
                "Copy it from WhatsApp Manager into the workspace.",
            )
    if set_up.numbers_shared_with_others:
        yield _warning(
            "A phone number ID is also registered by another tenant.",
            "On a shared callback URL nobody can tell whose it is; deactivate one of the two.",
        )


def _readers(set_up: SetUp, _: datetime) -> Iterator[Finding]:
    if not set_up.has_readers:
        yield _warning(
            "Nobody can read the messages: there is no API key and no member.",
            "Issue an API key or add a membership.",
        )


def _installation(set_up: SetUp, _: datetime) -> Iterator[Finding]:
    if not set_up.public_url.startswith("https://"):
        yield _warning(
            f"The public address is {set_up.public_url}; Meta calls https addresses only.",
            "Set SIGMA_PUBLIC_URL to the https address that reaches this installation.",
        )
    if set_up.master_key_is_generated:
        yield _warning(
            "All keys are wrapped by the master key that was generated beside the data.",
            "Back it up elsewhere; for production set SIGMA_MASTER_KEYS or SIGMA_MASTER_KEYS_FILE.",
        )


# What linked devices do without.
METAS = (_app_secret, _verify_token, _access_token)
RULES: tuple[Rule, ...] = (
    _status,
    _keys,
    _app_secret,
    _verify_token,
    _workspaces,
    _access_token,
    _tokens,
    _fitting,
    _expiring,
    _readers,
    _installation,
)
