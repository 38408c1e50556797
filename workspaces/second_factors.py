"""The second factor of people who sign in: codes of an authenticator app (TOTP), recovery codes.

The algorithm is django-otp's. Its tables would keep the secret readable, so it is kept here,
wrapped by the master key as every other secret is. https://www.rfc-editor.org/rfc/rfc6238
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlencode

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django_otp.oath import hotp

from workspaces import keys
from workspaces.models import SecondFactor

STEP_SECONDS, DIGITS = 30, 6
# Steps that a clock may be wrong by, to either side (RFC 6238, 5.2).
TOLERANCE = 1
# RFC 4226 asks for 20 bytes.
SECRET_BYTES = 20
RECOVERY_CODES, RECOVERY_BYTES = 10, 10
ISSUER = "SIGMA"


class WrongCode(Exception):
    """The code is wrong, was used already, or is too old; wait for the next one."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What an authenticator app needs: the secret to type (base32), and the address in its QR."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


def is_set_up(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether somebody has a second factor."""
    return SecondFactor.objects.filter(user=user.pk, confirmed_at__isnull=False).exists()


def is_needed(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether a password alone does not do: who has a second factor, and every superuser outside
    the embedded default.
    """
    runs_it = bool(getattr(user, "is_superuser", False)) and not settings.EMBEDDED
    return runs_it or is_set_up(user)


def begin(user: User) -> Setup:
    """Return what to enter in the app; the same until :func:`confirm`.

    Raises:
        ValueError: the user has a second factor already.
    """
    wrapped = keys.wrap(os.urandom(SECRET_BYTES), SecondFactor(user=user))
    row, _ = SecondFactor.objects.get_or_create(user=user, defaults={"wrapped": wrapped})
    if row.confirmed_at is not None:
        raise ValueError("There is a second factor already.")
    secret = base64.b32encode(keys.unwrap(row)).decode().rstrip("=")
    label = quote(f"{ISSUER}:{user.get_username()}")
    facts = urlencode({"secret": secret, "issuer": ISSUER, "digits": DIGITS})
    return Setup(secret, f"otpauth://totp/{label}?{facts}")


def confirm(user: User, code: str, *, now: datetime) -> list[str]:
    """Take a second factor into use; return its recovery codes, which nobody can read again.

    Raises:
        WrongCode: the app does not show this code.
    """
    row = SecondFactor.objects.filter(user=user, confirmed_at=None).first()
    if row is None or not _takes_totp(row, code, now):
        raise WrongCode("The code is not right. Enter the one that the app shows now.")
    codes = _recovery_codes()
    digests = [_digest(one) for one in codes]
    SecondFactor.objects.filter(pk=row.pk).update(confirmed_at=now, recovery=digests)
    return codes


def accepts(user: AbstractBaseUser, code: str, *, now: datetime) -> bool:
    """Use a code up: the app's of this moment, or a recovery code. Each is good once."""
    row = SecondFactor.objects.filter(user=user.pk, confirmed_at__isnull=False).first()
    return row is not None and (_takes_totp(row, code, now) or _takes_recovery(row, code))


def remove(user: AbstractBaseUser) -> bool:
    """Let a password do again, where it may; return whether there was a second factor."""
    removed, _ = SecondFactor.objects.filter(user=user.pk).delete()
    return bool(removed)


def _takes_totp(row: SecondFactor, code: str, now: datetime) -> bool:
    given, secret = _plain(code), keys.unwrap(row)
    step = int(now.timestamp()) // STEP_SECONDS
    for moment in range(step - TOLERANCE, step + TOLERANCE + 1):
        expected = str(hotp(secret, moment, DIGITS)).zfill(DIGITS)
        if hmac.compare_digest(given.encode(), expected.encode()):
            unused = SecondFactor.objects.filter(pk=row.pk, last_step__lt=moment)
            return bool(unused.update(last_step=moment))
    return False


def _takes_recovery(row: SecondFactor, code: str) -> bool:
    known = [bytes(one) for one in row.recovery]
    left = [one for one in known if not hmac.compare_digest(one, _digest(code))]
    if left == known:
        return False
    unchanged = SecondFactor.objects.filter(pk=row.pk, recovery=known)
    return bool(unchanged.update(recovery=left))


def _recovery_codes() -> list[str]:
    codes = []
    for _ in range(RECOVERY_CODES):
        text = base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode().lower()
        codes.append("-".join(text[at : at + 4] for at in range(0, len(text), 4)))
    return codes


def _plain(code: str) -> str:
    return "".join(code.split()).replace("-", "").lower()


def _digest(code: str) -> bytes:
    return hashlib.sha256(_plain(code).encode("utf-8", "surrogatepass")).digest()
