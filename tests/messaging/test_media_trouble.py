"""What is said when Meta does not give a file, and where we do not follow it."""

from __future__ import annotations

from datetime import datetime

import httpx
import pytest

from connectors.whatsapp.media import UntrustedAddress, check_address
from messaging import media as files
from messaging.media import download_url
from messaging.models import Media, MediaState, Message
from tests.conftest import Cast
from tests.messaging.conftest import PNG, body, get
from tests.messaging.meta import Meta, Reply

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "reply",
    [
        Reply(
            {"error": {"message": "Unsupported get request", "code": 100, "error_subcode": 33}}, 400
        ),
        Reply(b"", 404),
        Reply(b"gone", 410),
    ],
)
@pytest.mark.parametrize("where", ["/v26.0/777", "/files/777"])
def test_it_records_that_a_file_is_gone(
    acme: Cast, meta: Meta, token: str, file: Media, path: str, reply: Reply, where: str
) -> None:
    meta.keep("777", PNG)
    meta.replies[where] = reply

    answer = get(path, acme.api_key)

    assert answer.status_code == 410
    assert answer.json()["error"]["code"] == "MEDIA_GONE"
    file.refresh_from_db()
    assert file.state == MediaState.GONE


def test_it_takes_a_file_back_that_was_said_to_be_gone(
    acme: Cast, meta: Meta, token: str, file: Media, path: str
) -> None:
    Media.objects.update(state=MediaState.GONE)
    meta.keep("777", PNG)

    assert body(get(path, acme.api_key)) == PNG
    file.refresh_from_db()
    assert file.state == MediaState.AVAILABLE


def test_it_never_serves_what_its_sender_revoked(
    acme: Cast, globex: Cast, meta: Meta, token: str, file: Media, path: str, now: datetime
) -> None:
    link = download_url(file).split("8000", 1)[1]
    meta.keep("777", PNG)
    Message.objects.filter(pk=file.message_id).update(revoked_at=now)
    Media.objects.update(state=MediaState.GONE)

    answers = [get(path, acme.api_key), get(link)]

    assert [answer.status_code for answer in answers] == [410, 410]
    assert answers[0].json()["error"]["code"] == "MEDIA_GONE"
    assert get(path, globex.api_key).status_code == 404
    assert Media.objects.get().state == MediaState.GONE
    assert meta.asked == []


def test_it_lets_a_revocation_stand_that_comes_while_meta_is_asked(
    acme: Cast, meta: Meta, token: str, file: Media, now: datetime
) -> None:
    meta.keep("777", PNG)
    found = files.find(tenant_id=acme.tenant.id, media_id=file.id)
    Message.objects.filter(pk=file.message_id).update(revoked_at=now)
    Media.objects.update(state=MediaState.GONE)

    files.open_file(*found, now=now).close()

    assert Media.objects.get().state == MediaState.GONE


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (Reply(b"", 500), 503, "PLATFORM_UNAVAILABLE"),
        (Reply(b"<html>", 200), 503, "PLATFORM_UNAVAILABLE"),
        (Reply([], 200), 503, "PLATFORM_UNAVAILABLE"),
        (Reply({"id": "777"}, 200), 503, "PLATFORM_UNAVAILABLE"),
        (
            Reply({"error": {"code": 190, "message": "Session has expired"}}, 401),
            502,
            "PLATFORM_REJECTED",
        ),
        (
            Reply({"error": {"code": 100, "message": "Invalid appsecret_proof"}}, 400),
            502,
            "PLATFORM_REJECTED",
        ),
        (Reply({"error": {"code": 80007}}, 400), 503, "PLATFORM_THROTTLED"),
        (Reply(b"", 429, {"Retry-After": "7"}), 503, "PLATFORM_THROTTLED"),
        (Reply({"error": "x"}, 400), 502, "PLATFORM_REJECTED"),
        (Reply({"error": {"code": "x", "message": {}}}, 403), 502, "PLATFORM_REJECTED"),
    ],
)
def test_it_passes_metas_trouble_on(
    acme: Cast, meta: Meta, token: str, path: str, reply: Reply, status: int, code: str
) -> None:
    meta.replies["/v26.0/777"] = reply

    answer = get(path, acme.api_key)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert status != 503 or answer["Retry-After"] in ("7", "30", "60")
    assert Media.objects.get().state == MediaState.AVAILABLE


