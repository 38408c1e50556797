"""System checks: settings that cannot work together, found at every start and by ``check``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.db import connection
from django.http.request import validate_host

# The id of the master key that the embedded default makes for itself.
GENERATED_KEY_ID = "local"


def master_key_is_generated() -> bool:
    """Whether new keys are wrapped by the key that the embedded default made beside the data."""
    return bool(settings.SIGMA_MASTER_KEYS[0][0] == GENERATED_KEY_ID)


def check_settings(
    *, app_configs: Sequence[AppConfig] | None = None, **_: Any
) -> list[CheckMessage]:
    """Return what would not work anywhere."""
    public = urlsplit(settings.SIGMA_PUBLIC_URL)
    found = [*_public_url(public), *_allowed_hosts(public)]
    if settings.DEBUG and public.scheme == "https":
        found.append(
            Error(
                "SIGMA_DEBUG is on while SIGMA_PUBLIC_URL is an https address.",
                hint="Debug pages show settings and data to everybody: unset SIGMA_DEBUG.",
                id="sigma.E001",
            )
        )
    return found


def check_deployment(
    *, app_configs: Sequence[AppConfig] | None = None, **_: Any
) -> list[CheckMessage]:
    """Return what is fine for trying things and not for production (``check --deploy``)."""
    found: list[CheckMessage] = []
    if urlsplit(settings.SIGMA_PUBLIC_URL).scheme != "https":
        found.append(
            Warning(
                "SIGMA_PUBLIC_URL is not an https address; Meta calls no other.",
                hint="Set it to the address under which Meta reaches this installation.",
                id="sigma.W001",
            )
        )
    if master_key_is_generated():
        found.append(
            Warning(
                "The master key is the one that was generated beside the data.",
                hint="Set SIGMA_MASTER_KEYS or SIGMA_MASTER_KEYS_FILE, and keep the old key in it.",
                id="sigma.W002",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        found.append(
            Warning(
                "SIGMA_ALLOWED_HOSTS accepts every host name.",
                hint="Name the hosts under which the admin and the API are reached.",
                id="sigma.W003",
            )
        )
    return found


def check_database_role(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Return whether the database's role may do more than the application needs
    (``check --database default``); a role that migrates has to.
    """
    if not databases:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper OR rolbypassrls OR EXISTS ("
            "SELECT FROM pg_class WHERE relname = 'messages' AND relowner = r.oid) "
            "FROM pg_roles r WHERE rolname = current_user"
        )
        (is_more,) = cursor.fetchone()
    if not is_more:
        return []
    return [
        Warning(
            "The database's role owns the tables or steps around row-level security.",
            hint="Run migrate as the owner and everything else as sigma_app: docs/operations.md.",
            id="sigma.W004",
        )
    ]


def _public_url(public: SplitResult) -> list[CheckMessage]:
    whole = public.scheme in ("http", "https") and public.hostname
    if whole and not (public.path or public.query or public.fragment or public.username):
        return []
    return [
        Error(
            f"SIGMA_PUBLIC_URL is {settings.SIGMA_PUBLIC_URL!r}.",
            hint="It must be scheme and host only, for example https://sigma.example.org.",
            id="sigma.E002",
        )
    ]


def _allowed_hosts(public: SplitResult) -> list[CheckMessage]:
    host = public.hostname or ""
    bracketed = f"[{host}]" if ":" in host else host
    if not host or validate_host(bracketed, settings.ALLOWED_HOSTS):
        return []
    return [
        Error(
            f"SIGMA_ALLOWED_HOSTS does not contain {host!r}, the host of SIGMA_PUBLIC_URL.",
            hint="The admin and the API would answer 400 there: add it.",
            id="sigma.E003",
        )
    ]
