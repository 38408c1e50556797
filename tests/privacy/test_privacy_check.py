"""The command that looks for phone numbers at rest."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from connectors.whatsapp.processing import process_batch
from messaging.models import Message
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, deliver, text
from workspaces.acting import as_tenant
from workspaces.models import Tenant

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> dict:
    out = StringIO()
    call_command("privacy_check", "--json", *arguments, stdout=out)
    return json.loads(out.getvalue())


def test_it_looks_everywhere_and_leaves_nothing_behind(acme: Cast, globex: Cast) -> None:
    tenants = Tenant.objects.count()

    report = run()

    assert report["found"] == {}
    assert report["tables"] > 40
    assert report["rows"] > 10
    assert report["files"] > 50 or report["files_reason"]
    assert (Tenant.objects.count(), Message.objects.count()) == (tenants, 0)


@pytest.mark.parametrize(
    "typed", ["(083) 130-0031", "083\u2011130\u20110031", "+27\u00a083\u202f130\u20130031"]
)
def test_it_finds_a_number_that_somebody_typed(acme: Cast, typed: str) -> None:
    said = text("wamid.A", body=f"Ring me: {typed}", sender="27831300031")
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[said]))
    process_batch(10)

    with pytest.raises(SystemExit) as ended:
        run("--phone", "+27831300031")

    assert ended.value.code == 1


def test_it_fails_where_it_sees_nothing(acme: Cast) -> None:
    with as_tenant(acme.tenant.id), pytest.raises(CommandError) as refused:
        run()
    assert refused.value.returncode == 2


def test_it_says_so_where_its_search_would_miss_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigma.privacy.SEPARATORS", "")  # digits that stand apart are missed

    with pytest.raises(CommandError, match="found 4 of 5") as refused:
        run()

    assert refused.value.returncode == 2
