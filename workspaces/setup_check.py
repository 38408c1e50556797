"""What is missing in a tenant's set-up, and what to do about it. Pure: facts in, findings out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from workspaces.models import SecretKind, TenantStatus

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


@dataclass(frozen=True, slots=True)
class TokenState:
    """What the platform last said about an access token; ``problem`` is empty where all is well."""

    is_valid: bool
    expires_at: datetime | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """A stored secret, without its value."""

    kind: str
    label: str
    expires_at: datetime | None
    token: TokenState | None = None

    @property
    def title(self) -> str:
        """The secret as people call it."""
        kind = SecretKind(self.kind).label
        return f"{kind} “{self.label}”" if self.label else f"One {kind.lower()}"


@dataclass(frozen=True, slots=True)
class WorkspaceFacts:
    """A workspace, as far as the rules ask."""

    name: str
    waba_id: str
    is_active: bool
    is_linked: bool = False


@dataclass(frozen=True, slots=True)
class SetUp:
    """Everything the rules look at."""

    status: str
    has_keys: bool
    secrets: tuple[SecretFacts, ...]
    configured_app_secret: bool
    configured_verify_token: bool
    workspaces: tuple[WorkspaceFacts, ...]
    numbers_shared_with_others: bool
    public_url: str
    master_key_is_generated: bool
    has_readers: bool

    def live(self, kind: SecretKind, now: datetime) -> list[SecretFacts]:
        """Return the secrets of a kind that have not expired."""
        of_kind = [secret for secret in self.secrets if secret.kind == kind]
        return [s for s in of_kind if s.expires_at is None or s.expires_at > now]


Rule = Callable[[SetUp, datetime], Iterator[Finding]]


def check(set_up: SetUp, *, now: datetime) -> list[Finding]:
    """Return what is wrong, errors first."""
    active = [workspace for workspace in set_up.workspaces if workspace.is_active]
    is_metas = not active or not all(workspace.is_linked for workspace in active)
    rules = RULES if is_metas else [rule for rule in RULES if rule not in METAS]
    found = [finding for rule in rules for finding in rule(set_up, now)]
    return sorted(found, key=lambda finding: finding.severity != Severity.ERROR)


def _status(set_up: SetUp, _: datetime) -> Iterator[Finding]:
    if set_up.status == TenantStatus.ERASING:
        yield Finding(
            Severity.ERROR,
            "The tenant is being erased and receives nothing.",
            "Run the erasure again if it was interrupted; it cannot be undone.",
        )
    elif set_up.status == TenantStatus.SUSPENDED:
        yield Finding(
            Severity.WARNING,
            "The tenant is suspended: callbacks are stored, its API keys are refused.",
            "Set the status to ACTIVE.",
        )


def _keys(set_up: SetUp, _: datetime) -> Iterator[Finding]:
    if not set_up.has_keys:
        yield Finding(
            Severity.ERROR,
            "The tenant has no keys, so nothing of it can be stored.",
            "Tenants are made in the admin or with manage.py create_tenant, not by SQL alone.",
        )


def _app_secret(set_up: SetUp, now: datetime) -> Iterator[Finding]:
    if not set_up.live(SecretKind.APP_SECRET, now) and not set_up.configured_app_secret:
        yield Finding(
            Severity.ERROR,
            "There is no app secret: every callback is refused with 401.",
            "Copy it from Meta's app dashboard (App settings → Basic) into Secrets.",
        )


def _verify_token(set_up: SetUp, now: datetime) -> Iterator[Finding]:
    if not set_up.live(SecretKind.VERIFY_TOKEN, now) and not set_up.configured_verify_token:
        yield Finding(
            Severity.ERROR,
            "There is no verify token: Meta cannot confirm the callback URL.",
            "Add one of at least 20 random characters under Secrets.",
        )


def _access_token(set_up: SetUp, now: datetime) -> Iterator[Finding]:
    if not set_up.live(SecretKind.ACCESS_TOKEN, now):
        yield Finding(
            Severity.WARNING,
            "There is no access token: media cannot be downloaded and nothing can be sent.",
            "Add a system user's token with the permission whatsapp_business_messaging.",
        )


def _tokens(set_up: SetUp, now: datetime) -> Iterator[Finding]:
    for secret in set_up.live(SecretKind.ACCESS_TOKEN, now):
        token = secret.token
        if token is None:
            continue
        if not token.is_valid:
            remedy = "Issue a new one at Meta and add it under Secrets."
            yield Finding(Severity.ERROR, f"{secret.title} is refused. {token.problem}", remedy)
        elif token.problem:
            remedy = "Give the system user that permission or account, then issue a new token."
            yield Finding(Severity.WARNING, f"{secret.title}: {token.problem}", remedy)
        elif token.expires_at is not None and token.expires_at <= now + EXPIRES_SOON:
            when = token.expires_at.strftime(WHEN)
            remedy = "Add its successor beside it; the newest is used."
            yield Finding(Severity.WARNING, f"Meta ends {secret.title} on {when}.", remedy)


def _fitting(set_up: SetUp, now: datetime) -> Iterator[Finding]:
    for secret in set_up.live(SecretKind.APP_SECRET, now):
        if secret.token is not None and not secret.token.is_valid:
            yield Finding(
                Severity.WARNING,
                f"{secret.title} fits no access token. {secret.token.problem}",
                "Copy the app secret and the token from one and the same app; delete the old one.",
            )


def _expiring(set_up: SetUp, now: datetime) -> Iterator[Finding]:
    for secret in set_up.secrets:
        if secret.expires_at is None or secret.expires_at > now + EXPIRES_SOON:
            continue
        if secret.expires_at <= now:
            yield Finding(
                Severity.WARNING, f"{secret.title} has expired.", "Delete it under Secrets."
            )
        else:
            when = secret.expires_at.strftime(WHEN)
            yield Finding(
                Severity.WARNING,
                f"{secret.title} expires on {when}.",
                "Add its successor beside it; both are live until then.",
            )


def _workspaces(set_up: SetUp, _: datetime) -> Iterator[Finding]:
    active = [workspace for workspace in set_up.workspaces if workspace.is_active]
    if not active:
        yield Finding(
            Severity.ERROR,
            "There is no active workspace: every update goes to quarantine.",
            "Add one with Meta's phone number ID, then replay what is in quarantine.",
        )
    for workspace in active:
        if not workspace.waba_id and not workspace.is_linked:
            yield Finding(
                Severity.WARNING,
                f"Workspace “{workspace.name}” has no WABA ID: template events are not assigned.",
                "Copy it from WhatsApp Manager into the workspace.",
            )
    if set_up.numbers_shared_with_others:
        yield Finding(
            Severity.WARNING,
            "A phone number ID is also registered by another tenant.",
            "On a shared callback URL nobody can tell whose it is; deactivate one of the two.",
        )


def _readers(set_up: SetUp, _: datetime) -> Iterator[Finding]:
    if not set_up.has_readers:
        yield Finding(
            Severity.WARNING,
            "Nobody can read the messages: there is no API key and no member.",
            "Issue an API key or add a membership.",
        )


def _installation(set_up: SetUp, _: datetime) -> Iterator[Finding]:
    if not set_up.public_url.startswith("https://"):
        yield Finding(
            Severity.WARNING,
            f"The public address is {set_up.public_url}; Meta calls https addresses only.",
            "Set SIGMA_PUBLIC_URL to the https address that reaches this installation.",
        )
    if set_up.master_key_is_generated:
        yield Finding(
            Severity.WARNING,
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
