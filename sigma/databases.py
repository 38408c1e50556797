"""Turn ``DATABASE_URL`` into Django's form."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

from sigma.env import InvalidSetting

SCHEMES = frozenset({"postgres", "postgresql"})
# Under five seconds to notice a database that is away; the receiver has stricter bounds of its own.
DEFAULT_OPTIONS = {"connect_timeout": "3", "application_name": "sigma"}


def parse(url: str) -> dict[str, object]:
    """Return Django's ``DATABASES`` entry for a ``postgresql://user:password@host:port/name`` URL.

    Query parameters become libpq options (``?sslmode=require``).

    Raises:
        InvalidSetting: another scheme, or no database name.
    """
    parts = urlsplit(url)
    name = unquote(parts.path.lstrip("/"))
    if parts.scheme not in SCHEMES or not name:
        raise InvalidSetting("DATABASE_URL must be postgresql://user:password@host:port/name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": {**DEFAULT_OPTIONS, **dict(parse_qsl(parts.query))},
        "CONN_MAX_AGE": 300,
        "CONN_HEALTH_CHECKS": True,
    }
