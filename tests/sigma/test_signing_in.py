"""Signing in to the admin: the only door with a password."""

from __future__ import annotations

import base64
import logging
import time
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.test import Client
from django_otp.oath import hotp

from sigma.hashers import OneLaneHasher
from sigma.logs import Redact, TextFormatter
from sigma.signing_in import PER_ADDRESS, PER_NAME
from tests.conftest import Cast
from workspaces import keys, staff
from workspaces.models import Membership, Role, SecondFactor, Throttle
from workspaces.sessions import SEEN, SINCE, was_good

PASSWORD = "correct horse battery staple"
LOGIN, FACTOR, INDEX = "/admin/login/", "/admin/second-factor/", "/admin/"


@pytest.fixture(autouse=True)
def _quick(settings: Any) -> None:
    """Argon2 is slow on purpose; what is tested here is what stands around it."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss", password=PASSWORD)


@pytest.fixture
def manager(acme: Cast) -> User:
    user = User.objects.create_user("acme-manager", password=PASSWORD, is_staff=True)
    Membership.objects.create(tenant=acme.tenant, user=user, role=Role.MANAGER)
    return user


def attempt(
    client: Client, name: str, password: str = PASSWORD, code: str = "", **meta: str
) -> Any:
    """Send the form; return the answer."""
    return client.post(LOGIN, {"username": name, "password": password, "code": code}, **meta)


def sign_out(client: Client) -> None:
    """End the session; the browser stays the same."""
    assert client.post("/admin/logout/").status_code == 200


def is_in(client: Client) -> bool:
    """Whether the admin and the API take the browser for somebody."""
    admin = client.get(INDEX).status_code == 200
    asked = client.post("/graphql", {"query": "{ viewer { tenant { slug } } }"}, "application/json")
    assert (asked.status_code != 401) == admin
    return admin


def app_code(secret: str, *, steps: int = 0) -> str:
    """Return what an authenticator app shows now, or some steps from now."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    return str(hotp(key, int(time.time()) // 30 + steps)).zfill(6)


def set_up(client: Client) -> tuple[str, list[str]]:
    """Set up a second factor on its page; return its secret and the recovery codes."""
    secret = client.get(FACTOR).context["secret"]
    page = client.post(FACTOR, {"code": app_code(secret, steps=-1)})
    return secret, page.context["codes"]


@pytest.mark.django_db
def test_it_takes_nobody_for_a_member_of_tenants_without_members(acme: Cast, globex: Cast) -> None:
    nobody = AnonymousUser()
    assert not staff.sees(nobody)
    assert not staff.sees(nobody, acme.tenant.pk)
    assert not staff.manages(nobody, globex.tenant.pk)


@pytest.mark.django_db
def test_it_asks_the_database_nothing_to_show_strangers_the_page(
    acme: Cast, globex: Cast, django_assert_num_queries: Any
) -> None:
    client = Client()
    client.get(LOGIN)
    with django_assert_num_queries(0):
        page = client.get(LOGIN)
    assert page.status_code == 200
    assert not page.context["available_apps"]


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["boss", "nobody"])
def test_it_slows_down_who_guesses_at_a_name_whether_somebody_has_it_or_not(
    boss: User, name: str
) -> None:
    answers = [
        attempt(Client(), name, "wrong", REMOTE_ADDR=f"203.0.113.{number}")
        for number in range(PER_NAME.burst + 1)
    ]

    assert [answer.status_code for answer in answers] == [200] * PER_NAME.burst + [429]
    assert 0 < int(answers[-1]["Retry-After"]) <= 60
    assert attempt(Client(), name).status_code == 429, "not even with the right password"


def test_it_slows_down_an_address_that_tries_many_names(boss: User) -> None:
    answers = [attempt(Client(), f"name-{number}") for number in range(PER_ADDRESS.burst + 1)]

    assert [answer.status_code for answer in answers].index(429) == PER_ADDRESS.burst
    assert attempt(Client(), "boss").status_code == 429
    assert attempt(Client(), "boss", REMOTE_ADDR="203.0.113.9").status_code == 302


def test_it_lets_nobody_keep_somebody_out_from_one_address(boss: User) -> None:
    """Who is slowed down by their address uses up no name's attempts."""
    stranger = "203.0.113.9"
    for number in range(PER_ADDRESS.burst - 1):
        attempt(Client(), f"name-{number}", REMOTE_ADDR=stranger)
    answers = [attempt(Client(), "boss", "wrong", REMOTE_ADDR=stranger) for _ in range(20)]

    assert [answer.status_code for answer in answers] == [200] + [429] * 19
    assert attempt(Client(), "boss").status_code == 302


