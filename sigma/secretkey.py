"""Django's secret key: given, or made once for the embedded default."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from sigma.env import Env, InvalidSetting


def load_secret_key(env: Env, *, home: Path, may_create: bool) -> str:
    """Return ``SIGMA_SECRET_KEY``, or with ``may_create`` the one kept in ``<home>/secret.key``.

    Raises:
        InvalidSetting: none is set, or it is shorter than 32 characters.
    """
    key = env.secret("SIGMA_SECRET_KEY")
    if not key and may_create:
        key = _load_or_create(home / "secret.key")
    if len(key) < 32:
        raise InvalidSetting("SIGMA_SECRET_KEY must be set to at least 32 random characters.")
    return key


def _load_or_create(path: Path) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="utf-8").strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48))
    return path.read_text(encoding="utf-8").strip()
