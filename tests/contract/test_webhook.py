"""A2: the callback URLs as they stand in Meta's dashboard."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import pytest

from connectors.whatsapp.models import WebhookDelivery
from sigma import appsettings
from sigma.logs import TextFormatter
from tests.conftest import Cast
from tests.contract.conftest import BLOCKS
from tests.whatsapp.conftest import Web
from tests.whatsapp.deliveries import callback, text
from workspaces.models import INSTALLATION_ID

SHARED_SECRET, SHARED_TOKEN = "e" * 32, "the-token-of-the-shared-app"


@pytest.fixture
def shared_app(settings) -> None:
    """A Meta app that several tenants share is configured."""
    settings.SIGMA_WHATSAPP = appsettings.WhatsAppSettings({}, SHARED_SECRET, SHARED_TOKEN)


def handshake(tenant: str, token: str) -> str:
    """Return the path and query of the contract's GET."""
    line = (BLOCKS / "handshake.txt").read_text().strip()
    return line.removeprefix("GET ").replace("<tenant>", tenant).replace("YOUR_TOKEN", token)


def signed(body: bytes, secret: str) -> dict[str, str]:
    """Sign as Meta does, without any code of ours."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}"}


def names_of(cast: Cast) -> list[str]:
    """Return every way of writing the tenant in the URL."""
    names = [cast.tenant.slug, str(cast.tenant.id), cast.tenant.slug.upper()]
    return [*names, *(name + "/" for name in names)]


def test_it_answers_the_handshake_exactly(acme: Cast, globex: Cast, web: Web) -> None:
    for name in names_of(acme):
        answer = web.client.get(handshake(name, acme.verify_token))
        assert (answer.status_code, answer.content) == (200, b"test123")
        assert answer.headers["content-type"].split(";")[0] == "text/plain"


def test_it_refuses_any_other_handshake_with_one_body(acme: Cast, globex: Cast, web: Web) -> None:
    refused = [
        web.client.get(handshake("acme", "YOUR_TOKEN")),
        web.client.get(handshake("acme", globex.verify_token)),
        web.client.get(handshake("nobody", acme.verify_token)),
        web.client.get(acme.path),
    ]
    assert [answer.status_code for answer in refused] == [403] * 4
    assert len({answer.content for answer in refused}) == 1


def test_it_takes_a_signed_callback_at_every_spelling_of_the_url(acme: Cast, web: Web) -> None:
    body = json.dumps(callback(acme.workspace.external_id, messages=[text("wamid.A")])).encode()
    for count, name in enumerate(names_of(acme), start=1):
        answer = web.client.post(
            f"/webhooks/whatsapp/{name}", content=body, headers=signed(body, acme.app_secret)
        )
        assert (answer.status_code, answer.history) == (200, [])
        assert WebhookDelivery.objects.filter(tenant_id=acme.tenant.id).count() == count


def test_it_logs_a_bad_signature_with_the_tenant_and_nothing_else(
    acme: Cast, globex: Cast, web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps(callback(acme.workspace.external_id, messages=[text("wamid.A")])).encode()
    headers = signed(body, globex.app_secret)

    answer = web.client.post(acme.path, content=body, headers=headers)

    assert (answer.status_code, answer.text) == (401, "Unauthorized\n")
    [record] = [r for r in caplog.records if "signature" in r.getMessage()]
    line = TextFormatter().format(record)
    assert "WhatsApp webhook signature validation failed" in line
    assert "whatsapp" in line  # as operators grep for it
    assert "acme" in line
    assert not any(part in line for part in (headers["X-Hub-Signature-256"][7:], "wamid", "Hello"))


def test_it_serves_the_app_that_several_tenants_share(
    shared_app: None, acme: Cast, web: Web
) -> None:
    for path in ("/webhooks/whatsapp", "/webhooks/whatsapp/"):
        query = handshake("", SHARED_TOKEN).partition("?")[2]
        assert web.client.get(f"{path}?{query}").content == b"test123"
        answer = web.client.post(path, content=b"{}", headers=signed(b"{}", SHARED_SECRET))
        assert (answer.status_code, answer.history) == (200, [])
    assert WebhookDelivery.objects.filter(tenant_id=INSTALLATION_ID).count() == 2


def test_it_refuses_a_tenants_secret_at_the_shared_url(
    shared_app: None, acme: Cast, web: Web
) -> None:
    headers = signed(b"{}", acme.app_secret)
    assert web.client.post("/webhooks/whatsapp", content=b"{}", headers=headers).status_code == 401
    query = handshake("", acme.verify_token).partition("?")[2]
    assert web.client.get(f"/webhooks/whatsapp?{query}").status_code == 403


def test_it_names_whatsapp_in_every_logger_of_the_connector() -> None:
    root = Path(__file__).parents[2]
    for layer in ("connectors", "messaging", "templates_wa", "workspaces", "lib"):
        for path in (root / layer).rglob("*.py"):
            for line in path.read_text().splitlines():
                is_ours = line.startswith("logger = ")  # a library's loggers have their own names
                assert not is_ours or 'getLogger("sigma.whatsapp' in line, path
