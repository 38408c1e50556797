"""WhatsApp secrets from ``appsettings.json`` and the environment, in the shape the documentation
shows.

The environment wins over the file: ``Platforms__WhatsApp__AppSecrets__<tenant>``,
``Platforms__WhatsApp__DefaultAppSecret``, ``Platforms__WhatsApp__VerifyToken``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from sigma.env import InvalidSetting
from workspaces.tokens import UnusableToken, check_app_secret, check_verify_token

PREFIX = "Platforms__WhatsApp__"
KNOWN_KEYS = frozenset({"AppSecrets", "DefaultAppSecret", "VerifyToken"})


@dataclass(frozen=True, slots=True)
class WhatsAppSettings:
    """Installation-wide WhatsApp secrets; ``app_secrets`` is keyed by tenant slug or UUID."""

    app_secrets: dict[str, str] = field(default_factory=dict, repr=False)
    default_app_secret: str = field(default="", repr=False)
    verify_token: str = field(default="", repr=False)

    def app_secrets_of(self, slug: str, tenant_id: UUID) -> list[str]:
        """Return the app secrets configured for a tenant that has none of its own, first what names
        it.
        """
        named = self.app_secrets.get(slug.lower()) or self.app_secrets.get(str(tenant_id))
        return list(dict.fromkeys(value for value in (named, self.default_app_secret) if value))


def load(path: Path, environment: Mapping[str, str], *, required: bool = False) -> WhatsAppSettings:
    """Read and validate the WhatsApp settings; a file that is not ``required`` may be absent.

    Raises:
        InvalidSetting: the file is missing or not of the documented shape, or a value is an
            example or too short.
    """
    if required and not path.exists():
        raise InvalidSetting(f"SIGMA_APPSETTINGS names {path}, which does not exist.")
    section = _section(path)
    settings = WhatsAppSettings(
        app_secrets=_app_secrets(section, environment),
        default_app_secret=_text(section, environment, "DefaultAppSecret"),
        verify_token=_text(section, environment, "VerifyToken"),
    )
    _validate(settings)
    return settings


def _section(path: Path) -> dict[str, object]:
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InvalidSetting(f"{path.name} cannot be read as JSON: {error}") from error
    section: object = document
    for key in ("Platforms", "WhatsApp"):
        section = section.get(key, {}) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        raise InvalidSetting(f"{path.name}: Platforms.WhatsApp must be an object.")
    if unknown := set(section) - KNOWN_KEYS:
        raise InvalidSetting(f"{path.name}: unknown key Platforms.WhatsApp.{sorted(unknown)[0]}.")
    return section


def _app_secrets(section: dict[str, object], environment: Mapping[str, str]) -> dict[str, str]:
    stored = section.get("AppSecrets", {})
    if not isinstance(stored, dict) or not all(isinstance(v, str) for v in stored.values()):
        raise InvalidSetting("Platforms.WhatsApp.AppSecrets must map tenants to app secrets.")
    prefix = f"{PREFIX}AppSecrets__"
    overrides = {k.removeprefix(prefix): v for k, v in environment.items() if k.startswith(prefix)}
    return {tenant.lower(): secret.strip() for tenant, secret in {**stored, **overrides}.items()}


def _text(section: dict[str, object], environment: Mapping[str, str], key: str) -> str:
    value = environment.get(PREFIX + key) or section.get(key, "")
    if not isinstance(value, str):
        raise InvalidSetting(f"Platforms.WhatsApp.{key} must be text.")
    return value.strip()


def _validate(settings: WhatsAppSettings) -> None:
    try:
        for tenant, secret in settings.app_secrets.items():
            check_app_secret(secret, name=f"Platforms.WhatsApp.AppSecrets[{tenant}]", tenant=tenant)
        if settings.default_app_secret:
            check_app_secret(
                settings.default_app_secret, name="Platforms.WhatsApp.DefaultAppSecret"
            )
        if settings.verify_token:
            check_verify_token(settings.verify_token, name="Platforms.WhatsApp.VerifyToken")
    except UnusableToken as error:
        raise InvalidSetting(str(error)) from error
