"""A mistake in the set-up costs no message: sending stops, and goes on once it is put right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from io import StringIO
from typing import NamedTuple

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connectors.simulator.meta.server import RunningSimulator
from connectors.whatsapp.processing import process_batch
from lib.envelope import associated_data
from messaging import token_watch
from messaging.broadcasts import lifecycle
from messaging.delivery import pauses
from messaging.models import Broadcast, Message, NumberState, SendingPause
from messaging.tasks import check_tokens
from sigma.appsettings import WhatsAppSettings
from tests.broadcasts.conftest import draft, people, start, template, tend
from tests.conftest import Cast
from tests.delivery.outgoing import queue
from tests.whatsapp import deliveries
from tests.whatsapp.deliveries import callback, status
from workspaces import keys, secrets, token_checks
from workspaces.channels import app_secrets
from workspaces.models import SecretKind, TenantSecret, TokenCheck

Deliver = Callable[[], int]
APP, TOKEN = "700000000000001", "EAAG-acme"
PEOPLE = 300


class Mistake(NamedTuple):
    """What is wrong at Meta's, and what is said of it."""

    kind: str
    name: str
    fields: dict[str, object]
    code: int
    reason: str
    is_about_credentials: bool = True


WABA, NUMBER = "900000000000001", "100000000000001"
MISTAKES = (
    Mistake("apps", APP, {"secret": "another-secret-0123456789"}, 100, "app secret"),
    Mistake("tokens", TOKEN, {"is_revoked": True}, 190, "access token"),
    Mistake("tokens", TOKEN, {"scopes": []}, 10, "permission"),
    Mistake("accounts", WABA, {"is_unpaid": True}, 131042, "payment", False),
    Mistake("numbers", NUMBER, {"status": "DISCONNECTED"}, 133010, "not registered", False),
)
BEFORE: dict[str, object] = {
    "secret": "acme-app-secret-0123456789",
    "is_revoked": False,
    "is_unpaid": False,
    "scopes": ["whatsapp_business_messaging", "whatsapp_business_management"],
    "status": "CONNECTED",
}


def running(cast: Cast, now: datetime, size: int = PEOPLE) -> Broadcast:
    """Start a broadcast over a number that sends a thousand messages a second."""
    template(cast)
    NumberState.objects.create(
        workspace=cast.workspace, tenant_id=cast.tenant.id, throughput_level="HIGH"
    )
    return start(draft(cast, people(size)), now)


def statuses() -> Counter[str]:
    return Counter(Message.objects.values_list("status", flat=True))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.code}")
def test_it_burns_no_message_of_a_broadcast_and_goes_on_once_it_is_put_right(
    acme: Cast,
    globex: Cast,
    now: datetime,
    meta: RunningSimulator,
    deliver: Deliver,
    mistake: Mistake,
) -> None:
    broadcast = running(acme, now)
    meta.control.change(mistake.kind, mistake.name, **mistake.fields)
    for _ in range(3):
        deliver()

    assert statuses() == {"queued": PEOPLE}
    pause = SendingPause.objects.get()
    assert (pause.tenant_id, pause.code, pause.lifted_at) == (acme.tenant.id, mistake.code, None)
    assert pause.workspace_id == (None if mistake.is_about_credentials else acme.workspace.id)
    assert mistake.reason in pause.reason
    assert tend(broadcast, now).state == "RUNNING"

    before = {name: BEFORE[name] for name in mistake.fields}
    meta.control.change(mistake.kind, mistake.name, **before)
    if mistake.is_about_credentials:
        token_watch.watch(now=timezone.now())
    else:
        pauses.lift(tenant_id=acme.tenant.id, by="ann", now=now)
    deliver()

    assert deliver() > 0
    assert statuses().keys() == {"accepted", "queued"}


def report_failed(cast: Cast, message: Message, code: int) -> None:
    """Receive the report that a message failed, which the platform had taken."""
    failed = status(
        "wamid.of-the-failed",
        "failed",
        errors=[{"code": code, "title": "Failed"}],
        biz_opaque_callback_data=str(message.id),
    )
    message.refresh_from_db()
    place = associated_data(cast.tenant.id, "messages.sealed_id", message.id)
    sealed = bytes(message.sealed_id)
    failed["id"] = keys.cipher_of(sealed).open(sealed, place).decode()
    deliveries.deliver(cast.tenant.id, callback(cast.workspace.external_id, statuses=[failed]))
    process_batch(10)


def add(cast: Cast, value: str, kind: SecretKind = SecretKind.APP_SECRET) -> TenantSecret:
    return secrets.add(tenant=cast.tenant, kind=kind, value=value)


def test_it_tries_the_other_live_app_secrets(
    acme: Cast, now: datetime, meta: RunningSimulator, deliver: Deliver
) -> None:
    add(acme, "the-next-secret-0123456789")
    for _ in range(3):
        queue(acme, now)
    deliver()

    assert statuses() == {"accepted": 3}
    assert not SendingPause.objects.exists()


