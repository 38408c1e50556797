"""Tenants, secrets, workspaces and keys in the admin."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from tests.conftest import Cast
from tests.people import list_of, member, page_of, superuser
from workspaces import access, directory, keys, secrets
from workspaces.access import Scope
from workspaces.models import ApiKey, KeyPurpose, Role, SecretKind, Tenant, TenantSecret

NEW_SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


@pytest.fixture
def boss(db: None) -> Client:
    return superuser()


def tenant_form(cast: Cast, **added: object) -> dict[str, object]:
    """Return what the tenant's page would send, with one more secret where ``added`` names one."""
    stored = list(cast.tenant.secrets.order_by("kind", "id"))
    form: dict[str, object] = {
        "name": cast.tenant.name,
        "status": "ACTIVE",
        "retention_days": 30,
        "archive": "OFF",
        "secrets-TOTAL_FORMS": len(stored) + bool(added),
        "secrets-INITIAL_FORMS": len(stored),
    }
    for number, secret in enumerate(stored):
        form |= {f"secrets-{number}-id": secret.pk, f"secrets-{number}-tenant": cast.tenant.pk}
    form |= {f"secrets-{len(stored)}-{name}": value for name, value in added.items()}
    return form


def save(client: Client, cast: Cast, form: dict[str, object]) -> str:
    """Send the tenant's page; return what comes back."""
    response = client.post(page_of("workspaces_tenant", cast.tenant.pk), form)
    return "saved" if response.status_code == 302 else response.content.decode()


def test_it_gives_a_new_tenant_keys(boss: Client) -> None:
    form = {"name": "Hooli", "slug": "hooli", "retention_days": 7}

    response = boss.post(reverse("admin:workspaces_tenant_add"), form)

    tenant = Tenant.objects.get(slug="hooli")
    assert response.url == page_of("workspaces_tenant", tenant.pk)
    assert tenant.retention_days == 7
    assert tenant.keys.count() == len(KeyPurpose)
    assert len(keys.salt(tenant.pk)) == 32


@pytest.mark.parametrize("slug", ["Hooli", "-hooli", "ho_oli", "acme"])
def test_it_refuses_an_unusable_slug_in_the_form(boss: Client, acme: Cast, slug: str) -> None:
    form = {"name": "Hooli", "slug": slug, "retention_days": 7}

    response = boss.post(reverse("admin:workspaces_tenant_add"), form)

    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == ["slug"]


def test_it_keeps_the_slug_of_a_tenant(boss: Client, acme: Cast) -> None:
    save(boss, acme, {**tenant_form(acme), "slug": "other", "name": "Acme Ltd"})

    acme.tenant.refresh_from_db()
    assert (acme.tenant.slug, acme.tenant.name) == ("acme", "Acme Ltd")


@pytest.mark.parametrize("method", ["get", "post"])
def test_it_deletes_no_tenant_and_says_what_does(boss: Client, acme: Cast, method: str) -> None:
    url = reverse("admin:workspaces_tenant_delete", args=(acme.tenant.pk,))

    assert getattr(boss, method)(url, {"post": "yes"}).status_code == 403
    page = boss.get(page_of("workspaces_tenant", acme.tenant.pk)).content.decode()
    assert "purge-tenant acme" in page


def test_it_adds_a_secret_beside_the_live_one(boss: Client, acme: Cast, now: datetime) -> None:
    form = tenant_form(acme, kind="APP_SECRET", value=f" {NEW_SECRET} ", label="2027")

    assert save(boss, acme, form) == "saved"

    route = directory.load(now).find("acme")
    assert route is not None
    assert route.app_secrets == (NEW_SECRET.encode(), acme.app_secret.encode())


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("VERIFY_TOKEN", "nineteen-characters", "at least 20 characters"),
        ("VERIFY_TOKEN", "your-random-verify-token-min-20-chars", "an example"),
        ("APP_SECRET", "default-app-secret", "an example"),
        ("APP_SECRET", "short", "at least 16 characters"),
    ],
)
def test_it_refuses_a_weak_secret_without_repeating_it(
    boss: Client, acme: Cast, kind: str, value: str, said: str
) -> None:
    page = save(boss, acme, tenant_form(acme, kind=kind, value=value))

    assert said in page
    assert value not in page
    assert TenantSecret.objects.filter(tenant=acme.tenant).count() == 2


def test_it_lets_a_stored_secret_expire_but_not_change(
    boss: Client, acme: Cast, now: datetime
) -> None:
    form = tenant_form(acme) | {
        "secrets-0-value": NEW_SECRET,
        "secrets-0-kind": "ACCESS_TOKEN",
        "secrets-0-expires_at_0": "2031-01-02",
        "secrets-0-expires_at_1": "03:04:05",
    }

    assert save(boss, acme, form) == "saved"

    stored = acme.tenant.secrets.get(kind=SecretKind.APP_SECRET)
    assert stored.expires_at is not None
    assert stored.expires_at.year == 2031
    assert secrets.reveal(stored) == acme.app_secret


def test_it_gives_a_tenant_an_archive(boss: Client, acme: Cast, globex: Cast) -> None:
    chosen = {"archive": "FIELD", "archive_days": 90}

    assert save(boss, acme, tenant_form(acme) | chosen) == "saved"
    assert "between" in save(boss, globex, tenant_form(globex) | {**chosen, "archive_days": 0})
    kept = {one.slug: (one.archive, one.archive_days) for one in Tenant.objects.all()}
    assert kept == {"acme": ("FIELD", 90), "globex": ("OFF", None)}


