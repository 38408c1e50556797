"""Access tokens: asked about daily, warned of in time, and sending goes on once one works again."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import pytest

from messaging import token_watch
from messaging.delivery import pauses
from messaging.delivery.pauses import Pause
from messaging.tasks import check_tokens
from templates_wa.models import TemplateSync
from tests.conftest import Cast
from tests.messaging.meta import Meta, Reply
from workspaces import secrets, setup_check, token_checks
from workspaces.models import SecretKind, TenantSecret, TenantStatus, TokenCheck

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
SCOPES = ["whatsapp_business_messaging", "whatsapp_business_management"]
EXPIRED = Reply({"error": {"code": 190, "message": "Session has expired"}}, 401)


def answer(meta: Meta, **data: object) -> None:
    found = {"is_valid": True, "expires_at": 0, "scopes": SCOPES, **data}
    meta.replies["/v26.0/debug_token"] = Reply({"data": found})


@pytest.fixture
def token(acme: Cast, meta: Meta) -> TenantSecret:
    """An access token of acme's that Meta accepts."""
    answer(meta)
    return add(acme, "EAAG-first")


def add(cast: Cast, value: str, **more: datetime) -> TenantSecret:
    kind = SecretKind.ACCESS_TOKEN
    return secrets.add(tenant=cast.tenant, kind=kind, value=value, **more)


def check_of(secret: TenantSecret) -> TokenCheck:
    return TokenCheck.objects.get(pk=secret.pk)


def warnings(cast: Cast, now: datetime) -> list[str]:
    found = setup_check.findings_of(cast.tenant, now=now)
    return [finding.message for finding in found if "token" in finding.message.lower()]


def test_it_keeps_what_meta_says(acme: Cast, meta: Meta, token: TenantSecret, now) -> None:
    granted = [{"scope": SCOPES[0], "target_ids": [acme.workspace.waba_id]}]
    ends = datetime.fromtimestamp(int((now + 30 * DAY).timestamp()), now.tzinfo)
    answer(meta, expires_at=int(ends.timestamp()), granular_scopes=granted)

    assert token_watch.watch(now=now) == 1

    check = check_of(token)
    assert (check.tenant_id, check.checked_at) == (acme.tenant.id, now)
    assert (check.is_valid, check.expires_at, check.problem) == (True, ends, "")
    assert (check.scopes, check.account_ids) == (SCOPES, [acme.workspace.waba_id])
    assert warnings(acme, now) == []


def test_each_token_speaks_for_itself(meta: Meta, acme: Cast, globex: Cast, token, now) -> None:
    add(acme, "EAAG-second")
    add(globex, "EAAG-of-globex")
    add(globex, "EAAG-gone", expires_at=now - DAY)

    assert token_watch.watch(now=now) == 3

    asked = [(a.query["input_token"][0], a.headers["Authorization"]) for a in meta.asked]
    assert sorted(asked) == [
        (f"EAAG-{name}", f"Bearer EAAG-{name}") for name in ("first", "of-globex", "second")
    ]


def test_it_asks_once_a_day_and_hourly_while_there_is_trouble(meta: Meta, token, now) -> None:
    hours = (0, 23, 24)
    assert [token_watch.watch(now=now + timedelta(hours=h)) for h in hours] == [1, 0, 1]

    meta.replies["/v26.0/debug_token"] = EXPIRED
    hours = (48, 48.5, 49)
    assert [token_watch.watch(now=now + timedelta(hours=h)) for h in hours] == [1, 0, 1]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"is_valid": False}, "is refused"),
        ({"scopes": SCOPES[1:]}, "lacks the permission whatsapp_business_messaging"),
        (
            {"granular_scopes": [{"scope": SCOPES[0], "target_ids": ["7"]}]},
            "not granted the account 900000000000001",
        ),
    ],
)
def test_it_warns_of_a_token_that_will_not_do(
    acme: Cast, meta: Meta, token, now, caplog, data: dict[str, object], words: str
) -> None:
    meta.replies["/v26.0/debug_token"] = Reply(
        {"data": {"is_valid": True, "scopes": SCOPES, **data}}
    )
    with caplog.at_level(logging.WARNING, "sigma.whatsapp.tokens"):
        token_watch.watch(now=now)

    assert any(words in warning for warning in warnings(acme, now))
    assert [record.secret_id for record in caplog.records] == [token.pk]
    assert "EAAG" not in caplog.text


