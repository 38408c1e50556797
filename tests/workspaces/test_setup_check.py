"""What the set-up check finds, rule by rule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from tests.conftest import Cast
from workspaces import setup_check
from workspaces.models import SecretKind, TenantKey, TenantSecret, Transport, Workspace
from workspaces.setup_check import SetUp, Severity

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
COMPLETE = SetUp(
    status="ACTIVE",
    has_keys=True,
    secrets=tuple(TenantSecret(kind=kind) for kind in SecretKind),
    configured_app_secret=False,
    configured_verify_token=False,
    workspaces=(Workspace(name="Support", waba_id="12345"),),
    numbers_shared_with_others=False,
    public_url="https://sigma.example.org",
    master_key_is_generated=False,
    has_readers=True,
)
NO_SECRETS = replace(COMPLETE, secrets=())


def messages(set_up: SetUp) -> str:
    return "\n".join(finding.message for finding in setup_check.check(set_up, now=NOW))


def expiring(after: timedelta) -> SetUp:
    old = TenantSecret(kind=SecretKind.APP_SECRET, label="old", expires_at=NOW + after)
    return replace(COMPLETE, secrets=(*COMPLETE.secrets, old))


def test_it_finds_nothing_in_a_complete_set_up() -> None:
    assert setup_check.check(COMPLETE, now=NOW) == []


def test_it_misses_nothing_of_metas_where_devices_are_linked() -> None:
    devices = (Workspace(name="Phone", transport=Transport.LINKED_DEVICE),)

    assert setup_check.check(replace(NO_SECRETS, workspaces=devices), now=NOW) == []


@pytest.mark.parametrize(
    ("set_up", "said"),
    [
        (NO_SECRETS, "no app secret"),
        (NO_SECRETS, "no verify token"),
        (NO_SECRETS, "no access token"),
        (replace(COMPLETE, has_keys=False), "has no keys"),
        (replace(COMPLETE, status="SUSPENDED"), "suspended"),
        (replace(COMPLETE, status="ERASING"), "being erased"),
        (replace(COMPLETE, workspaces=()), "no active workspace"),
        (
            replace(COMPLETE, workspaces=(Workspace(name="A", is_active=False),)),
            "no active workspace",
        ),
        (replace(COMPLETE, workspaces=(Workspace(name="A"),)), "“A” has no WABA ID"),
        (replace(COMPLETE, numbers_shared_with_others=True), "another tenant"),
        (replace(COMPLETE, public_url="http://127.0.0.1:8000"), "https addresses only"),
        (replace(COMPLETE, master_key_is_generated=True), "generated beside the data"),
        (replace(COMPLETE, has_readers=False), "Nobody can read"),
        (expiring(timedelta(days=6)), "“old” expires on 27 November 2026"),
        (expiring(timedelta(seconds=-1)), "“old” has expired"),
    ],
)
def test_it_names_what_is_missing(set_up: SetUp, said: str) -> None:
    assert said in messages(set_up)


@pytest.mark.parametrize("kind", [SecretKind.APP_SECRET, SecretKind.VERIFY_TOKEN])
def test_it_does_not_count_an_expired_secret(kind: SecretKind) -> None:
    others = tuple(secret for secret in COMPLETE.secrets if secret.kind != kind)
    expired = replace(COMPLETE, secrets=(*others, TenantSecret(kind=kind, expires_at=NOW)))

    assert f"no {kind.label.lower()}" in messages(expired)


def test_it_accepts_secrets_of_the_configuration() -> None:
    configured = replace(NO_SECRETS, configured_app_secret=True, configured_verify_token=True)

    assert "app secret" not in messages(configured)
    assert "verify token" not in messages(configured)


def test_it_does_not_warn_of_a_distant_expiry() -> None:
    assert messages(expiring(timedelta(days=8))) == ""


def test_it_puts_errors_first_and_gives_a_remedy_for_each() -> None:
    found = setup_check.check(replace(NO_SECRETS, workspaces=()), now=NOW)

    severities = [finding.severity for finding in found]
    assert severities == [Severity.ERROR] * 3 + [Severity.WARNING]
    assert all(finding.remedy for finding in found)


def test_it_gathers_the_facts_of_one_tenant(acme: Cast, globex: Cast, now: datetime) -> None:
    facts = setup_check.gather(acme.tenant, now=now)

    assert [workspace.name for workspace in facts.workspaces] == ["acme support"]
    assert [secret.kind for secret in facts.secrets] == ["APP_SECRET", "VERIFY_TOKEN"]
    assert facts.has_keys
    assert facts.has_readers
    assert not facts.numbers_shared_with_others


def test_it_sees_a_number_that_two_tenants_claim(acme: Cast, globex: Cast, now: datetime) -> None:
    Workspace.objects.filter(tenant=globex.tenant).update(external_id=acme.workspace.external_id)

    assert setup_check.gather(acme.tenant, now=now).numbers_shared_with_others


def test_it_sees_a_tenant_without_keys(acme: Cast, globex: Cast, now: datetime) -> None:
    TenantKey.objects.filter(tenant=acme.tenant).delete()

    assert not setup_check.gather(acme.tenant, now=now).has_keys
    assert setup_check.gather(globex.tenant, now=now).has_keys


@override_settings(SIGMA_PUBLIC_URL="https://sigma.example.org")
def test_the_command_exits_with_1_while_something_does_not_work(
    acme: Cast, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("check_tenant", "acme")
    assert "no access token" in capsys.readouterr().out

    acme.tenant.secrets.all().delete()
    with pytest.raises(SystemExit, match="1"):
        call_command("check_tenant", str(acme.tenant.id))


def test_the_command_refuses_an_unknown_tenant(acme: Cast) -> None:
    with pytest.raises(CommandError, match="no tenant 'hooli'"):
        call_command("check_tenant", "hooli")
