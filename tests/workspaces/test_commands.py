"""Tenants and keys from a shell."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from tests.conftest import Cast
from workspaces import access, directory
from workspaces.access import ALL_SCOPES, Scope
from workspaces.models import ApiKey, Tenant

pytestmark = pytest.mark.django_db


def test_it_creates_a_tenant_that_answers_the_handshake(
    capsys: pytest.CaptureFixture[str], now: datetime
) -> None:
    call_command("create_tenant", "--slug", "hooli", "--name", "Hooli", "--retention-days", "7")

    said = capsys.readouterr().out
    token = said.partition("Verify token  ")[2].split()[0]
    route = directory.load(now).find("hooli")
    assert "/webhooks/whatsapp/hooli\n" in said
    assert route is not None
    assert route.accepts_verify_token(token.encode())
    assert Tenant.objects.get().retention_days == 7


@pytest.mark.parametrize("slug", ["acme", "Not-A-Slug", ""])
def test_it_creates_nothing_under_an_unusable_slug(acme: Cast, slug: str) -> None:
    with pytest.raises(CommandError):
        call_command("create_tenant", "--slug", slug, "--name", "Hooli")

    assert Tenant.objects.count() == 1


def test_it_prints_nothing_but_the_key_to_standard_output(
    acme: Cast, globex: Cast, capsys: pytest.CaptureFixture[str], now: datetime
) -> None:
    call_command("issue_api_key", "acme", "--name", "CRM", "--scope", "messages:read")

    actor = access.by_api_key(capsys.readouterr().out.strip(), now=now)
    assert (actor.tenant_id, actor.scopes) == (acme.tenant.id, {Scope.MESSAGES_READ})


def test_it_issues_a_key_that_expires(acme: Cast, now: datetime) -> None:
    call_command("issue_api_key", str(acme.tenant.id), "--name", "CRM", "--days", "2")

    row = ApiKey.objects.get(name="CRM")
    assert row.expires_at is not None
    assert timedelta(days=1, hours=23) < row.expires_at - now < timedelta(days=2, hours=1)
    assert set(row.scopes) == ALL_SCOPES


def test_it_issues_no_key_for_an_unknown_tenant(acme: Cast) -> None:
    with pytest.raises(CommandError, match="no tenant 'hooli'"):
        call_command("issue_api_key", "hooli", "--name", "CRM")