def test_it_says_that_meta_is_away(acme: Cast, token: str, path: str, settings) -> None:
    settings.SIGMA_GRAPH_URL = "http://127.0.0.1:9/v26.0"

    assert get(path, acme.api_key).status_code == 503


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/",
        "https://evil.example/whatsapp.net",
        "https://evilfbsbx.com/x",
        "https://lookaside.fbsbx.com@evil.example/x",
        "https://lookaside.fbsbx.com:8443/x",
        "https://lookaside.fbsbx.com:x/",
        "http://lookaside.fbsbx.com/x",
        "http://127.0.0.1:9/x",
        "http://localhost/x",
        "file:///etc/passwd",
        "//evil.example/x",
        "https://[::1",
        "",
    ],
)
@pytest.mark.parametrize("way", ["answer", "redirect"])
def test_it_follows_meta_nowhere_else(
    acme: Cast, meta: Meta, token: str, path: str, address: str, way: str, monkeypatch
) -> None:
    left: list[str] = []
    outside = httpx.HTTPTransport.handle_request

    def watch(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        left.append(f"{request.url.scheme}://{request.url.netloc.decode()}")
        return outside(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", watch)
    meta.keep("777", PNG)
    if way == "answer":
        meta.replies["/v26.0/777"] = Reply({"url": address})
    else:
        meta.replies["/files/777"] = Reply(b"", 302, {"Location": address or "//"})

    assert get(path, acme.api_key).status_code in (502, 503)
    assert set(left) == {meta.url}


def test_it_follows_a_redirect_inside_meta(acme: Cast, meta: Meta, token: str, path: str) -> None:
    meta.keep("777", PNG)
    meta.replies["/cdn/777"] = meta.replies["/files/777"]
    meta.replies["/files/777"] = Reply(b"", 302, {"Location": "/cdn/777"})

    assert body(get(path, acme.api_key)) == PNG


def test_it_gives_up_on_redirects_in_a_circle(
    acme: Cast, meta: Meta, token: str, path: str
) -> None:
    meta.keep("777", PNG)
    meta.replies["/files/777"] = Reply(b"", 302, {"Location": "/files/777"})

    assert get(path, acme.api_key).status_code == 503
    assert len(meta.asked) == 5


def test_it_refuses_a_file_that_is_too_large(acme: Cast, meta: Meta, token: str, path: str) -> None:
    meta.keep("777", PNG)
    meta.replies["/files/777"] = Reply(PNG, declared_length=200_000_000)

    assert get(path, acme.api_key).status_code == 502


def test_it_breaks_off_rather_than_pass_half_a_file_for_the_whole(
    acme: Cast, meta: Meta, token: str, path: str
) -> None:
    meta.keep("777", PNG)
    meta.replies["/files/777"] = Reply(PNG, declared_length=len(PNG) + 1)

    with pytest.raises(httpx.HTTPError):
        body(get(path, acme.api_key))


@pytest.mark.parametrize("media_id", ["../me/accounts", "777?fields=x", "", "a b", "%2e%2e"])
def test_it_asks_meta_for_files_only(
    acme: Cast, meta: Meta, token: str, file: Media, path: str, media_id: str
) -> None:
    Media.objects.update(platform_media_id=media_id)

    assert get(path, acme.api_key).status_code == 410
    assert meta.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "https://lookaside.fbsbx.com/a\tb",
        "https://lookaside.fbsbx.com/a b",
        "https://lookaside.fbsbx.com/\x00",
        "https://lookaside.fbsbx.com/a\nb",
        "\thttps://x",
        "https://evil.example\\.fbsbx.com/",
        "https://user@lookaside.fbsbx.com/",
        "https://lookaside.fbsbx.com:443@evil.example/",
        "https://lookaside.fbsbx.com:99999/",
        "https://lookaside.fbsbx.com:x/",
        "https://ƒ.fbsbx.com/",
        "https://[::1",
        "",
        "https://lookaside.fbsbx.com/" + "a" * 70_000,
    ],
)
def test_it_refuses_an_address_that_is_read_in_two_ways(url: str) -> None:
    with pytest.raises(UntrustedAddress):
        check_address(url, "https://graph.facebook.com/v26.0")


def test_it_takes_an_address_of_metas() -> None:
    url = "https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1&hash=ATv%2Bx~y"

    assert check_address(url, "https://graph.facebook.com/v26.0") == url
