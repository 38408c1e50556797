"""Where master keys come from: the environment, a file, or one made for the embedded default."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import sys
from pathlib import Path

from sigma.env import Env, InvalidSetting

KEY_BYTES = 32


def load(env: Env, *, home: Path, may_create: bool) -> tuple[tuple[str, bytes], ...]:
    """Return the master keys as ``(id, 32 bytes)``, the one that wraps new keys first.

    The text form is ``id:base64[,id:base64…]`` in ``SIGMA_MASTER_KEYS`` or the file that
    ``SIGMA_MASTER_KEYS_FILE`` names. With ``may_create`` a missing key is made in
    ``<home>/master.key``.

    Raises:
        InvalidSetting: no key, one that is not 32 bytes of base64, or two with one id.
    """
    text = env.secret("SIGMA_MASTER_KEYS")
    if not text and may_create:
        text = _load_or_create(home / "master.key")
    if not text:
        raise InvalidSetting(
            "SIGMA_MASTER_KEYS is not set. It wraps every tenant's keys; make one with: "
            "python3 -c \"import base64,os;print('k1:'+base64.b64encode(os.urandom(32)).decode())\""
        )
    keys = tuple(_parse(item) for item in text.replace("\n", ",").split(",") if item.strip())
    if not keys or len({key_id for key_id, _ in keys}) < len(keys):
        raise InvalidSetting("SIGMA_MASTER_KEYS must hold at least one key, each with its own id.")
    return keys


def _parse(item: str) -> tuple[str, bytes]:
    key_id, _, encoded = item.strip().partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if not key_id.isalnum() or len(key_id) > 32 or len(key) != KEY_BYTES:
        raise InvalidSetting("SIGMA_MASTER_KEYS must be id:base64 of 32 bytes, comma-separated.")
    return key_id, key


def _load_or_create(path: Path) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    key = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    if not path.exists():
        # Written in full before it gets its name, and never over an existing one: two processes
        # that start together must end up with the same key.
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"local:{key}\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(scratch, path)
            sys.stderr.write(f"sigma: made a master key in {path} (mode 0600); back it up.\n")
        except FileExistsError:
            pass
        finally:
            scratch.unlink()
    return path.read_text(encoding="utf-8").strip()