@pytest.mark.parametrize("https", [False, True])
def test_it_lets_strangers_keep_nobody_out_of_a_browser_that_signed_in_before(
    boss: User, manager: User, settings: Any, https: bool
) -> None:
    settings.SESSION_COOKIE_SECURE = https
    known = Client()
    assert attempt(known, "boss").status_code == 302
    sign_out(known)
    for number in range(PER_ADDRESS.burst + PER_NAME.burst):
        attempt(Client(), "boss", "wrong", REMOTE_ADDR=f"203.0.113.{number}")
        attempt(Client(), f"name-{number}")
    assert attempt(Client(), "boss", REMOTE_ADDR="203.0.113.99").status_code == 429

    assert attempt(known, "boss").status_code == 302
    sign_out(known)
    assert attempt(known, "acme-manager").status_code == 429, "it is known to boss alone"


def test_it_slows_down_who_guesses_in_a_browser_that_is_known(boss: User) -> None:
    browser = Client()
    attempt(browser, "boss")
    sign_out(browser)

    answers = [attempt(browser, "boss", "wrong").status_code for _ in range(PER_NAME.burst + 1)]

    assert answers == [200] * PER_NAME.burst + [429]
    assert attempt(Client(), "boss").status_code == 302, "which is nobody else's doing"


def test_it_lets_strangers_keep_nobody_from_setting_a_second_factor_up(
    boss: User, settings: Any
) -> None:
    settings.EMBEDDED = False
    browser = Client()
    attempt(browser, "boss")
    for number in range(PER_NAME.burst + 1):
        attempt(Client(), "boss", "wrong", REMOTE_ADDR=f"203.0.113.{number}")

    assert len(set_up(browser)[1]) == 10


def test_it_counts_a_network_of_ipv6_as_one_address(boss: User) -> None:
    for number in range(PER_ADDRESS.burst):
        attempt(Client(), f"name-{number}", REMOTE_ADDR=f"2001:db8:0:1::{number:x}")

    assert attempt(Client(), "boss", REMOTE_ADDR="2001:db8:0:1:ffff::1").status_code == 429
    assert attempt(Client(), "boss", REMOTE_ADDR="2001:db8:0:2::1").status_code == 302


def test_it_counts_the_address_that_the_proxy_saw_and_none_that_the_caller_made_up(
    boss: User, settings: Any
) -> None:
    settings.SIGMA_PROXIES = 1
    for number in range(PER_ADDRESS.burst):
        forged = f"198.51.100.{number}, 203.0.113.5"
        attempt(Client(), f"name-{number}", HTTP_X_FORWARDED_FOR=forged)

    assert attempt(Client(), "boss", HTTP_X_FORWARDED_FOR="203.0.113.5").status_code == 429
    assert attempt(Client(), "boss", HTTP_X_FORWARDED_FOR="203.0.113.6").status_code == 302


