"""One tenant's trouble with its keys or secrets is not another's."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from connectors.whatsapp import tasks
from connectors.whatsapp.models import WebhookDelivery
from tests.conftest import Cast
from tests.whatsapp.conftest import Web
from tests.whatsapp.deliveries import callback, text
from workspaces import directory, keys, provisioning, secrets
from workspaces.models import RawKey, SecretKind, Tenant, TenantSecret, TenantStatus

pytestmark = pytest.mark.django_db(transaction=True)

OTHER_MASTER_KEY = b"\x01\x04lost" + bytes(60)


def post(web: Web, cast: Cast) -> int:
    body = json.dumps(callback(cast.workspace.external_id, messages=[text("wamid.A")])).encode()
    return web.post(cast, body).status_code


@pytest.fixture
def locked_out(acme: Cast, now: datetime) -> Callable[[], None]:
    """No configured master key opens acme's keys until the returned function is called."""
    for day in (now.date(), now.date() + timedelta(days=1)):
        keys.day_cipher(acme.tenant.id, day)
    known = {row.pk: bytes(row.wrapped) for row in RawKey.objects.all()}
    RawKey.objects.update(wrapped=OTHER_MASTER_KEY)

    def mend() -> None:
        for pk, wrapped in known.items():
            RawKey.objects.filter(pk=pk).update(wrapped=wrapped)

    return mend


def test_it_refuses_only_the_tenant_whose_key_does_not_open(
    locked_out: Callable[[], None], acme: Cast, globex: Cast, web: Web, wait_for
) -> None:
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda cast: (cast, post(web, cast)), [acme, globex] * 12))

    assert {status for cast, status in answers if cast is acme} == {503}
    assert {status for cast, status in answers if cast is globex} == {200}
    assert set(WebhookDelivery.objects.values_list("tenant_id")) == {(globex.tenant.id,)}
    locked_out()
    wait_for(lambda: post(web, acme) == 200)


def test_it_logs_a_tenants_trouble_once(
    locked_out: Callable[[], None], acme: Cast, web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    assert [post(web, acme) for _ in range(5)] == [503] * 5

    [record] = [r for r in caplog.records if "cannot be sealed" in r.message]
    assert (record.tenant, record.levelno) == (acme.tenant.id, logging.ERROR)


def test_it_does_not_wait_for_whoever_holds_a_tenant(acme: Cast, globex: Cast, web: Web) -> None:
    with transaction.atomic():
        Tenant.objects.select_for_update().get(pk=acme.tenant.pk)
        assert post(web, acme) == 503
        assert post(web, globex) == 200


def test_it_leaves_out_a_secret_that_does_not_open(
    acme: Cast, globex: Cast, request: pytest.FixtureRequest, caplog, wait_for
) -> None:
    ruined = TenantSecret.objects.get(tenant=acme.tenant, kind=SecretKind.APP_SECRET)
    TenantSecret.objects.filter(pk=ruined.pk).update(sealed=b"ruined")
    web: Web = request.getfixturevalue("web")

    assert (post(web, acme), post(web, globex)) == (401, 200)
    record = next(r for r in caplog.records if "does not open" in r.message)
    assert (record.tenant, record.secret) == (acme.tenant.id, ruined.pk)
    TenantSecret.objects.filter(tenant=globex.tenant).delete()
    wait_for(lambda: post(web, globex) == 401)


def test_it_does_not_fall_back_on_the_installations_secret_for_one_that_does_not_open(
    acme: Cast, request: pytest.FixtureRequest, settings
) -> None:
    settings.SIGMA_WHATSAPP = type(settings.SIGMA_WHATSAPP)(default_app_secret="d" * 32)
    TenantSecret.objects.update(sealed=b"ruined")
    web: Web = request.getfixturevalue("web")

    signed = Cast(acme.tenant, acme.workspace, "d" * 32, "", "")
    assert post(web, signed) == 401


class TestDayKeys:
    def test_it_loads_and_makes_the_keys_of_many_tenants_with_a_few_statements(
        self, acme: Cast, now: datetime
    ) -> None:
        tenants = [provisioning.create_tenant(slug=f"t{n}", name="T") for n in range(20)]
        pairs = [(tenant.id, now.date()) for tenant in tenants]
        keys.day_cipher(*pairs[0])

        with CaptureQueriesContext(connection) as made:
            ciphers, troubles = keys.day_ciphers(pairs)

        assert (ciphers.keys(), troubles) == (set(pairs), {})
        assert len([q for q in made if "raw_keys" in q["sql"]]) == 3

    def test_it_seals_under_no_key_of_a_tenant_that_goes(
        self, acme: Cast, globex: Cast, now: datetime
    ) -> None:
        Tenant.objects.filter(pk=acme.tenant.pk).update(status=TenantStatus.ERASING)
        pairs = [(cast.tenant.id, now.date()) for cast in (acme, globex)]

        ciphers, troubles = keys.day_ciphers(pairs)

        assert list(ciphers) == [pairs[1]]
        assert isinstance(troubles[pairs[0]], keys.TenantHasNoKeys)

    def test_it_never_hands_the_receiver_a_key_from_memory(self, acme: Cast, now) -> None:
        pair = (acme.tenant.id, now.date())
        destroyed = keys.day_cipher(*pair)
        RawKey.objects.all().delete()

        assert keys.day_ciphers([pair])[0][pair].key_id != destroyed.key_id

    def test_it_makes_the_keys_of_a_coming_day_ahead(self, acme: Cast, globex: Cast) -> None:
        Tenant.objects.filter(pk=globex.tenant.pk).update(status=TenantStatus.ERASING)
        day = date(2030, 1, 1)

        assert [keys.prepare_day(day), keys.prepare_day(day)] == [2, 0]

        prepared = set(RawKey.objects.values_list("tenant_id", flat=True))
        assert acme.tenant.id in prepared
        assert globex.tenant.id not in prepared

    def test_it_makes_tomorrows_keys_in_the_evening(
        self, acme: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tasks, "KEYS_FROM_HOUR", 0)
        tasks.make_partitions()
        assert RawKey.objects.get(tenant_id=acme.tenant.id).day > datetime.now(UTC).date()

    def test_it_makes_the_others_keys_while_somebody_is_making_one(
        self, acme: Cast, globex: Cast, now: datetime
    ) -> None:
        pairs = [(cast.tenant.id, now.date()) for cast in (acme, globex)]
        with ThreadPoolExecutor(1) as other, transaction.atomic():
            keys.day_cipher(*pairs[0])
            ciphers = other.submit(_in_own_connection, lambda: keys.day_ciphers(pairs)[0])
            assert list(ciphers.result(120)) == [pairs[1]]


def _in_own_connection(run: Callable[[], object]) -> object:
    try:
        return run()
    finally:
        connection.close()


def test_it_forgets_an_expired_secret_without_a_reload(acme: Cast, now: datetime) -> None:
    fresh = "another-app-secret-0123456789"
    secrets.add(
        tenant=acme.tenant,
        kind=SecretKind.APP_SECRET,
        value=fresh,
        expires_at=now + timedelta(hours=1),
    )
    loaded = directory.load(now)

    later = loaded.at(now + timedelta(hours=1))
    assert loaded.find("acme").app_secrets == (fresh.encode(), acme.app_secret.encode())
    assert later.find("acme").app_secrets == (acme.app_secret.encode(),)
    assert later.next_expiry is None