@pytest.mark.parametrize(
    "configured",
    [
        {"app_secrets": {"acme": "acme-app-secret-0123456789"}},
        {"default_app_secret": "acme-app-secret-0123456789"},
        {
            "app_secrets": {"acme": "a-wrong-secret-0123456789"},
            "default_app_secret": "acme-app-secret-0123456789",
        },
    ],
    ids=["of the tenant", "default", "the second"],
)
@pytest.mark.parametrize("has_stored", [True, False])
def test_it_tries_the_app_secrets_that_are_configured(
    acme: Cast,
    now: datetime,
    meta: RunningSimulator,
    deliver: Deliver,
    settings,
    configured: dict,
    has_stored: bool,
) -> None:
    TenantSecret.objects.filter(tenant=acme.tenant, kind=SecretKind.APP_SECRET).delete()
    if has_stored:
        add(acme, "an-old-secret-0123456789")
    meta.control.change("apps", APP, requires_proof=True)
    settings.SIGMA_WHATSAPP = WhatsAppSettings(**configured)
    message = queue(acme, now)
    deliver()
    message.refresh_from_db()

    assert (message.status, SendingPause.objects.count()) == ("accepted", 0)
    token_watch.watch(now=now)
    assert TokenCheck.objects.get().is_valid


def test_it_sends_without_a_proof_where_the_default_secret_is_of_another_app(
    acme: Cast, now: datetime, meta: RunningSimulator, deliver: Deliver, settings
) -> None:
    TenantSecret.objects.filter(tenant=acme.tenant, kind=SecretKind.APP_SECRET).delete()
    settings.SIGMA_WHATSAPP = WhatsAppSettings(default_app_secret="another-app-0123456789")
    queue(acme, now)
    deliver()

    assert statuses() == {"accepted": 1}


def test_it_remembers_which_app_secret_fits_which_token(
    acme: Cast, now: datetime, meta: RunningSimulator
) -> None:
    fitting = TenantSecret.objects.get(tenant=acme.tenant, kind=SecretKind.APP_SECRET)
    other = add(acme, "the-next-secret-0123456789")
    token = TenantSecret.objects.get(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN)
    token_watch.watch(now=now)

    assert TokenCheck.objects.get(secret=token).app_secret_id == fitting.pk
    assert app_secrets(TenantSecret.objects.get(pk=token.pk), now=now) == [fitting, other]

    meta.control.change("apps", APP, secret="the-next-secret-0123456789")
    assert token_checks.try_out(other, now=now) == (True, "It fits the token.")
    assert TokenCheck.objects.get(secret=token).app_secret_id == other.pk


@pytest.fixture
def enter(admin_client: Client, django_capture_on_commit_callbacks) -> Callable[..., str]:
    """Enter a secret on a tenant's page; return the page as it is then."""

    def enter(cast: Cast, kind: str, value: str) -> str:
        path = reverse("admin:workspaces_tenant_change", args=(cast.tenant.pk,))
        stored = TenantSecret.objects.filter(tenant=cast.tenant).order_by("kind", "id")
        total = stored.count()
        form = {
            "name": cast.tenant.name,
            "status": "ACTIVE",
            "retention_days": "30",
            "archive": "OFF",
            "secrets-TOTAL_FORMS": str(total + 1),
            "secrets-INITIAL_FORMS": str(total),
            f"secrets-{total}-kind": kind,
            f"secrets-{total}-value": value,
            f"secrets-{total}-tenant": str(cast.tenant.pk),
        }
        for position, secret in enumerate(stored):
            form[f"secrets-{position}-id"] = str(secret.pk)
            form[f"secrets-{position}-kind"] = secret.kind
            form[f"secrets-{position}-tenant"] = str(cast.tenant.pk)
        with django_capture_on_commit_callbacks(execute=True):
            admin_client.post(path, form)
        assert TenantSecret.objects.filter(tenant=cast.tenant).count() == total + 1
        return admin_client.get(path).content.decode()

    return enter


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("APP_SECRET", "a-wrong-secret-0123456789", "It is not the secret of the app"),
        ("APP_SECRET", "acme-app-secret-0123456789", "It fits the token."),
        ("ACCESS_TOKEN", "EAAG-nobody-knows", "is expired or invalid"),
        ("ACCESS_TOKEN", "EAAG-acme", "Meta accepts it."),
    ],
)
def test_it_tries_a_secret_that_is_entered_and_says_what_came_of_it(
    acme: Cast, meta: RunningSimulator, enter: Callable[..., str], kind: str, value: str, said: str
) -> None:
    meta.control.change("tokens", "EAAG-acme", app_id=APP)

    assert said in enter(acme, kind, value)


def test_it_stores_a_secret_though_meta_is_away(
    acme: Cast, meta: RunningSimulator, enter: Callable[..., str], settings
) -> None:
    settings.SIGMA_GRAPH_URL = "http://127.0.0.1:1/v26.0"
    page = enter(acme, "ACCESS_TOKEN", "EAAG-second")
    token = TenantSecret.objects.filter(tenant=acme.tenant, kind="ACCESS_TOKEN").last()

    assert "not tried" in page
    assert secrets.reveal(token) == "EAAG-second"


