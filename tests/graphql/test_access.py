"""Who gets in, as whom, and what a stranger hears."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.conftest import Cast
from tests.graphql.conftest import Gql
from workspaces import access, provisioning
from workspaces.access import Scope
from workspaces.models import ApiKey, Membership, Role, TenantStatus

pytestmark = pytest.mark.django_db

OWN = {"query": "{ tenant { slug } }"}
CREATE = """
mutation {
  createWorkspace(input: {tenantId: "%s", name: "x", platform: WHATS_APP, externalId: "12345"}) {
    success
  }
}
"""


def post(client: Client, body: object = OWN, **headers: str):
    return client.post("/graphql", body, "application/json", headers=headers)


@pytest.fixture
def alice(db: None) -> User:
    """A person who belongs to nobody yet."""
    return User.objects.create_user("alice", password="correct horse")


@pytest.fixture
def browser(alice: User) -> Client:
    """Alice's browser, signed in; Django's CSRF check is real."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    return client


def signed(client: Client, **headers: str) -> dict[str, str]:
    """Return headers with the CSRF token, as GraphiQL's page sends it."""
    client.get("/graphql", headers={"Accept": "text/html"})
    return {"X-CSRFToken": client.cookies["csrftoken"].value, **headers}


def test_it_accepts_a_key_in_either_header(acme: Cast) -> None:
    for headers in ({"Authorization": f"Bearer {acme.api_key}"}, {"X-API-Key": acme.api_key}):
        answer = post(Client(enforce_csrf_checks=True), **headers)
        assert answer.json() == {"data": {"tenant": {"slug": "acme"}}}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer sigma_nonsense"},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic c2lnbWE6eA=="},
        {"X-API-Key": "sigma_é"},
        {"X-API-Key": "sigma_" + "x" * 5000},
    ],
)
def test_it_tells_strangers_nothing(acme: Cast, headers: dict[str, str]) -> None:
    answer = post(Client(), {"query": "{ __schema { types { name } } }"}, **headers)

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert answer["Content-Type"] == "application/json"
    (error,) = answer.json()["errors"]
    assert error["extensions"] == {"code": "UNAUTHENTICATED"}


def test_it_judges_a_bad_key_alone_even_beside_a_session(
    acme: Cast, browser: Client, alice: User
) -> None:
    Membership.objects.create(tenant=acme.tenant, user=alice)

    answer = post(browser, **signed(browser, Authorization="Bearer sigma_nonsense"))

    assert answer.status_code == 401


@pytest.mark.parametrize("change", ["revoked_at", "expires_at"])
def test_it_refuses_a_key_that_has_ended(gql: Gql, acme: Cast, change: str) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    ApiKey.objects.filter(tenant=acme.tenant).update(**{change: past})

    assert gql(acme, "{ tenant { slug } }").status == 401


def test_it_knows_a_member_by_the_session(acme: Cast, browser: Client, alice: User) -> None:
    Membership.objects.create(tenant=acme.tenant, user=alice)

    assert post(browser, **signed(browser)).json()["data"] == {"tenant": {"slug": "acme"}}


def test_it_refuses_another_sites_use_of_a_session(
    acme: Cast, browser: Client, alice: User
) -> None:
    Membership.objects.create(tenant=acme.tenant, user=alice, role=Role.MANAGER)
    body = {"query": CREATE % acme.tenant.id}
    forged = [{}, {"X-CSRFToken": "x" * 64}, signed(browser, Origin="https://evil.example")]

    answers = [post(browser, body, **headers) for headers in forged]

    assert [answer.status_code for answer in answers] == [403] * 3
    assert acme.tenant.workspaces.count() == 1


def test_it_takes_no_forms(acme: Cast, browser: Client) -> None:
    answer = browser.post("/graphql", {"query": "{ tenant { slug } }"}, headers=signed(browser))

    assert answer.status_code in (401, 415)


def test_it_lets_a_viewer_change_nothing(acme: Cast, browser: Client, alice: User) -> None:
    Membership.objects.create(tenant=acme.tenant, user=alice, role=Role.VIEWER)

    answer = post(browser, {"query": CREATE % acme.tenant.id}, **signed(browser))

    assert answer.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"


