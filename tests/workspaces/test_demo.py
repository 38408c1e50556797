"""The demo tenant: made once, kept, repaired."""

from __future__ import annotations

import json
import stat
from datetime import datetime
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import override_settings
from pytest_django.fixtures import Settings

from workspaces import access, demo, demo_facts, secrets
from workspaces.access import ALL_SCOPES
from workspaces.models import ApiKey, SecretKind, Tenant, TenantSecret, TenantStatus

KEYS = [
    "base_url",
    "callback_url",
    "tenant_id",
    "tenant_slug",
    "workspace_id",
    "phone_number_id",
    "waba_id",
    "app_secret",
    "verify_token",
    "api_key",
    "admin_url",
    "admin_user",
    "admin_password",
    "sender_url",
    "access_token",
    "graph_url",
    "simulator_url",
    "sender_key",
    "device_workspace_id",
]


SIMULATOR = "http://127.0.0.1:8090"


def ensure(home: Path, now: datetime, base_url: str = "http://127.0.0.1:8000") -> demo.Demo:
    return demo.ensure(
        home=home,
        base_url=base_url,
        sender_url="http://127.0.0.1:8081",
        now=now,
        graph_url=f"{SIMULATOR}/v26.0",
        simulator_url=SIMULATOR,
    )


@pytest.fixture(autouse=True)
def _quick(settings: Settings) -> None:
    """Argon2 is slow on purpose; no test of this file is about it."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def made(db: None, tmp_path: Path, now: datetime) -> demo.Demo:
    return ensure(tmp_path, now)


def test_it_writes_exactly_the_documented_facts(made: demo.Demo) -> None:
    document = json.loads(made.path.read_text())

    assert list(document) == KEYS
    assert all(document.values())
    assert document["callback_url"] == "http://127.0.0.1:8000/webhooks/whatsapp/demo"
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600


def test_it_makes_facts_that_work(made: demo.Demo, now: datetime) -> None:
    facts = made.facts

    actor = access.by_api_key(facts.api_key, now=now)
    admin = User.objects.get(username=facts.admin_user)

    assert str(actor.tenant_id) == facts.tenant_id
    assert actor.scopes == ALL_SCOPES
    assert admin.is_superuser
    assert admin.check_password(facts.admin_password)
    assert len(facts.app_secret) == 32
    assert len(facts.verify_token) >= 32
    assert len(facts.phone_number_id) == 15


def test_it_keeps_the_facts_and_refreshes_the_addresses(
    made: demo.Demo, tmp_path: Path, now: datetime
) -> None:
    again = ensure(tmp_path, now, base_url="http://127.0.0.1:9000/")

    assert again.notes == []
    assert again.facts.admin_url == "http://127.0.0.1:9000/admin/"
    assert again.facts.callback_url == "http://127.0.0.1:9000/webhooks/whatsapp/demo"
    for name in set(KEYS) - {"base_url", "callback_url", "admin_url"}:
        assert getattr(again.facts, name) == getattr(made.facts, name)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"base_url": "x"}'])
def test_it_renews_secrets_when_the_file_was_lost_and_says_so(
    made: demo.Demo, tmp_path: Path, now: datetime, content: str | None
) -> None:
    made.path.unlink() if content is None else made.path.write_text(content)

    again = ensure(tmp_path, now)

    assert "demo.json was lost" in again.notes[0]
    for name in ("tenant_id", "workspace_id", "phone_number_id", "waba_id"):
        assert getattr(again.facts, name) == getattr(made.facts, name)
    for name in ("app_secret", "verify_token", "api_key", "admin_password"):
        assert getattr(again.facts, name) != getattr(made.facts, name)


def test_it_refuses_the_lost_secrets_from_then_on(
    made: demo.Demo, tmp_path: Path, now: datetime
) -> None:
    made.path.unlink()
    ensure(tmp_path, now)

    with pytest.raises(access.NotAuthenticated):
        access.by_api_key(made.facts.api_key, now=now)
    assert TenantSecret.objects.filter(kind=SecretKind.APP_SECRET).count() == 1
    assert not User.objects.get(username="admin").check_password(made.facts.admin_password)


def test_it_renews_only_what_no_longer_works(
    made: demo.Demo, tmp_path: Path, now: datetime
) -> None:
    ApiKey.objects.update(revoked_at=now)

    again = ensure(tmp_path, now)

    assert again.notes == ["The API key was no longer valid and was made anew."]
    assert again.facts.api_key != made.facts.api_key
    assert again.facts.app_secret == made.facts.app_secret


def test_it_has_a_token_that_the_simulator_knows(made: demo.Demo) -> None:
    (row,) = TenantSecret.objects.filter(kind=SecretKind.ACCESS_TOKEN)

    assert secrets.reveal(row) == made.facts.access_token
    assert made.facts.access_token.startswith("EAA")
    assert made.facts.access_token not in repr(made)


def test_it_gives_meta_no_token_that_was_made_up(
    made: demo.Demo, tmp_path: Path, now: datetime
) -> None:
    secrets.add(tenant=Tenant.objects.get(), kind=SecretKind.ACCESS_TOKEN, value="EAA-of-Meta")
    facts = demo.ensure(
        home=tmp_path,
        base_url="http://127.0.0.1:8000",
        sender_url="",
        now=now,
        graph_url="https://graph.facebook.com/v26.0",
    ).facts

    assert (facts.access_token, facts.simulator_url) == ("", "")
    (row,) = TenantSecret.objects.filter(kind=SecretKind.ACCESS_TOKEN)
    assert secrets.reveal(row) == "EAA-of-Meta"


def test_it_keeps_what_an_earlier_version_wrote(
    made: demo.Demo, tmp_path: Path, now: datetime
) -> None:
    document = json.loads(made.path.read_text())
    for name in ("access_token", "graph_url", "simulator_url"):
        del document[name]
    made.path.write_text(json.dumps(document))

    again = ensure(tmp_path, now)

    assert again.notes == []
    assert again.facts.api_key == made.facts.api_key
    assert TenantSecret.objects.filter(kind=SecretKind.ACCESS_TOKEN).count() == 1


def test_it_leaves_a_changed_password_alone(made: demo.Demo, tmp_path: Path, now: datetime) -> None:
    admin = User.objects.get(username="admin")
    admin.set_password("chosen-by-the-operator")
    admin.save()

    again = ensure(tmp_path, now)

    assert User.objects.get(username="admin").check_password("chosen-by-the-operator")
    assert "left alone" in again.notes[0]


def test_it_starts_anew_with_another_database(
    made: demo.Demo, tmp_path: Path, now: datetime
) -> None:
    Tenant.objects.all().delete()
    User.objects.all().delete()

    again = ensure(tmp_path, now)

    assert again.notes == []
    assert again.facts.tenant_id != made.facts.tenant_id
    assert again.facts.app_secret != made.facts.app_secret


def test_it_waits_for_an_erasure_to_end(made: demo.Demo, tmp_path: Path, now: datetime) -> None:
    Tenant.objects.update(status=TenantStatus.ERASING)

    with pytest.raises(demo.DemoIsBeingErased):
        ensure(tmp_path, now)


def test_it_leaves_no_half_written_file(made: demo.Demo, tmp_path: Path) -> None:
    assert [path.name for path in tmp_path.iterdir()] == [demo_facts.FILE_NAME]


def test_it_hides_secrets_from_tracebacks(made: demo.Demo) -> None:
    shown = repr(made)

    for secret in (made.facts.app_secret, made.facts.api_key, made.facts.admin_password):
        assert secret not in shown


@pytest.mark.django_db
def test_the_command_writes_the_file_and_prints_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses = ("--base-url", "http://127.0.0.1:9000", "--sender-url", "http://127.0.0.1:9001")
    with override_settings(SIGMA_HOME=tmp_path):
        call_command("create_demo", *addresses)

    facts = demo_facts.read(tmp_path)
    said = capsys.readouterr().out
    assert facts is not None
    assert (facts.base_url, facts.sender_url) == addresses[1::2]
    assert str(tmp_path / "demo.json") in said
    for secret in (facts.app_secret, facts.verify_token, facts.api_key, facts.admin_password):
        assert secret not in said