def test_it_deletes_a_secret(boss: Client, acme: Cast, globex: Cast) -> None:
    assert save(boss, acme, tenant_form(acme) | {"secrets-0-DELETE": "on"}) == "saved"

    assert [secret.kind for secret in acme.tenant.secrets.all()] == ["VERIFY_TOKEN"]
    assert globex.tenant.secrets.count() == 2


def test_it_cannot_touch_another_tenants_secret(boss: Client, acme: Cast, globex: Cast) -> None:
    foreign = globex.tenant.secrets.get(kind=SecretKind.APP_SECRET)
    form = tenant_form(acme) | {"secrets-0-id": foreign.pk, "secrets-0-DELETE": "on"}

    save(boss, acme, form)

    assert globex.tenant.secrets.count() == 2


def test_it_shows_the_verify_token_only_when_asked(boss: Client, acme: Cast) -> None:
    url = reverse("admin:workspaces_tenant_connect", args=(acme.tenant.pk,))

    closed, opened = boss.get(url), boss.post(url)

    assert "/webhooks/whatsapp/acme" in closed.content.decode()
    assert acme.verify_token not in closed.content.decode()
    assert acme.verify_token in opened.content.decode()
    assert "no-store" in opened["Cache-Control"]
    history = boss.get(reverse("admin:workspaces_tenant_history", args=(acme.tenant.pk,)))
    assert "Looked at the verify token" in history.content.decode()


def test_it_shows_no_verify_token_to_members(acme: Cast, globex: Cast) -> None:
    manager = member(acme.tenant)

    own = manager.post(reverse("admin:workspaces_tenant_connect", args=(acme.tenant.pk,)))
    other = manager.post(reverse("admin:workspaces_tenant_connect", args=(globex.tenant.pk,)))

    assert (own.status_code, other.status_code) == (403, 404)


def test_it_says_on_the_tenants_page_what_is_missing(boss: Client, acme: Cast) -> None:
    acme.tenant.secrets.filter(kind=SecretKind.APP_SECRET).delete()

    page = boss.get(page_of("workspaces_tenant", acme.tenant.pk)).content.decode()

    assert "There is no app secret" in page
    assert "no active workspace" not in page


def test_it_shows_an_issued_key_once(acme: Cast, now: datetime) -> None:
    manager = member(acme.tenant)
    form = {"tenant": acme.tenant.pk, "name": "CRM", "scopes": ["messages:read"]}

    answer = manager.post(reverse("admin:workspaces_apikey_add"), form)

    clear = answer.context["clear"]
    actor = access.by_api_key(clear, now=now)
    assert (actor.tenant_id, actor.scopes) == (acme.tenant.pk, {Scope.MESSAGES_READ})
    assert clear in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    row = ApiKey.objects.get(name="CRM")
    for url in (list_of("workspaces_apikey"), page_of("workspaces_apikey", row.pk)):
        assert clear not in manager.get(url).content.decode()


def test_it_revokes_own_keys_only(acme: Cast, globex: Cast, now: datetime) -> None:
    everything = [str(key.pk) for key in ApiKey.objects.all()]
    form = {"action": "revoke", "_selected_action": everything}

    member(acme.tenant).post(list_of("workspaces_apikey"), form)

    with pytest.raises(access.NotAuthenticated):
        access.by_api_key(acme.api_key, now=now)
    assert access.by_api_key(globex.api_key, now=now).tenant_id == globex.tenant.pk


def test_a_viewer_changes_nothing(acme: Cast, now: datetime) -> None:
    viewer = member(acme.tenant, Role.VIEWER)
    page = page_of("workspaces_tenant", acme.tenant.pk)

    assert "secrets-TOTAL_FORMS" not in viewer.get(page).content.decode()
    assert viewer.post(page, tenant_form(acme)).status_code == 403
    assert viewer.get(reverse("admin:workspaces_apikey_add")).status_code == 403
    revoke = {"action": "revoke", "_selected_action": [str(ApiKey.objects.get().pk)]}
    viewer.post(list_of("workspaces_apikey"), revoke)
    assert access.by_api_key(acme.api_key, now=now)


def test_a_member_makes_no_tenants_users_or_members(acme: Cast) -> None:
    manager = member(acme.tenant)

    for model in ("workspaces_tenant", "workspaces_membership", "auth_user"):
        assert manager.get(reverse(f"admin:{model}_add")).status_code == 403
    assert manager.get(list_of("auth_user")).status_code == 403
    assert manager.get(list_of("workspaces_membership")).status_code == 403


def test_staff_without_membership_see_nothing(acme: Cast) -> None:
    outsider = member(acme.tenant)
    acme.tenant.memberships.all().delete()

    assert outsider.get(list_of("workspaces_tenant")).status_code == 403
    assert "There is no tenant yet." in outsider.get(reverse("admin:index")).content.decode()


def test_it_offers_members_only_their_tenants(acme: Cast, globex: Cast) -> None:
    query = "?app_label=workspaces&model_name=workspace&field_name=tenant"

    found = member(acme.tenant).get(reverse("admin:autocomplete") + query).json()

    assert [choice["text"] for choice in found["results"]] == ["Acme"]


def test_it_warns_of_a_secret_that_expires_soon(boss: Client, acme: Cast, now: datetime) -> None:
    acme.tenant.secrets.update(expires_at=now + timedelta(days=2))

    page = boss.get(page_of("workspaces_tenant", acme.tenant.pk)).content.decode()

    assert page.count("expires on") == 2
