"""Turn ``DATABASE_URL`` into Django's form, and refuse a ``REDIS_URL`` that leads nowhere."""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from sigma.env import InvalidSetting

SCHEMES = frozenset({"postgres", "postgresql"})
BROKER_SCHEMES = frozenset({"redis", "rediss"})
# Under five seconds to notice a database that is away; the receiver has stricter bounds of its own.
DEFAULT_OPTIONS = {
    "connect_timeout": "3",
    "application_name": "sigma",
    # A server that vanished without a word (fail-over, cable) is noticed in seconds, not in hours.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


def parse(url: str) -> dict[str, object]:
    """Return Django's ``DATABASES`` entry for a ``postgresql://user:password@host:port/name`` URL.

    Query parameters become libpq options (``?sslmode=require``).

    Raises:
        InvalidSetting: another scheme, no database name, or not a URL at all.
    """
    parts, port = _split(url)
    name = unquote(parts.path.lstrip("/"))
    if parts.scheme not in SCHEMES or not name or port is None:
        raise InvalidSetting("DATABASE_URL must be postgresql://user:password@host:port/name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": port,
        "OPTIONS": {**DEFAULT_OPTIONS, **dict(parse_qsl(parts.query))},
        "CONN_MAX_AGE": 300,
        "CONN_HEALTH_CHECKS": True,
    }


def check_broker(url: str) -> str:
    """Return ``url`` if it may lead to Redis or Valkey.

    Raises:
        InvalidSetting: another scheme, no host, or not a URL at all.
    """
    parts, port = _split(url)
    if parts.scheme not in BROKER_SCHEMES or not parts.hostname or port is None:
        raise InvalidSetting("REDIS_URL must be redis://user:password@host:port/number.")
    return url


def _split(url: str) -> tuple[SplitResult, str | None]:
    """Return the parts of a URL and its port as text; ``None`` where that is no port."""
    try:
        parts = urlsplit(url)
        return parts, str(parts.port or "")
    except ValueError:  # what urlsplit says may quote the password
        return urlsplit(""), None