def test_it_lets_a_manager_change_things(acme: Cast, browser: Client, alice: User) -> None:
    Membership.objects.create(tenant=acme.tenant, user=alice, role=Role.MANAGER)

    answer = post(browser, {"query": CREATE % acme.tenant.id}, **signed(browser))

    assert answer.json()["data"]["createWorkspace"]["success"]


def test_it_knows_no_member_of_a_tenant_that_is_suspended(
    acme: Cast, browser: Client, alice: User
) -> None:
    Membership.objects.create(tenant=acme.tenant, user=alice, role=Role.MANAGER)
    type(acme.tenant).objects.update(status=TenantStatus.SUSPENDED)

    assert post(browser, **signed(browser)).status_code == 401


def test_it_lets_a_superuser_act_for_any_tenant_they_name(
    acme: Cast, globex: Cast, browser: Client, alice: User, settings
) -> None:
    settings.EMBEDDED = True  # elsewhere they need a second factor
    User.objects.update(is_superuser=True)

    named = signed(browser, **{"X-Sigma-Tenant": str(globex.tenant.id).upper()})
    assert post(browser, **named).json()["data"] == {"tenant": {"slug": "globex"}}
    assert post(browser, **signed(browser)).status_code == 400


def test_it_asks_a_member_of_two_tenants_which(
    acme: Cast, globex: Cast, browser: Client, alice: User
) -> None:
    for cast in (acme, globex):
        Membership.objects.create(tenant=cast.tenant, user=alice)

    assert post(browser, **signed(browser)).status_code == 400
    named = signed(browser, **{"X-Sigma-Tenant": "globex"})
    assert post(browser, **named).json()["data"] == {"tenant": {"slug": "globex"}}


def test_it_says_of_another_tenant_what_it_says_of_none(
    acme: Cast, globex: Cast, browser: Client, alice: User
) -> None:
    Membership.objects.create(tenant=globex.tenant, user=alice)
    type(acme.tenant).objects.create(slug="gone", name="Gone", status=TenantStatus.SUSPENDED)
    named = ("acme", str(acme.tenant.id), "gone", "nobody", str(uuid4()), "é\x7f")

    answers = [post(browser, **signed(browser, **{"X-Sigma-Tenant": name})) for name in named]
    elsewhere = [
        browser.get(path, headers={"X-Sigma-Tenant": name})
        for name in named
        for path in (f"/api/v1/messages/{uuid4()}", f"/media/{uuid4()}")
    ]

    assert {(a.status_code, a.content) for a in answers} == {(403, answers[0].content)}
    assert answers[0].json()["errors"][0]["extensions"] == {"code": "WRONG_TENANT"}
    assert "WWW-Authenticate" not in answers[0]
    assert {(a.status_code, a.json()["error"]["code"]) for a in elsewhere} == {
        (403, "WRONG_TENANT")
    }
    assert post(browser, **signed(browser)).json()["data"] == {"tenant": {"slug": "globex"}}
    assert post(Client(), **{"X-Sigma-Tenant": "acme"}).status_code == 401


def test_it_shows_only_the_tenants_rows_even_to_a_query_that_forgets_to_ask(
    gql: Gql, acme: Cast, globex: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = staticmethod(lambda actor: provisioning.Workspace.objects.all())
    monkeypatch.setattr("workspaces.graphql.schema._workspaces", everything)

    found = gql(acme, "{ workspaces { id } }").data["workspaces"]

    assert found == [{"id": str(acme.workspace.id)}]


def test_it_notes_when_a_key_was_used(gql: Gql, acme: Cast) -> None:
    _, key = access.issue_api_key(tenant=acme.tenant, name="n", scopes=[Scope.MESSAGES_READ])

    gql(key, "{ __typename }")

    first = ApiKey.objects.get(name="n").last_used_at
    assert first is not None

    gql(key, "{ __typename }")  # a write a minute at most
    assert ApiKey.objects.get(name="n").last_used_at == first

    ApiKey.objects.update(last_used_at=first - timedelta(seconds=61))
    gql(key, "{ __typename }")
    assert ApiKey.objects.get(name="n").last_used_at >= first
