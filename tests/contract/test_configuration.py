"""A1: secrets from appsettings.json, the environment and the tenant, in that shape and order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.whatsapp.wire.signature import sign
from sigma import appsettings
from sigma.env import InvalidSetting
from tests.conftest import Cast
from tests.contract.conftest import block
from tests.whatsapp.conftest import Web
from workspaces.models import SecretKind, TenantSecret

# The server starts after the settings of these tests are made.
starts_late = pytest.mark.django_db(transaction=True)

OWN = "f" * 31 + "1"
DEFAULT = "f" * 31 + "2"
TOKEN = "installation-token-of-ours-1"
PREFIX = "Platforms__WhatsApp__"


def write(
    folder: Path, tenant: str, own: str = OWN, default: str = DEFAULT, token: str = TOKEN
) -> Path:
    """Write the contract's file with values of ours in the place of its examples."""
    document = block(
        "appsettings.json",
        your_tenant_id=tenant,
        your_app_secret_from_meta=own,
        default_app_secret=default,
        your_random_verify_token_min_20_chars=token,
    )
    path = folder / "appsettings.json"
    path.write_text(document, encoding="utf-8")
    return path


def load(path: Path, **environment: str) -> appsettings.WhatsAppSettings:
    """Load the file under an environment; keys are given without their common prefix."""
    return appsettings.load(path, {PREFIX + key: value for key, value in environment.items()})


def answers(web: Web, cast: Cast, *secrets: str, path: str = "") -> list[int]:
    """Return the answers to callbacks signed with each secret."""
    posted = []
    for secret in secrets:
        signature = {"X-Hub-Signature-256": sign(b"{}", secret.encode())}
        posted.append(web.post(cast, b"{}", path=path, **signature).status_code)
    return posted


def forget_own(cast: Cast, kind: SecretKind) -> None:
    TenantSecret.objects.filter(tenant=cast.tenant, kind=kind).delete()


@pytest.mark.parametrize(
    "example",
    [
        {"tenant": "your-tenant-id"},
        {"own": "your-app-secret-from-meta"},
        {"default": "default-app-secret"},
        {"token": "your-random-verify-token-min-20-chars"},
    ],
)
def test_it_refuses_each_example_value_alone(tmp_path: Path, example: dict[str, str]) -> None:
    path = write(tmp_path, **{"tenant": "acme", **example})
    with pytest.raises(InvalidSetting, match="is an example from the documentation"):
        load(path)


def test_it_refuses_a_short_verify_token(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="VerifyToken must have at least 20 characters"):
        load(write(tmp_path, "acme", token="only-19-characters-"))


@starts_late
@pytest.mark.parametrize("named_by", ["slug", "id"])
def test_it_works_with_values_of_ones_own(
    acme: Cast, tmp_path: Path, settings, request: pytest.FixtureRequest, named_by: str
) -> None:
    settings.SIGMA_WHATSAPP = load(write(tmp_path, str(getattr(acme.tenant, named_by))))
    forget_own(acme, SecretKind.APP_SECRET)

    web: Web = request.getfixturevalue("web")

    assert answers(web, acme, OWN, DEFAULT) == [200, 401]


def test_it_prefers_the_environment(tmp_path: Path) -> None:
    path = write(tmp_path, "acme")
    fresh = {"AppSecrets__acme": "a" * 32, "DefaultAppSecret": "b" * 32, "VerifyToken": "c" * 32}

    loaded = load(path, **fresh, AppSecrets__globex="d" * 32)

    assert loaded.app_secrets == {"acme": "a" * 32, "globex": "d" * 32}
    assert (loaded.default_app_secret, loaded.verify_token) == ("b" * 32, "c" * 32)


def test_it_needs_no_file(tmp_path: Path) -> None:
    loaded = load(tmp_path / "none.json", AppSecrets__acme="a" * 32)
    assert loaded == appsettings.WhatsAppSettings({"acme": "a" * 32})


def test_it_reads_a_file_that_an_editor_of_windows_saved(tmp_path: Path) -> None:
    path = write(tmp_path, "acme")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(path).app_secrets == {"acme": OWN}


def test_it_looks_for_the_app_secret_in_the_documented_order(
    acme: Cast, globex: Cast, tmp_path: Path, settings, web: Web, wait_for
) -> None:
    settings.SIGMA_WHATSAPP = load(write(tmp_path, "acme"))
    forget_own(globex, SecretKind.APP_SECRET)  # of the two, only acme is in AppSecrets
    wait_for(lambda: answers(web, globex, DEFAULT) == [200])

    assert answers(web, acme, acme.app_secret, OWN, DEFAULT) == [200, 401, 401]
    assert answers(web, globex, OWN, DEFAULT) == [401, 200]

    forget_own(acme, SecretKind.APP_SECRET)
    wait_for(lambda: answers(web, acme, OWN) == [200])
    assert answers(web, acme, acme.app_secret, DEFAULT) == [401, 401]


def test_it_refuses_callbacks_where_no_secret_is_known(acme: Cast, globex: Cast, web: Web) -> None:
    forget_own(acme, SecretKind.APP_SECRET)
    assert answers(web, acme, "") == [401]
    assert answers(web, globex, globex.app_secret) == [200]
    assert answers(web, acme, "", path="/webhooks/whatsapp") == [401]


@starts_late
def test_it_falls_back_to_the_installations_verify_token(
    acme: Cast, globex: Cast, tmp_path: Path, settings, request: pytest.FixtureRequest
) -> None:
    settings.SIGMA_WHATSAPP = load(write(tmp_path, "acme"))
    forget_own(globex, SecretKind.VERIFY_TOKEN)

    web: Web = request.getfixturevalue("web")

    assert web.verify_url(globex.path, TOKEN).status_code == 200
    assert web.verify_url(globex.path, globex.verify_token).status_code == 403
    assert web.verify_url(acme.path, TOKEN).status_code == 403
    assert web.verify_url(acme.path, acme.verify_token).status_code == 200


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        "{",
        '{"Platforms": 1}',
        '{"Platforms": {"WhatsApp": []}}',
        '{"Platforms": {"WhatsApp": {"VerifyTokens": "x"}}}',
        '{"Platforms": {"WhatsApp": {"VerifyToken": 5}}}',
        '{"Platforms": {"WhatsApp": {"AppSecrets": "x"}}}',
        '{"Platforms": {"WhatsApp": {"AppSecrets": {"acme": 5}}}}',
    ],
)
def test_it_refuses_a_file_of_another_shape(tmp_path: Path, document: str) -> None:
    path = tmp_path / "appsettings.json"
    path.write_text(document)
    with pytest.raises(InvalidSetting):
        load(path)


def test_it_ignores_the_other_sections_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "acme")
    document = json.loads(path.read_text())
    document["Logging"] = {"LogLevel": {"Default": "Information"}}
    document["Platforms"]["Telegram"] = {"BotToken": "x"}
    path.write_text(json.dumps(document))
    assert load(path).app_secrets == {"acme": OWN}
