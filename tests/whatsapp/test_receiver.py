"""The webhook as Meta, and as strangers, meet it over HTTP."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import logging
import socket
import uuid

import pytest
from django.conf import settings
from django.db import connection

from connectors.whatsapp import receiver
from connectors.whatsapp.models import WebhookDead, WebhookDelivery, WebhookPending
from connectors.whatsapp.processing import process_batch
from connectors.whatsapp.wire.signature import sign
from messaging.models import Message
from sigma.asgi import Application
from tests.conftest import Cast
from tests.whatsapp.conftest import Web, serving
from tests.whatsapp.deliveries import callback, text
from workspaces import secrets
from workspaces.models import SecretKind, TenantSecret

pytestmark = pytest.mark.django_db(transaction=True)


def body_of(cast: Cast, wamid: str = "wamid.A") -> bytes:
    return json.dumps(callback(cast.workspace.external_id, messages=[text(wamid)])).encode()


class TestVerification:
    def test_it_echoes_the_challenge_and_nothing_else(self, acme: Cast, web: Web) -> None:
        for path in (acme.path, acme.path + "/", f"/webhooks/whatsapp/{acme.tenant.id}"):
            answer = web.verify_url(path, acme.verify_token)
            assert (answer.status_code, answer.text) == (200, "test123")
            assert answer.headers["content-type"].startswith("text/plain")

    @pytest.mark.parametrize("change", ["token", "mode", "challenge", "tenant"])
    def test_it_refuses_everything_else_alike(self, acme: Cast, web: Web, change: str) -> None:
        query = {
            "hub.mode": "subscribe",
            "hub.verify_token": acme.verify_token,
            "hub.challenge": "test123",
        }
        if change != "tenant":
            query |= {
                "token": {"hub.verify_token": "x"},
                "mode": {"hub.mode": "unsubscribe"},
                "challenge": {"hub.challenge": "<b>\x00"},
            }[change]
        path = "/webhooks/whatsapp/nobody" if change == "tenant" else acme.path
        answer = web.client.get(path, params=query)
        assert (answer.status_code, answer.text) == (403, "Forbidden\n")

    def test_it_refuses_another_tenants_token(self, acme: Cast, globex: Cast, web: Web) -> None:
        assert web.verify_url(acme.path, globex.verify_token).status_code == 403


class TestDelivery:
    def test_it_stores_the_body_sealed_before_it_answers(self, acme: Cast, web: Web) -> None:
        body = body_of(acme)

        answer = web.post(acme, body)

        assert (answer.status_code, answer.content) == (200, b"")
        row = WebhookDelivery.objects.get()
        assert (row.tenant_id, row.size) == (acme.tenant.id, len(body))
        assert b"15550123456" not in bytes(row.body)
        assert WebhookPending.objects.get().delivery_id == row.id

    def test_it_takes_what_curl_would_send_in_chunks(self, acme: Cast, web: Web) -> None:
        body = body_of(acme)
        signed = {"X-Hub-Signature-256": sign(body, acme.app_secret.encode())}

        answer = web.client.post(acme.path, content=iter([body[:7], body[7:]]), headers=signed)

        assert answer.status_code == 200
        process_batch(10)
        assert Message.objects.count() == 1

    def test_it_takes_three_megabytes(self, acme: Cast, web: Web) -> None:
        body = body_of(acme) + b" " * 3_000_000
        assert web.post(acme, body).status_code == 200

    def test_it_stores_what_is_not_json(self, acme: Cast, web: Web) -> None:
        assert web.post(acme, b"not json \x00\xff").status_code == 200
        process_batch(10)
        assert WebhookDead.objects.get().reason.startswith("Not a callback")

    def test_it_survives_a_connection_that_died_while_idle(self, acme: Cast, web: Web) -> None:
        assert web.post(acme, body_of(acme, "wamid.A")).status_code == 200
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'sigma-receiver' AND datname = current_database()"
            )

        assert web.post(acme, body_of(acme, "wamid.B")).status_code == 200

        process_batch(10)
        assert Message.objects.count() == WebhookDelivery.objects.count() == 2

    def test_it_never_redirects(self, acme: Cast, web: Web) -> None:
        assert web.post(acme, body_of(acme), path=acme.path + "/").status_code == 200

    def test_it_serves_other_methods_and_paths_with_an_error(self, acme: Cast, web: Web) -> None:
        assert web.client.put(acme.path).status_code == 405
        assert web.client.post(acme.path + "/more").status_code == 404
        assert web.client.get("/webhooks/whatsappx").status_code == 404


class TestRefusal:
    def wrong_headers(self, acme: Cast, globex: Cast, body: bytes) -> list[dict[str, str]]:
        sha1 = hmac.new(acme.app_secret.encode(), body, hashlib.sha1).hexdigest()
        good = sign(body, acme.app_secret.encode())
        return [
            {},
            {"X-Hub-Signature": f"sha1={sha1}"},
            {"X-Hub-Signature-256": f"sha1={sha1}"},
            {"X-Hub-Signature-256": "sha256="},
            {"X-Hub-Signature-256": good[:-1]},
            {"X-Hub-Signature-256": good.removeprefix("sha256=")},
            {"X-Hub-Signature-256": "sha256=" + "z" * 64},
            {"X-Hub-Signature-256": sign(body, globex.app_secret.encode())},
            {"X-Hub-Signature-256": sign(body + b" ", acme.app_secret.encode())},
        ]

    def test_it_answers_every_bad_signature_alike_and_stores_nothing(
        self, acme: Cast, globex: Cast, web: Web, caplog: pytest.LogCaptureFixture
    ) -> None:
        body = body_of(acme)
        for headers in self.wrong_headers(acme, globex, body):
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                answer = web.client.post(acme.path, content=body, headers=headers)
            assert (answer.status_code, answer.text) == (401, "Unauthorized\n"), headers
            record = next(r for r in caplog.records if "signature" in r.message)
            assert record.message == "WhatsApp webhook signature validation failed"
            assert (record.tenant, "whatsapp" in record.name) == ("acme", True)
        assert not WebhookDelivery.objects.exists()

    def test_it_answers_an_unknown_tenant_like_a_bad_signature(self, acme: Cast, web: Web) -> None:
        body = body_of(acme)
        answer = web.post(acme, body, path=f"/webhooks/whatsapp/{uuid.uuid4()}")
        assert (answer.status_code, answer.text) == (401, "Unauthorized\n")

    def test_it_refuses_a_body_that_is_too_large(self, acme: Cast, web: Web) -> None:
        body = b" " * (settings.SIGMA_MAX_BODY_BYTES + 1)
        assert web.post(acme, body).status_code == 413
        assert not WebhookDelivery.objects.exists()

    def test_it_refuses_a_compressed_body(self, acme: Cast, web: Web) -> None:
        body = gzip.compress(body_of(acme))
        answer = web.post(acme, body, **{"Content-Encoding": "gzip"})
        assert answer.status_code == 415

    def test_it_drops_a_truncated_body(self, acme: Cast, web: Web) -> None:
        body = body_of(acme)
        head = (
            f"POST {acme.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body) + 10}\r\n"
            f"X-Hub-Signature-256: {sign(body, acme.app_secret.encode())}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", web.port)) as line:
            line.sendall(head.encode() + body)
            line.shutdown(socket.SHUT_WR)
            assert b"200" not in line.recv(1000)[:20]
        assert not WebhookDelivery.objects.exists()


class TestRotation:
    def test_it_accepts_every_live_secret_at_once(self, acme: Cast, web: Web, wait_for) -> None:
        body, fresh = body_of(acme), "another-app-secret-0123456789"
        secrets.add(tenant=acme.tenant, kind=SecretKind.APP_SECRET, value=fresh)
        signed = {"X-Hub-Signature-256": sign(body, fresh.encode())}

        wait_for(lambda: web.post(acme, body, **signed).status_code == 200)

        assert web.post(acme, body).status_code == 200

    def test_it_forgets_a_removed_secret_within_two_seconds(
        self, acme: Cast, web: Web, wait_for
    ) -> None:
        assert receiver.POLL_SECONDS < 2  # how long it takes is the machine's affair
        body = body_of(acme)
        assert web.post(acme, body).status_code == 200
        secrets.add(tenant=acme.tenant, kind=SecretKind.APP_SECRET, value="x" * 32)
        TenantSecret.objects.filter(kind=SecretKind.APP_SECRET).order_by("id").first().delete()

        wait_for(lambda: web.post(acme, body).status_code == 401)


def test_it_says_once_a_minute_what_each_tenant_had_accepted(
    acme: Cast,
    globex: Cast,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wait_for,
) -> None:
    monkeypatch.setattr(receiver, "LOG_SECONDS", 0.05)
    caplog.set_level(logging.INFO, logger="sigma.whatsapp.webhooks")
    web: Web = request.getfixturevalue("web")
    assert "whatsapp web process accepts callbacks" in caplog.messages
    for cast in (acme, acme, acme, globex):
        assert web.post(cast, body_of(cast)).status_code == 200
    assert web.post(acme, b"{}", **{"X-Hub-Signature-256": sign(b"", b"x")}).status_code == 401

    def accepted() -> dict[str, int]:
        lines = [r for r in caplog.records if r.getMessage() == "whatsapp callbacks accepted"]
        return {
            slug: sum(record.callbacks for record in lines if record.tenant == slug)
            for slug in {record.tenant for record in lines}
        }

    wait_for(lambda: accepted() == {"acme": 3, "globex": 1})


def test_it_says_at_its_end_what_was_accepted_since(
    transactional_db: None, acme: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="sigma.whatsapp.webhooks")
    with serving(Application()) as port:
        web = Web(port)
        assert web.post(acme, b"{}").status_code == 200
        web.client.close()
    (line,) = (r for r in caplog.records if r.getMessage() == "whatsapp callbacks accepted")
    assert (line.tenant, line.callbacks) == ("acme", 1)
