"""The second factor, code by code: which of them are good, how often, and for whom."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django_otp.oath import hotp

from lib.envelope import CannotOpen
from tests.conftest import Cast
from workspaces import second_factors
from workspaces.models import Membership, Role, SecondFactor
from workspaces.second_factors import WrongCode

STEP = timedelta(seconds=30)
# The first second of a step.
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def alice(acme: Cast) -> User:
    return _manager(acme)


@pytest.fixture
def bob(globex: Cast) -> User:
    return _manager(globex)


def _manager(cast: Cast) -> User:
    user = User.objects.create_user(f"{cast.tenant.slug}-manager", is_staff=True)
    Membership.objects.create(tenant=cast.tenant, user=user, role=Role.MANAGER)
    return user


def shown(secret: str, at: datetime) -> str:
    """Return what the app shows."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    return str(hotp(key, int(at.timestamp()) // 30)).zfill(6)


def set_up(user: User, at: datetime = NOW) -> tuple[str, list[str]]:
    """Take a second factor into use; return its secret and the recovery codes."""
    secret = second_factors.begin(user).secret
    return secret, second_factors.confirm(user, shown(secret, at), now=at)


def accepts(user: User, code: str, at: datetime) -> bool:
    return second_factors.accepts(user, code, now=at)


@pytest.mark.parametrize(
    ("off", "good"),
    [(-2 * STEP, False), (-STEP, True), (timedelta(0), True), (STEP, True), (2 * STEP, False)],
    ids=lambda off: str(off),
)
def test_a_clock_may_be_wrong_by_one_step_to_either_side(
    alice: User, off: timedelta, good: bool
) -> None:
    secret, _ = set_up(alice, NOW - 10 * STEP)

    assert accepts(alice, shown(secret, NOW + off), NOW) == good


def test_a_code_is_good_once_and_none_before_it_is_good_after_it(alice: User) -> None:
    secret, _ = set_up(alice, NOW - 10 * STEP)
    earlier, later = shown(secret, NOW - STEP), shown(secret, NOW + STEP)

    assert accepts(alice, later, NOW)
    assert not accepts(alice, later, NOW)
    assert not accepts(alice, earlier, NOW)
    assert accepts(alice, shown(secret, NOW + 2 * STEP), NOW + STEP)


def test_the_code_that_took_it_into_use_is_used_up(alice: User) -> None:
    secret, _ = set_up(alice)

    assert not accepts(alice, shown(secret, NOW), NOW)
    assert accepts(alice, shown(secret, NOW + STEP), NOW + STEP)


def test_codes_are_taken_as_people_type_them(alice: User) -> None:
    secret, codes = set_up(alice, NOW - 10 * STEP)
    code = shown(secret, NOW)

    assert accepts(alice, f" {code[:3]} {code[3:]}\n", NOW)
    assert accepts(alice, codes[0].upper().replace("-", " "), NOW)
    assert not accepts(alice, "", NOW)


def test_ten_recovery_codes_are_each_good_once(alice: User) -> None:
    _, codes = set_up(alice)

    assert len(set(codes)) == 10
    assert {tuple(len(part) for part in code.split("-")) for code in codes} == {(4, 4, 4, 4)}
    assert all(accepts(alice, code, NOW) for code in codes)
    assert not any(accepts(alice, code, NOW) for code in codes)


def test_it_takes_nobodys_codes_for_another(alice: User, bob: User) -> None:
    secret, codes = set_up(alice, NOW - 10 * STEP)
    set_up(bob, NOW - 10 * STEP)

    assert not accepts(bob, shown(secret, NOW), NOW)
    assert not accepts(bob, codes[0], NOW)
    assert accepts(alice, codes[0], NOW)
    assert second_factors.remove(alice)
    assert (second_factors.is_set_up(alice), second_factors.is_set_up(bob)) == (False, True)
    assert not second_factors.remove(alice)


def test_what_one_person_uses_up_stays_good_for_another(alice: User, bob: User) -> None:
    of_alice, _ = set_up(alice, NOW - 10 * STEP)
    of_bob, _ = set_up(bob, NOW - 10 * STEP)

    assert accepts(alice, shown(of_alice, NOW), NOW)
    assert accepts(bob, shown(of_bob, NOW), NOW)


def test_two_people_set_theirs_up_side_by_side(alice: User, bob: User) -> None:
    of_alice, of_bob = (second_factors.begin(user).secret for user in (alice, bob))

    assert of_alice != of_bob
    for user, secret in ((bob, of_bob), (alice, of_alice)):
        assert len(second_factors.confirm(user, shown(secret, NOW), now=NOW)) == 10


def test_a_secret_that_was_moved_to_another_person_opens_nothing(alice: User, bob: User) -> None:
    set_up(alice)
    set_up(bob)
    SecondFactor.objects.filter(user=bob).update(
        wrapped=SecondFactor.objects.get(user=alice).wrapped
    )

    with pytest.raises(CannotOpen):
        accepts(bob, "000000", NOW)


def test_it_shows_one_secret_until_a_code_proves_that_the_app_has_it(alice: User) -> None:
    setup = second_factors.begin(alice)
    again = second_factors.begin(alice)
    wrong = shown(setup.secret, NOW + 5 * STEP)

    assert setup == again
    uri = urlsplit(setup.uri)
    assert (uri.scheme, uri.path) == ("otpauth", "/SIGMA%3Aacme-manager")
    facts = {"secret": [setup.secret], "issuer": ["SIGMA"], "digits": ["6"]}
    assert parse_qs(uri.query) == facts
    with pytest.raises(WrongCode, match="the app shows now"):
        second_factors.confirm(alice, wrong, now=NOW)
    assert not second_factors.is_set_up(alice)
    assert not accepts(alice, shown(setup.secret, NOW), NOW)


def test_it_replaces_no_second_factor_that_is_in_use(alice: User) -> None:
    secret, _ = set_up(alice, NOW - 10 * STEP)

    with pytest.raises(ValueError, match="already"):
        second_factors.begin(alice)
    with pytest.raises(WrongCode):
        second_factors.confirm(alice, shown(secret, NOW), now=NOW)
    assert second_factors.remove(alice)
    assert second_factors.begin(alice).secret != secret


@pytest.mark.parametrize("embedded", [True, False])
def test_only_the_embedded_default_lets_a_superuser_do_without(
    alice: User, settings, embedded: bool
) -> None:
    settings.EMBEDDED = embedded
    boss = User.objects.create_superuser("boss")

    assert second_factors.is_needed(boss) is not embedded
    assert not second_factors.is_needed(alice)
    set_up(alice)
    assert second_factors.is_needed(alice)
