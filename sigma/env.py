"""Settings from the environment: a value that cannot be used stops the start, with a sentence that
names the setting.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit
from uuid import UUID

from lib.files import write_private

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off", ""})
MASTER_KEY_BYTES = 32
META = "https://graph.facebook.com/v26.0"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ORIGIN = re.compile(r"https?://[^/\s*]+")
# Under five seconds to notice a database that is away; the receiver has stricter bounds of its own.
DATABASE_OPTIONS = {
    "connect_timeout": "3",
    "application_name": "sigma",
    # A server that vanished without a word (fail-over, cable) is noticed in seconds, not in hours.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


class InvalidSetting(Exception):
    """A setting has a value that cannot be used."""


class Env:
    """Read settings from ``source`` (default: the process environment)."""

    def __init__(self, source: Mapping[str, str] | None = None) -> None:
        self._source = os.environ if source is None else source

    def text(self, name: str, default: str = "") -> str:
        """Return the value of ``name``, or ``default`` where it is unset or empty."""
        return self._source.get(name, "").strip() or default

    def secret(self, name: str, default: str = "", *, least: int = 0) -> str:
        """Return ``name``, or the content of the file that ``<name>_FILE`` points at.

        Raises:
            InvalidSetting: both are set, the file cannot be read, or what is set has fewer than
                ``least`` characters.
        """
        value, path = self.text(name), self.text(f"{name}_FILE")
        if value and path:
            raise InvalidSetting(f"Set either {name} or {name}_FILE, not both.")
        if path:
            try:
                value = Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise InvalidSetting(f"{name}_FILE: {error.strerror}: {path}") from error
        if (value or path) and len(value) < least:
            raise InvalidSetting(f"{name} must have at least {least} characters.")
        return value if path else value or default

    def integer(self, name: str, default: int, *, low: int = 0, high: int = 2**31) -> int:
        """Return an integer between ``low`` and ``high``.

        Raises:
            InvalidSetting: not an integer, or out of bounds.
        """
        raw = self.text(name, str(default))
        try:
            value = int(raw)
        except ValueError:
            raise InvalidSetting(f"{name} must be a whole number, not {raw!r}.") from None
        if not low <= value <= high:
            raise InvalidSetting(f"{name} must be between {low} and {high}, not {value}.")
        return value

    def boolean(self, name: str, default: bool = False) -> bool:
        """Return a boolean.

        Raises:
            InvalidSetting: anything but 1/0, true/false, yes/no, on/off.
        """
        raw = self.text(name, "true" if default else "false").lower()
        if raw in TRUE:
            return True
        if raw in FALSE:
            return False
        raise InvalidSetting(f"{name} must be true or false, not {raw!r}.")

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """Return one of ``choices`` (lower case).

        Raises:
            InvalidSetting: any other value.
        """
        value = self.text(name, default).lower()
        if value not in choices:
            raise InvalidSetting(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
        return value

    def items(self, name: str, default: str = "") -> list[str]:
        """Return a comma-separated list without empty items."""
        return [item.strip() for item in self.text(name, default).split(",") if item.strip()]


def secret_key(env: Env, *, home: Path, may_create: bool) -> str:
    """Return ``SIGMA_SECRET_KEY``, or with ``may_create`` the one kept in ``<home>/secret.key``.

    Raises:
        InvalidSetting: none is set, or it is shorter than 32 characters.
    """
    key = env.secret("SIGMA_SECRET_KEY")
    if not key and may_create:
        key = _kept(home / "secret.key", secrets.token_urlsafe(48))
    if len(key) < 32:
        raise InvalidSetting("SIGMA_SECRET_KEY must be set to at least 32 random characters.")
    return key


def master_keys(env: Env, *, home: Path, may_create: bool) -> tuple[tuple[str, bytes], ...]:
    """Return the master keys as ``(id, 32 bytes)``, the one that wraps new keys first.

    The text form is ``id:base64[,id:base64…]`` in ``SIGMA_MASTER_KEYS`` or the file that
    ``SIGMA_MASTER_KEYS_FILE`` names. With ``may_create`` a missing key is made in
    ``<home>/master.key``.

    Raises:
        InvalidSetting: no key, one that is not 32 bytes of base64, or two with one id.
    """
    text = env.secret("SIGMA_MASTER_KEYS")
    if not text and may_create:
        new = base64.b64encode(secrets.token_bytes(MASTER_KEY_BYTES)).decode()
        text = _kept(home / "master.key", f"local:{new}\n", called="a master key")
    if not text:
        raise InvalidSetting(
            "SIGMA_MASTER_KEYS is not set. It wraps every tenant's keys; make one with: "
            "python3 -c \"import base64,os;print('k1:'+base64.b64encode(os.urandom(32)).decode())\""
        )
    keys = tuple(_master_key(item) for item in text.replace("\n", ",").split(",") if item.strip())
    if not keys or len({key_id for key_id, _ in keys}) < len(keys):
        raise InvalidSetting("SIGMA_MASTER_KEYS must hold at least one key, each with its own id.")
    return keys


def _master_key(item: str) -> tuple[str, bytes]:
    key_id, _, encoded = item.strip().partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if not key_id.isalnum() or len(key_id) > 32 or len(key) != MASTER_KEY_BYTES:
        raise InvalidSetting("SIGMA_MASTER_KEYS must be id:base64 of 32 bytes, comma-separated.")
    return key_id, key


def _kept(path: Path, new: str, *, called: str = "") -> str:
    """Return the key in a file, which is made from ``new`` where there is none (mode 0600).

    One that is ``called`` something is worth a line: the operator has to back it up.
    """
    # Never over an existing one: two processes that start together must end up with the same key.
    made = not path.exists() and write_private(path, new, replaces=False)
    if made and called:
        sys.stderr.write(f"sigma: made {called} in {path} (mode 0600); back it up.\n")
    return path.read_text(encoding="utf-8").strip()


def database(url: str) -> dict[str, object]:
    """Return Django's ``DATABASES`` entry for a ``postgresql://user:password@host:port/name`` URL.

    Query parameters become libpq options (``?sslmode=require``).

    Raises:
        InvalidSetting: another scheme, no database name, or not a URL at all.
    """
    parts, port = _split(url)
    name = unquote(parts.path.lstrip("/"))
    if parts.scheme not in ("postgres", "postgresql") or not name or port is None:
        raise InvalidSetting("DATABASE_URL must be postgresql://user:password@host:port/name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": port,
        "OPTIONS": {**DATABASE_OPTIONS, **dict(parse_qsl(parts.query))},
        "CONN_MAX_AGE": 300,
        "CONN_HEALTH_CHECKS": True,
    }


def broker_url(url: str) -> str:
    """Return ``url`` if it can be that of Redis or Valkey.

    Raises:
        InvalidSetting: another scheme, no host, or not a URL at all.
    """
    parts, port = _split(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or port is None:
        raise InvalidSetting("REDIS_URL must be redis://user:password@host:port/number.")
    return url


def graph_url(url: str, *, for_trying: bool) -> str:
    """Return ``url`` (no slash at its end) if access tokens may be sent there: over https, or
    ``for_trying`` over plain http to a simulator on this machine.

    Raises:
        InvalidSetting: not a URL, not https, or a simulator in production.
    """
    url = url.rstrip("/")
    parts, _ = _split(url)
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme != "http" or parts.hostname not in LOOPBACK:
        raise InvalidSetting("SIGMA_GRAPH_URL must be an https address; tokens go there.")
    if not for_trying:
        raise InvalidSetting(
            "SIGMA_GRAPH_URL is http: that is a simulator, for SIGMA_EMBEDDED or SIGMA_DEBUG only."
        )
    return url


def _split(url: str) -> tuple[SplitResult, str | None]:
    """Return the parts of a URL and its port as text; ``None`` where that is no port."""
    try:
        parts = urlsplit(url)
        return parts, str(parts.port or "")
    except ValueError:  # what urlsplit says may quote the password
        return urlsplit(""), None


def ingest_drains(env: Env) -> int:
    """Return how many loops may process callbacks at once over all workers: half the cores."""
    return env.integer("SIGMA_INGEST_DRAINS", max(1, (os.cpu_count() or 2) // 2), low=1, high=64)


def sender_device(env: Env, *, for_trying: bool) -> str:
    """Return what linked devices are; a simulated one sends nothing.

    Raises:
        InvalidSetting: another word, or a simulated device in production.
    """
    chosen = env.choice("SIGMA_SENDER_DEVICE", "whatsapp", ("whatsapp", "simulated"))
    if chosen == "simulated" and not for_trying:
        raise InvalidSetting(
            "SIGMA_SENDER_DEVICE=simulated is for trying out (SIGMA_DEBUG or embedded engines)."
        )
    return chosen


def sender_origins(env: Env) -> list[str]:
    """Return the web origins in ``SIGMA_SENDER_ORIGINS``: no wildcard, no path.

    Raises:
        InvalidSetting: one is not an origin such as https://app.example.com.
    """
    values = env.items("SIGMA_SENDER_ORIGINS")
    for value in values:
        if not ORIGIN.fullmatch(value):
            raise InvalidSetting(
                f"SIGMA_SENDER_ORIGINS: {value!r} is not an origin such as https://app.example.com."
            )
    return [value.lower() for value in values]


def files_storage(env: Env, *, folder: Path) -> dict[str, object]:
    """Return Django's settings of the storage for files: a folder that only its owner reads, or the
    class in ``SIGMA_FILES_STORAGE`` with the options in ``SIGMA_FILES_STORAGE_OPTIONS``.

    Raises:
        InvalidSetting: the options are not a JSON object.
    """
    backend = env.text("SIGMA_FILES_STORAGE")
    if not backend:
        backend = "django.core.files.storage.FileSystemStorage"
        private = {"file_permissions_mode": 0o600, "directory_permissions_mode": 0o700}
        return {"BACKEND": backend, "OPTIONS": {"location": str(folder), **private}}
    try:
        options = json.loads(env.secret("SIGMA_FILES_STORAGE_OPTIONS") or "{}")
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise InvalidSetting("SIGMA_FILES_STORAGE_OPTIONS: this is not a JSON object.")
    return {"BACKEND": backend, "OPTIONS": options}


def scanner(env: Env) -> tuple[str, int, str] | None:
    """Return the host and port, or the path, at which a virus scanner listens, if there is one.

    Raises:
        InvalidSetting: neither ``tcp://host:port`` nor ``unix:/path``.
    """
    value = env.text("SIGMA_SCANNER")
    if not value:
        return None
    if value.startswith("unix:/"):
        return "", 0, "/" + value.removeprefix("unix:").lstrip("/")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port or 0
    except ValueError:
        host, port = "", 0
    if not (host and port and value.startswith("tcp://")):
        raise InvalidSetting("SIGMA_SCANNER must be tcp://host:port or unix:/path/of/a/socket.")
    return host, port, ""


def sender_open_workspace(env: Env) -> UUID | None:
    """Return the workspace that is served without an API key, if there is one.

    Raises:
        InvalidSetting: not a UUID.
    """
    value = env.text("SIGMA_SENDER_OPEN_WORKSPACE")
    try:
        return UUID(value) if value else None
    except ValueError:
        raise InvalidSetting("SIGMA_SENDER_OPEN_WORKSPACE must be a workspace's UUID.") from None