def test_it_keeps_its_limits_while_the_broker_is_away(boss: User, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    caches = settings.CACHES
    settings.CACHES = {"default": {**caches["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
    wrong = [attempt(Client(), "boss", "wrong").status_code for _ in range(PER_NAME.burst + 1)]

    assert wrong[-1] == 429
    assert attempt(Client(), "other").status_code == 200


def test_it_counts_only_what_was_wrong(boss: User) -> None:
    answers = [attempt(Client(), "boss").status_code for _ in range(PER_ADDRESS.burst + 5)]

    assert set(answers) == {302}


def test_it_forgets_buckets_that_ran_empty(boss: User, now: object) -> None:
    for number in range(3):
        Throttle.objects.create(key=bytes([number]), full_at="2020-01-01T00:00:00Z")

    attempt(Client(), "boss", "wrong")

    assert Throttle.objects.filter(full_at__year=2020).count() == 0


def test_it_says_the_same_whatever_was_wrong(boss: User, manager: User) -> None:
    User.objects.create_user("customer", password=PASSWORD)
    User.objects.create_user("former", password=PASSWORD, is_staff=True, is_active=False)
    browser = Client()
    attempt(browser, "acme-manager")
    set_up(browser)

    pages = {
        attempt(Client(), name, password).content.decode().replace(name, "…").split("csrf")[0]
        for name, password in (
            ("nobody", PASSWORD),
            ("boss", "wrong"),
            ("customer", PASSWORD),
            ("former", PASSWORD),
            ("acme-manager", PASSWORD),
        )
    }

    assert len(pages) == 1
    assert "The user name, the password or the code is not right." in pages.pop()


@pytest.mark.parametrize(
    ("name", "password", "line"),
    [
        ("boss", PASSWORD, "accepted user=boss address=127.0.0.1"),
        ("boss", "wrong", "refused user=boss address=127.0.0.1"),
        ("my secret typed here", PASSWORD, "refused user=(unknown) address=127.0.0.1"),
    ],
)
def test_it_logs_who_tried_and_no_secret(
    boss: User, caplog: pytest.LogCaptureFixture, name: str, password: str, line: str
) -> None:
    with caplog.at_level(logging.INFO, "sigma.whatsapp.sign_in"):
        attempt(Client(), name, password)

    (record,) = (r for r in caplog.records if r.name == "sigma.whatsapp.sign_in")
    Redact().filter(record)
    shown = TextFormatter().format(record)
    assert shown.endswith(f"whatsapp admin sign-in {line}")
    assert password not in shown


def test_it_logs_that_somebody_was_slowed_down(
    boss: User, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(PER_NAME.burst + 1):
        attempt(Client(), "boss", "wrong", REMOTE_ADDR="192.168.100.200")

    record = [r for r in caplog.records if r.name == "sigma.whatsapp.sign_in"][-1]
    assert (record.getMessage(), record.levelname) == (
        "whatsapp admin sign-in throttled",
        "WARNING",
    )
    assert str(record.address) == "192.168.100.200"


def key_of(client: Client) -> str:
    """Return the key of a browser's session."""
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def test_it_forgets_a_session_that_ended(manager: User) -> None:
    browser = Client()
    attempt(browser, "acme-manager")
    key = key_of(browser)
    assert was_good(key)

    sign_out(browser)

    assert not was_good(key)


@pytest.mark.parametrize("mark", [SINCE, SEEN])
def test_it_forgets_a_session_that_is_too_old(manager: User, mark: str) -> None:
    browser = Client()
    attempt(browser, "acme-manager")
    key, session = key_of(browser), browser.session
    session[mark] = 0
    session.save()

    assert not is_in(browser)

    assert not was_good(key)


def test_it_forgets_sessions_from_before_a_change_of_the_password(manager: User) -> None:
    browser, other = Client(), Client()
    for each in (browser, other):
        attempt(each, "acme-manager")
    keys = [key_of(each) for each in (browser, other)]
    new = {"old_password": PASSWORD, "new_password1": "o2-Xk-77-nK", "new_password2": "o2-Xk-77-nK"}

    assert browser.post("/admin/password_change/", new).status_code == 302

    assert is_in(browser)
    assert not is_in(other)
    assert [was_good(key) for key in keys] == [False, False]
    assert was_good(key_of(browser))


def test_it_forgets_a_session_that_was_ended_by_another_process(manager: User) -> None:
    browser = Client()
    attempt(browser, "acme-manager")
    key = key_of(browser)
    Session.objects.all().delete()

    assert not is_in(browser)

    assert not was_good(key)


def test_it_asks_who_has_a_second_factor_for_its_code(manager: User) -> None:
    browser = Client()
    assert attempt(browser, "acme-manager").url == INDEX
    assert is_in(browser)
    secret, _ = set_up(browser)

    assert is_in(browser), "who set it up goes on"
    assert attempt(Client(), "acme-manager").status_code == 200
    assert attempt(Client(), "acme-manager", code="000000").status_code == 200
    other = Client()
    assert attempt(other, "acme-manager", code=app_code(secret)).status_code == 302
    assert is_in(other)


def test_it_takes_a_code_once(manager: User) -> None:
    browser = Client()
    attempt(browser, "acme-manager")
    secret, recovery = set_up(browser)
    now = app_code(secret)

    for code in (now, recovery[0]):
        assert attempt(Client(), "acme-manager", code=code).status_code == 302
        assert attempt(Client(), "acme-manager", code=code).status_code == 200
    assert attempt(Client(), "acme-manager", code=recovery[1].upper()).status_code == 302
    assert attempt(Client(), "acme-manager", code=app_code(secret, steps=-1)).status_code == 200


def test_it_ends_what_older_sessions_may_do_once_there_is_a_second_factor(manager: User) -> None:
    older, newer = Client(), Client()
    attempt(older, "acme-manager")
    attempt(newer, "acme-manager")
    set_up(newer)

    assert is_in(newer)
    assert not is_in(older)


def test_it_lets_a_superuser_do_nothing_before_their_second_factor(
    boss: User, acme: Cast, settings: Any
) -> None:
    settings.EMBEDDED = False
    browser = Client()

    assert attempt(browser, "boss").url == FACTOR
    assert not is_in(browser)
    assert browser.get(LOGIN).url == FACTOR
    set_up(browser)
    assert is_in(browser)


def test_it_leaves_the_choice_to_staff_and_to_the_embedded_default(
    boss: User, manager: User, settings: Any
) -> None:
    browser = Client()
    attempt(browser, "boss")
    assert is_in(browser)

    settings.EMBEDDED = False
    browser = Client()
    attempt(browser, "acme-manager")
    assert is_in(browser)


def test_it_shows_the_page_of_the_second_factor_to_nobody_without_a_password(boss: User) -> None:
    assert Client().get(FACTOR).url == LOGIN
    assert Client().post(FACTOR, {"code": "123456"}).url == LOGIN
    assert not SecondFactor.objects.exists()


def test_it_takes_a_second_factor_away_for_a_code_and_for_nothing_else(manager: User) -> None:
    browser = Client()
    attempt(browser, "acme-manager")
    secret, recovery = set_up(browser)

    refused = browser.post(FACTOR, {"code": "000000"})
    assert "The code is not right." in refused.content.decode()
    assert SecondFactor.objects.count() == 1
    browser.post(FACTOR, {"code": recovery[0]})
    assert not SecondFactor.objects.filter(confirmed_at__isnull=False).exists()
    assert browser.get(FACTOR).context["secret"] != secret


def test_it_slows_down_who_guesses_codes_inside_a_session(manager: User) -> None:
    browser = Client()
    attempt(browser, "acme-manager")
    secret, _ = set_up(browser)

    for _ in range(PER_NAME.burst):
        browser.post(FACTOR, {"code": "000000"})

    assert "Too many attempts" in browser.post(FACTOR, {"code": app_code(secret)}).content.decode()


def test_it_keeps_the_secret_sealed_and_wraps_it_anew_with_the_master_key(
    manager: User, settings: Any
) -> None:
    browser = Client()
    attempt(browser, "acme-manager")
    secret, _ = set_up(browser)
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    before = bytes(SecondFactor.objects.get().wrapped)
    assert key not in before

    settings.SIGMA_MASTER_KEYS = (("k2", b"2" * 32), *settings.SIGMA_MASTER_KEYS)
    list(keys.rewrap())
    settings.SIGMA_MASTER_KEYS = (("k2", b"2" * 32),)
    keys._master_ciphers.cache_clear()

    assert attempt(Client(), "acme-manager", code=app_code(secret)).status_code == 302


def test_it_helps_who_lost_device_and_codes(manager: User) -> None:
    browser = Client()
    attempt(browser, "acme-manager")
    set_up(browser)

    call_command("reset_second_factor", "acme-manager", stdout=StringIO())

    assert attempt(Client(), "acme-manager").status_code == 302
    with pytest.raises(CommandError, match="no second factor"):
        call_command("reset_second_factor", "acme-manager")
    with pytest.raises(CommandError, match="no user"):
        call_command("reset_second_factor", "somebody")


def test_it_ends_a_session_that_is_not_used_and_one_that_is_old(
    boss: User, acme: Cast, settings: Any
) -> None:
    for age, word in ((settings.SIGMA_SESSION_IDLE_MINUTES * 60, "seen"), (12 * 3600, "since")):
        browser = Client()
        attempt(browser, "boss")
        assert is_in(browser)
        session = browser.session
        session[word] -= age
        session.save()

        assert not is_in(browser)
        assert browser.session.get("_auth_user_id") is None


def test_it_hashes_on_one_core_and_hashes_anew_what_took_eight() -> None:
    ours, djangos = OneLaneHasher(), Argon2PasswordHasher()
    made, older = ours.encode("correct horse", ours.salt()), djangos.encode("pony", ours.salt())

    assert ",p=1$" in made
    assert ours.verify("correct horse", made)
    assert ours.verify("pony", older)
    assert [ours.must_update(each) for each in (made, older)] == [False, True]
