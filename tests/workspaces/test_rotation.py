"""Rotating the master key: nothing sealed is lost, and the old key may go."""

from __future__ import annotations

import os
from datetime import date

import pytest
from django.core.management import CommandError, call_command

from tests.conftest import Cast
from workspaces import keys, secrets
from workspaces.keys import UnknownMasterKey
from workspaces.models import RawKey, SecretKind

OLD, NEW = ("old", os.urandom(32)), ("new", os.urandom(32))


@pytest.fixture
def under_old(settings: object) -> None:
    """Everything that the test makes is wrapped by the old key."""
    settings.SIGMA_MASTER_KEYS = (OLD,)


def test_it_lets_the_old_key_go(under_old: None, acme: Cast, settings, now) -> None:
    sealed = keys.day_cipher(acme.tenant.id, date(2026, 11, 21)).seal(b"said", b"place")
    settings.SIGMA_MASTER_KEYS = (NEW, OLD)

    call_command("rotate_master_key")

    settings.SIGMA_MASTER_KEYS = (NEW,)
    keys.forget()
    assert keys.cipher_of(sealed).open(sealed, b"place") == b"said"
    found = secrets.newest(tenant_id=acme.tenant.id, kind=SecretKind.APP_SECRET, now=now)
    assert found == acme.app_secret


def test_it_takes_no_key_for_another_tenants(
    under_old: None, acme: Cast, globex: Cast, settings
) -> None:
    day = date(2026, 11, 21)
    for cast in (acme, globex):
        keys.day_cipher(cast.tenant.id, day)
    RawKey.objects.filter(day=day).update(id=17)
    settings.SIGMA_MASTER_KEYS = (NEW, OLD)

    call_command("rotate_master_key")

    settings.SIGMA_MASTER_KEYS = (NEW,)
    keys.forget()
    for cast in (acme, globex):
        keys.day_cipher(cast.tenant.id, day)


def test_it_says_which_key_is_missing(under_old: None, acme: Cast, settings) -> None:
    settings.SIGMA_MASTER_KEYS = (NEW,)
    keys.forget()

    with pytest.raises(CommandError, match="'old' is not configured"):
        call_command("rotate_master_key")
    with pytest.raises(UnknownMasterKey):
        keys.salt(acme.tenant.id)
