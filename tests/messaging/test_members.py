"""Who may be assigned conversations: over both doors, by name, never by an address of mail."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User

from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with
from tests.messaging.test_desk import path, talk
from tests.messaging.test_inbox import get
from tests.sending.test_rest import ask
from workspaces.access import Scope
from workspaces.models import Membership, Role

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

MEMBERS = "/api/v1/members"
LIST = """
query ($first: Int, $after: String) { members(first: $first, after: $after) {
  nodes { id displayName role isActive } pageInfo { hasNextPage endCursor }
} }
"""


@pytest.fixture
def team(acme: Cast, globex: Cast) -> list[User]:
    """Three members of acme, of whom one is globex's too, and one of globex alone."""
    ann = User.objects.create_user("ann@example.org", "ann@example.org")
    bob = User.objects.create_user(
        "bob", "bob@example.org", first_name="Bob", last_name="Ó Sé", is_active=False
    )
    cyd, dee = User.objects.create_user("cyd"), User.objects.create_user("dee")
    for user, cast, role in (
        (ann, acme, Role.MANAGER),
        (bob, acme, Role.VIEWER),
        (cyd, acme, Role.VIEWER),
        (cyd, globex, Role.MANAGER),
        (dee, globex, Role.VIEWER),
    ):
        Membership.objects.create(tenant=cast.tenant, user=user, role=role)
    return [ann, bob, cyd]


def test_both_doors_list_the_members_of_the_tenant_alone(
    gql: Gql, acme: Cast, globex: Cast, team: list[User]
) -> None:
    key = key_with(acme.tenant, Scope.MESSAGES_READ)

    status, found = get(key, MEMBERS)
    shown = gql(key, LIST).data["members"]

    assert status == 200
    assert [node["id"] for node in found["nodes"]] == [user.pk for user in team]
    assert [node["display_name"] for node in found["nodes"]] == ["ann", "Bob Ó Sé", "cyd"]
    assert [node["role"] for node in found["nodes"]] == ["MANAGER", "VIEWER", "VIEWER"]
    assert [node["is_active"] for node in found["nodes"]] == [True, False, True]
    assert [node["displayName"] for node in shown["nodes"]] == ["ann", "Bob Ó Sé", "cyd"]
    assert "example.org" not in json.dumps([found, shown])
    assert [node["display_name"] for node in get(globex, MEMBERS)[1]["nodes"]] == ["cyd", "dee"]


def test_both_doors_page(gql: Gql, acme: Cast, globex: Cast, team: list[User]) -> None:
    seen, after = [], {}
    while True:
        found = get(acme, MEMBERS, first=1, **after)[1]
        shown = gql(acme, LIST, first=1, **after).data["members"]
        assert shown["pageInfo"]["endCursor"] == found["page_info"]["end_cursor"]
        seen += [node["id"] for node in found["nodes"]]
        if not found["page_info"]["has_next_page"]:
            break
        after = {"after": found["page_info"]["end_cursor"]}
    assert seen == [user.pk for user in team]
    assert get(acme, MEMBERS, after="x")[0] == get(acme, MEMBERS, first="x")[0] == 400


def test_a_member_that_is_listed_is_assigned(acme: Cast, globex: Cast, team: list[User]) -> None:
    ours = talk(acme)

    for node in get(acme, MEMBERS)[1]["nodes"]:
        assert ask(acme, path(ours), {"assignee_id": node["id"]}, "patch")[0] == 200
    (*_, theirs) = get(globex, MEMBERS)[1]["nodes"]
    status, refused = ask(acme, path(ours), {"assignee_id": theirs["id"]}, "patch")
    assert (status, refused["error"]["code"]) == (422, "NOT_A_MEMBER")


def test_it_needs_messages_read(gql: Gql, acme: Cast, globex: Cast) -> None:
    key = key_with(acme.tenant, Scope.MESSAGES_SEND, Scope.WORKSPACES_READ)

    assert get(key, MEMBERS)[0] == 403
    assert gql(key, LIST).codes == ["FORBIDDEN"]
