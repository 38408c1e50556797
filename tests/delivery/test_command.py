"""What operators see and do at the shell."""

from __future__ import annotations

import json
from datetime import datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from messaging.delivery import pauses
from messaging.delivery.pauses import Pause
from messaging.models import SendingPause
from tests.conftest import Cast
from tests.delivery.outgoing import queue


def run(*arguments: str) -> str:
    """Return what the command says."""
    out = StringIO()
    call_command("sending", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def paused(acme: Cast, globex: Cast, now: datetime) -> None:
    """A message of Acme is pending, does not know of another, and may not send."""
    queue(acme, now)
    queue(acme, now, status="unknown")
    for cast in (acme, globex):
        pauses.pause([Pause(cast.tenant.id, None, 190, "The token expired.")], now=now)


def test_it_shows_what_is_owed_and_what_holds_it_back(paused: None) -> None:
    said = run("status", "acme")
    found = json.loads(run("status", "acme", "--json"))

    assert "all numbers: paused since" in said
    assert "The token expired." in said
    ((number,), (pause,)) = found["numbers"], found["pauses"]
    assert (number["queued"], number["sending"], number["unknown"]) == (1, 0, 1)
    assert (pause["tenant"], pause["code"], pause["until"]) == ("acme", 190, None)


def test_it_resumes_one_tenant_only(paused: None, acme: Cast) -> None:
    assert run("resume", "acme", "--code", "131042") == "0 pauses ended.\n"
    assert run("resume", "acme") == "1 pause ended.\n"

    lifted = SendingPause.objects.exclude(lifted_at=None).get()
    assert (lifted.tenant_id, lifted.lifted_by) == (acme.tenant.id, "manage.py sending")
    assert SendingPause.objects.filter(lifted_at=None).count() == 1


def test_it_knows_its_tenants(db: None) -> None:
    with pytest.raises(CommandError, match="nobody"):
        run("status", "nobody")
