"""What a pairing left behind does not stay."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.conf import settings

from connectors.linked_device import retention, sessions
from connectors.linked_device.tasks import forget_pairings
from connectors.models import PairBy, SenderSession
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def pairing(acme: Cast, now: datetime) -> SenderSession:
    """A session whose phone is shown a pairing code."""
    found = sessions.of_workspace(tenant_id=acme.tenant.id, workspace_id=acme.workspace.id)
    found = sessions.pair(found.id, by=PairBy.CODE, number="+27711558396", now=now)
    found.sealed_pairing = sessions.seal_pairing(found, "ABCD-EFGH")
    found.pairing_expires_at = now + timedelta(minutes=2)
    found.save()
    return found


@pytest.fixture(autouse=True)
def _linked(acme: Cast) -> None:
    acme.workspace.transport = "LINKED_DEVICE"
    acme.workspace.save()


def test_it_keeps_what_a_phone_may_still_take(pairing: SenderSession, now: datetime) -> None:
    assert retention.forget_pairings(now=now) == 0

    pairing.refresh_from_db()
    assert sessions.pairing_of(pairing, now=now)
    assert sessions.number_to_pair(pairing)


def test_it_forgets_a_code_that_expired(pairing: SenderSession, now: datetime) -> None:
    SenderSession.objects.update(pairing_expires_at=now - timedelta(seconds=1))

    forget_pairings()

    found = SenderSession.objects.get()
    assert (found.sealed_pairing, found.pairing_expires_at) == (None, None)
    assert sessions.number_to_pair(found)  # its process asks for another code


def test_it_forgets_the_number_of_a_pairing_that_ended(
    pairing: SenderSession, now: datetime
) -> None:
    SenderSession.objects.update(paired_at=now)

    assert retention.forget_pairings(now=now) == 1

    assert SenderSession.objects.get().sealed_pair_number is None


def test_it_is_scheduled() -> None:
    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}

    assert forget_pairings.name in scheduled
