"""What the commands report to machines: one JSON document, whatever the command."""

from __future__ import annotations

import io
import json
import re
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from sigma.engines import state
from tests.conftest import Cast
from tests.sigma.commands import ROOT, parsers
from workspaces import second_factors
from workspaces.models import SecondFactor

pytestmark = pytest.mark.django_db


def report_of(*arguments: str) -> Any:
    """Return what a command writes with ``--json``, whether or not it finds something wrong."""
    out = io.StringIO()
    with suppress(CommandError, SystemExit):
        call_command(*arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["check_tenant", "acme"], ["asked", "findings"]),
        (["ledger"], ["tenants"]),
        (["ledger", "acme", "--verify"], ["tenants"]),
        (["purge", "--dry-run"], ["would_be_purged"]),
        (["purge", "--now"], ["purged", "list_rows", "events"]),
        (
            ["purge-tenant", "acme", "--dry-run"],
            ["tenant", "id", "is_removed", "steps", "users_left"],
        ),
        (["replay", "--dry-run"], ["rows", "would_replay"]),
        (["replay"], ["tried", "processed", "rows", "stopped"]),
        (["sending", "status"], ["numbers", "pauses"]),
        (["sync_numbers", "--tenant", "acme"], ["numbers", "failed"]),
        (["sync_templates", "--tenant", "acme"], ["accounts"]),
        (["sending", "resume", "acme"], ["ended"]),
        (
            ["issue_api_key", "acme", "--name", "CRM"],
            ["id", "tenant", "key", "scopes", "workspace", "expires_at"],
        ),
        (["rotate_master_key"], ["wrapped"]),
        (["tenant_role", "acme", "--remove"], ["tenant", "role", "is_removed"]),
        (["read_inner_keys"], ["seen", "read"]),
        (["create_demo"], ["path", "notes"]),
        (["sender", "monitor", "--no-service"], ["ok", "line"]),
    ],
)
def test_it_reports_as_one_json_document(
    acme: Cast, globex: Cast, arguments: list[str], keys: list[str]
) -> None:
    assert list(report_of(*arguments)) == keys


# They ask, wait for what they began, or serve until they are told to end.
DIALOGUES = {
    "sender add",
    "sender backup",
    "sender clear",
    "sender host",
    "sender pair",
    "sender restart",
    "sender restore",
    "sender session",
    "sender start",
    "sender stop",
    "simulate meta",
}


def test_all_that_report_do_so_to_machines_too() -> None:
    found = parsers()
    reporting = {name for name, parser in found.items() if "--json" in parser.format_help()}
    assert found.keys() - reporting == DIALOGUES | {"migrate"}  # Django's own reports in words
    listed = (ROOT / "docs" / "commands.md").read_text().partition("with the same exit code:")[2]
    assert set(re.findall("`([^`]+)`", listed.partition("\n\n")[0])) == reporting


def test_it_says_that_a_second_factor_is_removed(acme: Cast, now: datetime) -> None:
    user = User.objects.create_user("ada")
    second_factors.begin(user)
    SecondFactor.objects.update(confirmed_at=now)

    assert report_of("reset_second_factor", "ada") == {"user": "ada", "is_removed": True}


def test_it_makes_a_tenant_for_a_script(db: None) -> None:
    made = report_of("create_tenant", "--slug", "initech", "--name", "Initech")

    assert made["callback_url"].endswith("/webhooks/whatsapp/initech")
    assert len(made["verify_token"]) >= 20


def test_it_reports_the_same_numbers_to_machines(acme: Cast, globex: Cast) -> None:
    tenants = {one["tenant"]: one for one in report_of("ledger")["tenants"]}

    assert {"acme", "globex", "(shared apps)"} <= set(tenants)
    assert (tenants["acme"]["accepted"], tenants["acme"]["balanced"]) == (0, True)


class TestRoot:
    def test_it_leads_people_on(self, client: Client) -> None:
        answer = client.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

        assert (answer.status_code, answer["Location"]) == (302, "/admin/")

    @pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
    def test_it_tells_programs_what_there_is(self, client: Client, accept: str) -> None:
        answer = client.get("/", headers={"accept": accept})

        assert answer.status_code == 200
        assert answer.json()["graphql"] == "/graphql"

    def test_it_refuses_what_it_cannot_take(self, client: Client) -> None:
        assert client.post("/").status_code == 405


def test_it_is_not_healthy_while_it_starts(client: Client, settings: Any) -> None:
    with state.starting(settings.SIGMA_HOME):
        during = client.get("/healthz")
    after = client.get("/healthz")

    assert (during.status_code, during.json()["status"]) == (503, "starting")
    assert after.status_code == 200


def test_a_start_that_was_killed_is_no_start(client: Client, settings: Any) -> None:
    with state.starting(settings.SIGMA_HOME):
        (settings.SIGMA_HOME / "starting").write_text(f"{2**22 + 1}\n")  # no process has this id

        assert client.get("/healthz").status_code == 200
