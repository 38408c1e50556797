"""Nobody's phone number is at rest in plaintext: planted everywhere, looked for everywhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from urllib.parse import quote, urlencode

import pytest

from connectors.whatsapp import ledger, processing, replay
from connectors.whatsapp.models import WebhookDead
from connectors.whatsapp.processing import process_batch
from lib import wakeups
from messaging.models import Message, MessageStatus
from sigma import appsettings
from tests.conftest import Cast
from tests.privacy import canaries, places
from tests.whatsapp.conftest import Web, web
from workspaces.models import INSTALLATION_ID

__all__ = ("web",)

pytestmark = pytest.mark.django_db(transaction=True)

SHARED_SECRET, SHARED_TOKEN = "shared-app-secret-0123456789", "shared-verify-token-0123456789"
NUMBERS = set[str]().union(*(places.disguises(tail) for tail in canaries.TAILS))


@pytest.fixture
def secrets_of_ours(acme: Cast, globex: Cast) -> set[str]:
    """Every secret that this test knows in plaintext, in every disguise."""
    clear = {SHARED_SECRET, SHARED_TOKEN}
    for cast in (acme, globex):
        clear |= {cast.app_secret, cast.verify_token, cast.api_key}
    return set[str]().union(*map(places.disguises, clear))


def everything(acme: Cast, globex: Cast) -> Iterator[tuple[str, bytes]]:
    """Yield (path, body): to the right tenant, to the wrong one, to the shared URL, and broken."""
    for document in canaries.recorded():
        yield acme.path, canaries.for_cast(document, acme).encode("utf-8", "surrogatepass")
        yield globex.path, document.encode("utf-8", "surrogatepass")
    number, waba_id = acme.workspace.external_id, acme.workspace.waba_id
    for body in canaries.planted(number, waba_id):
        yield acme.path, json.dumps(body).encode()
        yield "/webhooks/whatsapp", json.dumps(body).encode()
    for spelling in canaries.SPELLINGS:
        yield acme.path, f'{{"entry": "{spelling}", '.encode()


def asked_of_django(cast: Cast) -> Iterator[str]:
    """Yield addresses that end in an error of Django's, which logs it: typos, refused links."""
    query = urlencode({"hub.mode": "subscribe", "hub.verify_token": cast.verify_token})
    yield f"/webhook/whatsapp/{cast.tenant.slug}?{query}"
    for token in (cast.api_key, cast.verify_token):
        yield f"/media/{cast.tenant.id}?{urlencode({'token': token})}"
        yield f"/media/7?sig={token}"
    yield f"/media/{cast.api_key}"
    for spelling in canaries.SPELLINGS:
        yield f"/messages?{urlencode({'senderPhone': spelling})}"
        yield f"/messages/{quote(spelling)}"


@pytest.fixture
def shared_app(settings) -> None:
    """Several tenants share a Meta app."""
    settings.SIGMA_WHATSAPP = appsettings.WhatsAppSettings({}, SHARED_SECRET, SHARED_TOKEN)


@pytest.fixture
def received(
    acme: Cast, globex: Cast, shared_app: None, web: Web, caplog: pytest.LogCaptureFixture, wait_for
) -> list[logging.LogRecord]:
    """Send everything through the receiver and processing, replay what failed; return the log."""
    shared = Cast(acme.tenant, acme.workspace, SHARED_SECRET, SHARED_TOKEN, "")
    casts = {acme.path: acme, globex.path: globex, "/webhooks/whatsapp": shared}
    with caplog.at_level(logging.INFO):
        for path, body in everything(acme, globex):
            assert web.post(casts[path], body, path=path).status_code == 200
        web.post(globex, b"{}", path=acme.path)  # and a refusal, which is logged
        web.verify_url(acme.path, globex.verify_token)
        for path in asked_of_django(acme):
            assert web.client.get(path).status_code >= 400
        while process_batch(200):
            pass
        replay.replay(list(WebhookDead.objects.values_list("id", flat=True)))
    wait_for(lambda: wakeups.broker().exists("ingest", processing.WAKE_UP.key(0)))
    return caplog.records


def leaks(contents: Iterable[tuple[str, str]], disguised: set[str]) -> list[tuple[str, str]]:
    return [(where, text) for where, text in contents if places.found_in(text, disguised)]


def test_it_leaves_no_phone_number_and_no_secret_anywhere(
    acme: Cast, globex: Cast, secrets_of_ours: set[str], request: pytest.FixtureRequest
) -> None:
    position = places.wal_position()
    records = request.getfixturevalue("received")
    forbidden = NUMBERS | secrets_of_ours

    assert leaks(places.rows(), forbidden) == []
    assert leaks(places.broker_entries(), forbidden) == []
    assert leaks((("log", line) for line in places.log_lines(records)), forbidden) == []
    wal = places.wal_since(position)
    assert {one for one in NUMBERS if one.encode() in wal} == set()

    # It was all taken in, or the search would prove nothing.
    assert Message.objects.filter(tenant_id=acme.tenant.id).count() > 100
    assert MessageStatus.objects.filter(tenant_id=acme.tenant.id).count() > 20
    for tenant_id in (acme.tenant.id, globex.tenant.id, INSTALLATION_ID):
        assert ledger.read(tenant_id, verify=True).balanced


def test_it_would_find_a_canary_in_any_disguise() -> None:
    digits = f"..{canaries.PHONE}.."
    for wrapped in (
        digits,
        canaries.wamid_of(canaries.PHONE),
        digits.encode().hex(),
        *canaries.SPELLINGS,
    ):
        assert places.found_in(f"text {wrapped} more", NUMBERS), wrapped
    for document in canaries.recorded():
        assert "27000000101" not in document
