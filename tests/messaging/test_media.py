"""Files of messages: who gets them, how they travel, and what is said when they cannot."""

from __future__ import annotations

import hashlib
import hmac
import logging
import uuid

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.test import Client

from messaging.media import LINK_SALT, download_url
from messaging.models import Media
from messaging.views import _filename, _safe_type
from tests.conftest import Cast
from tests.graphql.conftest import key_with
from tests.messaging.conftest import PNG, body, get
from tests.messaging.meta import Meta, Reply
from workspaces import secrets
from workspaces.access import Scope
from workspaces.models import Membership, SecretKind

pytestmark = pytest.mark.django_db

OFFICE = "application/vnd.openxmlformats-officedocument"


def test_it_streams_the_file(acme: Cast, meta: Meta, token: str, file: Media, path: str) -> None:
    meta.keep("777", PNG, **{"Content-Type": "image/png"})

    answer = get(path, acme.api_key)

    assert answer.status_code == 200
    assert body(answer) == PNG
    assert answer["Content-Type"] == "image/png"
    assert answer["Content-Length"] == str(len(PNG))
    assert answer["Content-Disposition"] == 'attachment; filename="cat.png"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"].startswith("sandbox")
    assert answer["Cache-Control"] == "private, no-store"


def test_it_learns_the_size(acme: Cast, meta: Meta, token: str, file: Media, path: str) -> None:
    meta.keep("777", PNG)

    body(get(path, acme.api_key))

    file.refresh_from_db()
    assert file.size_bytes == len(PNG)


def test_it_asks_meta_with_the_tenants_own_credentials(
    acme: Cast, meta: Meta, token: str, path: str
) -> None:
    meta.keep("777", PNG)

    get(path, acme.api_key).close()

    descriptor, download = meta.asked
    assert descriptor.query["phone_number_id"] == [acme.workspace.external_id]
    proof = hmac.new(acme.app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
    assert descriptor.query["appsecret_proof"] == [proof]
    assert [asked.headers["Authorization"] for asked in meta.asked] == [f"Bearer {token}"] * 2
    assert download.headers["Accept-Encoding"] == "identity"


def test_it_uses_the_newest_token(acme: Cast, meta: Meta, token: str, path: str) -> None:
    meta.keep("777", PNG)
    secrets.add(tenant=acme.tenant, kind=SecretKind.ACCESS_TOKEN, value="EAAG-newer")

    get(path, acme.api_key).close()

    assert meta.asked[0].headers["Authorization"] == "Bearer EAAG-newer"


def test_it_lets_a_link_in_without_a_key(meta: Meta, token: str, file: Media) -> None:
    meta.keep("777", PNG)

    answer = get(download_url(file).split("8000", 1)[1])

    assert body(answer) == PNG


def test_it_lets_a_member_in_by_the_session(acme: Cast, meta: Meta, token: str, path: str) -> None:
    meta.keep("777", PNG)
    alice = User.objects.create_user("alice")
    Membership.objects.create(tenant=acme.tenant, user=alice)
    browser = Client()
    browser.force_login(alice)

    assert body(browser.get(path)) == PNG


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: "f" + t[1:], lambda t: "x", lambda t: t + "é"]
)
def test_it_refuses_a_link_that_was_altered(meta: Meta, file: Media, path: str, change) -> None:
    link = download_url(file).split("token=")[1]

    answer = get(f"{path}?token={change(link)}")

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "INVALID_LINK"


def test_it_refuses_the_link_of_another_file(meta: Meta, file: Media) -> None:
    link = download_url(file).split("token=")[1]

    assert get(f"/media/{uuid.uuid4()}?token={link}").status_code == 403


def test_it_refuses_a_link_after_fifteen_minutes(
    file: Media, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as past:
        now = signing.time.time()
        past.setattr(signing.time, "time", lambda: now - 901)
        link = signing.TimestampSigner(salt=LINK_SALT).sign(f"{file.tenant_id.hex}{file.id.hex}")

    answer = get(f"{path}?token={link}")

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "EXPIRED_LINK"


def test_it_knows_nothing_of_another_tenants_files(
    acme: Cast, globex: Cast, meta: Meta, token: str, file: Media, path: str
) -> None:
    for missing in (path, f"/media/{uuid.uuid4()}"):
        answer = get(missing, globex.api_key)
        assert answer.status_code == 404
        assert answer.json() == {
            "error": {"code": "NOT_FOUND", "message": "There is no such file."}
        }
    assert meta.asked == []


def test_it_is_closed_to_strangers(file: Media, path: str) -> None:
    assert get(path).status_code == 401
    assert get(path, "sigma_nonsense")["WWW-Authenticate"] == "Bearer"


def test_it_is_closed_to_keys_that_may_not_read_files(acme: Cast, path: str) -> None:
    assert get(path, key_with(acme.tenant, Scope.MESSAGES_READ)).status_code == 403


def test_it_takes_gets_only(path: str) -> None:
    assert Client().post(path).status_code == 405


def test_it_says_that_a_token_is_missing(acme: Cast, meta: Meta, path: str) -> None:
    answer = get(path, acme.api_key)

    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "NOT_CONFIGURED"
    assert meta.asked == []


def test_it_holds_no_connection_to_the_database_open_while_meta_answers(
    acme: Cast, meta: Meta, token: str, path: str, django_assert_num_queries
) -> None:
    meta.keep("777", PNG)
    answer = get(path, acme.api_key)

    with django_assert_num_queries(0):
        assert body(answer) == PNG


def test_it_logs_neither_token_nor_address(
    acme: Cast, meta: Meta, token: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    meta.replies["/v26.0/777"] = Reply(b"", 500)

    with caplog.at_level(logging.INFO):
        get(path, acme.api_key)

    assert token not in caplog.text
    assert "appsecret_proof" not in caplog.text


@pytest.mark.parametrize(
    ("given", "served"),
    [
        ("image/png", "image/png"),
        ("audio/ogg; codecs=opus", "audio/ogg; codecs=opus"),
        (f"{OFFICE}.wordprocessingml.document", f"{OFFICE}.wordprocessingml.document"),
        ("application/vnd.ms-excel", "application/vnd.ms-excel"),
        ("application/xhtml+xml", "application/octet-stream"),
        ("text/xml", "application/octet-stream"),
        ("text/html", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("text/plain\r\nX-Evil: 1", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_it_serves_no_type_that_a_browser_would_run(given: str, served: str) -> None:
    assert _safe_type(given) == served


@pytest.mark.parametrize(
    ("given", "served"),
    [
        ("cat.png", "cat.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\x.pdf", "x.pdf"),
        ("a\r\nb\x00\u202ec.txt", "abc.txt"),
        ("रसीद.pdf", "रसीद.pdf"),
        ("n" * 300 + ".pdf", "n" * 146 + ".pdf"),
    ],
)
def test_it_serves_a_harmless_name(given: str, served: str) -> None:
    assert _filename(Media(filename=given), "text/plain") == served


def test_it_makes_a_name_where_there_is_none() -> None:
    media = Media(filename="../")

    assert _filename(media, "application/pdf") == f"{media.id}.pdf"
