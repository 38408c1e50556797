"""Whose session a request carries: how long it is good, and that a password alone may not do."""

from __future__ import annotations

import hashlib
import time

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.sessions.backends import db
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject

from lib.ttl import TtlCache
from workspaces import second_factors

# What a session remembers: when it began, when it was last used, whether a code was given.
SINCE, SEEN, WITH_CODE = "since", "seen", "second_factor"
# Writing the time of every request would make each read a write.
SEEN_PRECISION_SECONDS = 60

Person = AbstractBaseUser | AnonymousUser

_good: TtlCache[bytes, bool] = TtlCache(
    seconds=settings.SIGMA_SESSION_IDLE_MINUTES * 60, size=20_000
)


class SessionStore(db.SessionStore):
    """Django's (``SESSION_ENGINE`` names this module); what it deletes is known no longer.

    It deletes a session when somebody signs out, when it is too old, and when its key changes, as
    it does with the password.
    """

    def delete(self, session_key: str | None = None) -> None:
        """Delete a session by its key, or this one."""
        super().delete(session_key)
        _forget(session_key or self.session_key)


class SessionRules(MiddlewareMixin):
    """Replaces Django's ``request.user`` by :func:`user_of`; stands behind its authentication."""

    def process_request(self, request: HttpRequest) -> None:
        """Look when somebody asks: a request with an API key never does."""
        request.user = SimpleLazyObject(lambda: user_of(request))  # type: ignore[assignment]


def was_good(key: str) -> bool:
    """Whether this session was somebody's when it was last used here, without asking the database:
    fit for sharing out, not for letting in.
    """
    return bool(key) and _good.get(_digest(key)) is not None


def begin(request: HttpRequest, *, with_code: bool) -> None:
    """Note how somebody has just signed in."""
    now = int(time.time())
    request.session.update({SINCE: now, SEEN: now, WITH_CODE: with_code})
    _remember(request)


def person_of(request: HttpRequest) -> Person:
    """Return who gave the right password, while the session is good: it ends after some time, and
    sooner when it is not used.
    """
    session, now = request.session, int(time.time())
    key = session.session_key
    user = get_user(request)
    if not user.is_authenticated:
        _forget(key)  # another process may have ended it
        return user
    seen = session.get(SEEN, now)
    is_old = now - session.setdefault(SINCE, now) >= settings.SIGMA_SESSION_HOURS * 3600
    if is_old or now - seen >= settings.SIGMA_SESSION_IDLE_MINUTES * 60:
        session.flush()
        return AnonymousUser()
    if SEEN not in session or now - seen >= SEEN_PRECISION_SECONDS:
        session[SEEN] = now
    _remember(request)
    return user


def user_of(request: HttpRequest) -> Person:
    """Return who is signed in: nobody, as long as a second factor is needed and was not given."""
    user = person_of(request)
    if not user.is_authenticated or request.session.get(WITH_CODE):
        return user
    return AnonymousUser() if second_factors.is_needed(user) else user


def _remember(request: HttpRequest) -> None:
    _good.put(_digest(request.session.session_key or ""), True)


def _forget(key: str | None) -> None:
    if key:
        _good.forget(_digest(key))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
