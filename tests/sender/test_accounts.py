"""``/health`` and ``/status``: what a workspace's account can do now."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from connectors.linked_device.models import SenderSession, SessionLease, SessionState, Wanted
from messaging import numbers
from messaging.delivery import pauses
from messaging.delivery.pauses import Pause
from messaging.models import NumberState
from tests.conftest import Cast
from tests.sender.conftest import Served, key_for
from workspaces.access import Scope
from workspaces.models import Workspace

NUMBER = "27821234567"


def number_of(cast: Cast, **columns: str) -> None:
    """Store what the platform said of the cast's number."""
    NumberState.objects.create(
        workspace=cast.workspace,
        tenant_id=cast.tenant.id,
        sealed_number=numbers.seal(
            NUMBER, tenant_id=cast.tenant.id, workspace_id=cast.workspace.id
        ),
        **{"status": "CONNECTED", "can_send": "AVAILABLE", **columns},
    )


def link(cast: Cast, state: SessionState = SessionState.CONNECTED, **columns: object) -> None:
    """Make the cast's workspace a linked device whose process is alive."""
    Workspace.objects.filter(pk=cast.workspace.pk).update(transport="LINKED_DEVICE")
    now = timezone.now()
    session = SenderSession.objects.create(
        tenant_id=cast.tenant.id,
        workspace=cast.workspace,
        state=state,
        **{
            "wanted": Wanted.RUNNING,
            "paired_at": now,
            "device_platform": "iPhone",
            "since": now,
            "library": "neonize 0.5.2",
            **columns,
        },
    )
    SessionLease.objects.create(
        session=session,
        tenant_id=cast.tenant.id,
        owner=uuid4(),
        fencing_token=1,
        expires_at=now + timedelta(seconds=60),
    )


def test_it_says_to_anybody_that_it_lives_and_nothing_else(acme: Cast, sender: Served) -> None:
    number_of(acme)
    answer = sender.get("/health")

    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "healthy", "connected": True, "phone": None},
    )
    assert sender.get("/health", "wrong").status_code == 401


def test_it_masks_the_number_unless_the_key_may_see_it(
    acme: Cast, globex: Cast, sender: Served
) -> None:
    number_of(acme)
    key, seeing = key_for(acme), key_for(acme, Scope.MESSAGES_SEND, Scope.NUMBERS_READ)

    assert sender.get("/health", key).json()["phone"] == "+27XXXXXXXXX"
    assert sender.get("/health", seeing).json()["phone"] == f"+{NUMBER}"
    assert sender.get("/status", key).json()["phone_number"] == "+27XXXXXXXXX"
    assert sender.get("/status", seeing).json()["phone_number"] == f"+{NUMBER}"
    assert sender.get("/health", key_for(globex)).json()["phone"] is None


def test_calls_without_a_key_are_about_the_open_workspace(
    acme: Cast, sender: Served, settings
) -> None:
    number_of(acme)
    settings.SIGMA_SENDER_OPEN_WORKSPACE = acme.workspace.id

    assert sender.get("/health").json() == {
        "status": "healthy",
        "connected": True,
        "phone": "+27XXXXXXXXX",
    }
    assert sender.get("/status").json()["phone_number"] == "+27XXXXXXXXX"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"status": "BANNED"}, "BANNED"),
        ({"can_send": "BLOCKED", "problem": "Pay the bill, +27 82 123 4567."}, "Pay the bill, •••"),
        ({"sync_error": "The access token is expired."}, "token is expired"),
    ],
)
def test_it_says_why_a_number_cannot_send(
    acme: Cast, sender: Served, columns: dict[str, str], words: str
) -> None:
    number_of(acme, **columns)
    health, status = (sender.get(path, key_for(acme)) for path in ("/health", "/status"))

    assert health.status_code == 503
    assert words in health.json()["reason"]
    assert {**health.json(), "reason": ""} == {
        "status": "unhealthy",
        "connected": False,
        "phone": "+27XXXXXXXXX",
        "reason": "",
    }
    assert (status.status_code, status.json()["logged_in"]) == (200, False)


@pytest.mark.parametrize("is_all", [True, False])
def test_it_is_not_healthy_while_sending_is_paused(
    acme: Cast, globex: Cast, sender: Served, now, is_all: bool
) -> None:
    paused = Pause(acme.tenant.id, None if is_all else acme.workspace.id, 190, "Token expired.")
    pauses.pause([paused], now=now)

    answer = sender.get("/health", key_for(acme))
    assert (answer.status_code, answer.json()["reason"]) == (
        503,
        "Sending is paused: Token expired.",
    )
    assert sender.get("/health", key_for(globex)).status_code == 200


def test_the_cloud_api_has_the_contracts_fields(acme: Cast, sender: Served) -> None:
    number_of(acme)

    assert sender.get("/status", key_for(acme)).json() == {
        "logged_in": True,
        "phone_number": "+27XXXXXXXXX",
        "battery": None,
        "platform": "Cloud API",
    }


def test_a_linked_device_says_more(acme: Cast, sender: Served) -> None:
    number_of(acme)
    link(acme)
    health, status = (sender.get(path, key_for(acme)) for path in ("/health", "/status"))

    assert health.json() == {"status": "healthy", "connected": True, "phone": "+27XXXXXXXXX"}
    assert status.json() == {
        "logged_in": True,
        "phone_number": "+27XXXXXXXXX",
        "battery": None,
        "platform": "iPhone",
        "state": "CONNECTED",
        "reason": None,
        "until": None,
        "library": "neonize 0.5.2",
        "since": SenderSession.objects.get().since.isoformat(),
    }


def test_a_device_that_waits_says_until_when(acme: Cast, sender: Served, now) -> None:
    until = now + timedelta(hours=2)
    link(acme, SessionState.RATE_LIMITED, reason="WhatsApp asks to slow down.", until=until)
    health, status = (sender.get(path, key_for(acme)) for path in ("/health", "/status"))

    assert health.status_code == 503
    assert "WhatsApp asks to slow down." in health.json()["reason"]
    assert (status.json()["state"], status.json()["until"]) == ("RATE_LIMITED", until.isoformat())
    assert status.json()["logged_in"] is True


def test_a_device_whose_process_is_gone_is_not_healthy(acme: Cast, sender: Served, now) -> None:
    link(acme)
    SessionLease.objects.update(expires_at=now - timedelta(seconds=1))
    answer = sender.get("/health", key_for(acme))

    assert (answer.status_code, answer.json()["connected"]) == (503, False)
    assert "is gone" in answer.json()["reason"]


def test_a_device_that_was_never_paired_says_so(acme: Cast, sender: Served) -> None:
    Workspace.objects.filter(pk=acme.workspace.pk).update(transport="LINKED_DEVICE")
    health, status = (sender.get(path, key_for(acme)) for path in ("/health", "/status"))

    assert (health.status_code, health.json()["reason"]) == (
        503,
        "No phone is linked with this account: pair it first.",
    )
    assert (status.json()["logged_in"], status.json()["state"]) == (False, "STOPPED")
    assert status.json()["since"] is None