@pytest.mark.parametrize(("days", "is_warned"), [(8, False), (6, True)])
def test_it_warns_a_week_before_a_token_ends(
    acme: Cast, meta: Meta, token, now, caplog, days: int, is_warned: bool
) -> None:
    answer(meta, expires_at=int((now + days * DAY).timestamp()))
    with caplog.at_level(logging.WARNING, "sigma.whatsapp.tokens"):
        token_watch.watch(now=now)

    assert bool(warnings(acme, now)) is is_warned
    assert ("expires soon" in caplog.text) is is_warned


@pytest.mark.parametrize("is_valid", [True, False])
def test_a_token_that_works_has_templates_read_again(
    acme: Cast, globex: Cast, meta: Meta, token: TenantSecret, is_valid: bool, now: datetime
) -> None:
    answer(meta, is_valid=is_valid)
    for cast in (acme, globex):
        TemplateSync.objects.create(
            tenant_id=cast.tenant.id, waba_id=cast.workspace.waba_id, due_at=now + DAY
        )

    token_watch.watch(now=now)

    due = TemplateSync.objects.filter(due_at__lt=now + DAY)
    assert [row.tenant_id for row in due] == [acme.tenant.id] * is_valid


@pytest.mark.parametrize(
    ("reply", "is_known"),
    [
        (Reply(b"", 503), False),
        (Reply(b"", 403), False),
        (Reply({"error": {"code": 4}}, 400), False),
        (Reply({"error": {"code": 100, "message": "Invalid appsecret_proof"}}, 400), True),
    ],
)
def test_it_takes_silence_for_no_verdict(meta: Meta, token, now, reply, is_known: bool) -> None:
    meta.replies["/v26.0/debug_token"] = reply

    token_watch.watch(now=now)

    assert [check.is_valid for check in TokenCheck.objects.all()] == [False] * is_known


def test_it_leaves_the_others_for_later_when_meta_is_silent_three_times_in_a_row(
    acme: Cast, meta: Meta, now
) -> None:
    for number in range(5):
        add(acme, f"EAAG-{number}")
    meta.replies["/v26.0/debug_token"] = Reply(b"", 503)

    token_watch.watch(now=now)

    assert len(meta.asked) == 3


def test_it_asks_nobody_who_is_suspended(acme: Cast, meta: Meta, token, now) -> None:
    acme.tenant.status = TenantStatus.SUSPENDED
    acme.tenant.save()

    assert token_watch.watch(now=now) == 0


def test_a_token_that_cannot_be_opened_stops_no_other(
    acme: Cast, globex: Cast, meta: Meta, token, now
) -> None:
    TenantSecret.objects.filter(pk=token.pk).update(sealed=b"x" * 60)
    add(globex, "EAAG-of-globex")

    assert token_watch.watch(now=now) == 1


def test_sending_goes_on_when_a_new_token_works(
    acme: Cast, globex: Cast, meta: Meta, token, now
) -> None:
    for cast in (acme, globex):
        pauses.pause(
            [
                Pause(cast.tenant.id, None, 190, "expired"),
                Pause(cast.tenant.id, None, 368, "policy"),
            ],
            now=now,
        )
    meta.replies["/v26.0/debug_token"] = EXPIRED
    token_watch.watch(now=now)
    assert open_codes(acme) == [190, 368]

    answer(meta)
    add(acme, "EAAG-new")
    check_tokens()

    assert open_codes(acme) == [368]
    assert open_codes(globex) == [190, 368]


def test_an_old_token_that_works_lifts_nothing(acme: Cast, meta: Meta, token, now) -> None:
    """Only the newest is used."""
    newest = add(acme, "EAAG-new")
    token_checks.check(newest, now=now)
    pauses.pause([Pause(acme.tenant.id, None, 190, "expired")], now=now)

    assert token_watch.watch(now=now) == 1
    assert open_codes(acme) == [190]


def open_codes(cast: Cast) -> list[int]:
    rows = pauses.open_pauses(tenant_id=cast.tenant.id, now=None)
    return sorted(rows.values_list("code", flat=True))