def test_sending_goes_on_by_itself_once_the_right_secret_is_entered(
    acme: Cast, globex: Cast, now: datetime, meta: RunningSimulator, deliver: Deliver
) -> None:
    meta.control.change("apps", APP, secret="the-next-secret-0123456789")
    message = queue(acme, now)
    deliver()
    token_watch.watch(now=timezone.now())
    assert SendingPause.objects.get().lifted_at is None
    token_checks.try_out(add(acme, "the-next-secret-0123456789"), now=timezone.now())
    check_tokens()
    deliver()
    message.refresh_from_db()

    assert message.status == "accepted"
    assert SendingPause.objects.get().lifted_by == "token check"


def test_a_broadcast_that_is_refused_alike_stops_after_a_few_and_is_sent_again_by_one_call(
    acme: Cast, now: datetime, meta: RunningSimulator, deliver: Deliver, monkeypatch
) -> None:
    monkeypatch.setattr("messaging.broadcasts.feeding.window", lambda broadcast: 300)
    template(acme)
    broadcast = start(draft(acme, people(300)), now)
    rule = meta.control.rule("error", code=131030)
    while broadcast.state == "RUNNING" and deliver():
        tend(broadcast, timezone.now())
    burned = statuses()["failed"]

    assert (broadcast.state, "131030" in broadcast.reason) == ("PAUSED", True)
    assert 20 <= burned <= 60
    assert rule and meta.control.lift_rules() is None
    again = lifecycle.retry_failed(
        tenant_id=acme.tenant.id, broadcast_id=broadcast.id, codes=[131030], now=timezone.now()
    )
    assert (again[0].state, again[1]) == ("RUNNING", burned)
    tend(broadcast, timezone.now())
    assert statuses() == {"failed": burned, "queued": 300}
    assert deliver() > 0
    tend(broadcast, timezone.now())
    assert (broadcast.state, statuses()["failed"]) == ("RUNNING", burned)


REPORTED = {131042: "payment", 131031: "locked", 133010: "not registered", 190: "access token"}


@pytest.mark.parametrize("code", REPORTED)
def test_a_mistake_that_is_only_reported_stops_the_rest_and_what_it_burned_is_sent_again(
    acme: Cast, globex: Cast, now: datetime, meta: RunningSimulator, deliver: Deliver, code: int
) -> None:
    broadcast = running(acme, now, size=300)
    others = queue(globex, now, status="accepted")
    deliver()
    waiting = statuses()["queued"]
    burned = list(Message.objects.filter(status="accepted").exclude(pk=others.pk)[:3])
    for message in burned:
        report_failed(acme, message, code)
    deliver()

    assert (statuses()["failed"], statuses()["queued"]) == (3, waiting)
    pause = SendingPause.objects.get()
    is_wide = code == 190
    assert (pause.tenant_id, pause.code, pause.until) == (acme.tenant.id, code, None)
    assert pause.workspace_id == (None if is_wide else acme.workspace.id)
    assert REPORTED[code] in pause.reason

    pauses.lift(tenant_id=acme.tenant.id, by="ann", now=timezone.now())
    again = lifecycle.retry_failed(
        tenant_id=acme.tenant.id, broadcast_id=broadcast.id, now=timezone.now()
    )
    assert again[1] == 3
    tend(broadcast, timezone.now())
    assert Message.objects.filter(status="failed", broadcast_id=None).count() == 3
    deliver()
    assert statuses()["queued"] < waiting + 3


def test_a_late_report_of_what_was_put_right_since_stops_nothing(
    acme: Cast, now: datetime, meta: RunningSimulator, deliver: Deliver
) -> None:
    for _ in range(3):
        queue(acme, now)
    deliver()
    first, late, _ = Message.objects.filter(status="accepted")
    report_failed(acme, first, 131042)
    assert pauses.lift(tenant_id=acme.tenant.id, by="ann", now=timezone.now()) == 1
    report_failed(acme, late, 131042)

    assert not SendingPause.objects.filter(lifted_at=None).exists()
    after = queue(acme, now)
    deliver()
    after.refresh_from_db()
    report_failed(acme, after, 131042)
    assert SendingPause.objects.filter(lifted_at=None).count() == 1


@pytest.mark.parametrize("code", [131026, 131049, 100, 132015, 999999])
def test_a_failure_that_is_reported_of_one_message_stops_nothing(
    acme: Cast, now: datetime, meta: RunningSimulator, deliver: Deliver, code: int
) -> None:
    message = queue(acme, now)
    deliver()
    report_failed(acme, message, code)

    assert statuses() == {"failed": 1}
    assert not SendingPause.objects.exists()


def test_the_command_tries_everything_that_is_stored(
    acme: Cast, globex: Cast, meta: RunningSimulator
) -> None:
    add(acme, "a-wrong-secret-0123456789")
    said = StringIO()
    with suppress(SystemExit):
        call_command("check_tenant", "acme", "--ask", stdout=said)

    assert "Access token : Meta accepts it." in said.getvalue()
    assert "App secret : It fits the token." in said.getvalue()
    assert "App secret : It is not the secret of the app" in said.getvalue()
    assert not TokenCheck.objects.filter(tenant_id=globex.tenant.id).exists()
